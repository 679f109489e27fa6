// Checks the options and writes them into the arguments of a native call.
import { isBlockMask } from '../block-mask/block-mask.js';
import type { NativeAttentionArgs } from '../native/addon.js';
import type { DeviceName } from '../native/device.js';
import { fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
import {
  checkBoolean,
  checkInteger,
  checkNumber,
  checkOptions,
  checkSameDevice,
  checkTensor,
  checkTensorDType,
  checkTensorShape,
  checkUint64,
  checkWindowBound,
} from '../tensor/check.js';
import { type DType, floating } from '../tensor/dtype.js';
import { liveHandle, type Tensor } from '../tensor/tensor.js';
import {
  type AttentionOptions,
  type CommonAttentionOptions,
  type DropoutOptions,
  dropoutKeys,
  type ReturnLse,
} from './options.js';

/** The sizes of a call that options are checked against. */
export interface Dims {
  readonly batch: number;
  readonly heads: number;
  readonly seqlenQ: number;
  readonly seqlenK: number;
}

const maskDTypes: readonly DType[] = ['bool', ...floating];

export function checkLayout(value: unknown, argument = 'options.layout'): 0 | 1 {
  if (value === undefined || value === 'bshd') return 0;
  if (value === 'bhsd') return 1;
  const code = typeof value === 'string' ? 'ERR_OPTION' : 'ERR_TYPE';
  return fail(code, argument, "'bshd' or 'bhsd'", show(value));
}

/** Options that need nothing but the number of sequences and heads. */
export function applyCommon(
  args: NativeAttentionArgs,
  options: CommonAttentionOptions & ReturnLse,
  batch: number,
  heads: number,
  device: DeviceName,
): void {
  const { scale, causal, window, sinkTokens, softcap, numSplits, dropout } = options;
  const { alibiSlopes, sinks, returnLse, deterministic } = options;
  if (scale !== undefined) args.scale = checkNumber(scale, 'options.scale');
  if (causal !== undefined) args.causal = checkBoolean(causal, 'options.causal');
  if (window !== undefined) applyWindow(args, window);
  if (sinkTokens !== undefined) {
    args.sinkTokens = checkInteger(sinkTokens, 0, Number.MAX_SAFE_INTEGER, 'options.sinkTokens');
  }
  if (softcap !== undefined) {
    args.softcap = checkNumber(softcap, 'options.softcap');
    if (softcap < 0) fail('ERR_OPTION', 'options.softcap', 'at least 0', show(softcap));
  }
  if (numSplits !== undefined && numSplits !== 'auto') {
    if (typeof numSplits !== 'number') {
      fail('ERR_TYPE', 'options.numSplits', "an integer or 'auto'", show(numSplits));
    }
    args.numSplits = checkInteger(numSplits, 1, 256, 'options.numSplits');
  }
  if (dropout !== undefined) applyDropout(args, dropout);
  if (alibiSlopes !== undefined) applyAlibi(args, alibiSlopes, batch, heads, device);
  if (sinks !== undefined) {
    checkTensor(sinks, 'options.sinks');
    checkTensorDType(sinks, floating, 'options.sinks');
    checkTensorShape(sinks, [heads], '[heads]', 'options.sinks');
    checkSameDevice(sinks, device, 'options.sinks');
    args.sinks = liveHandle(sinks);
  }
  if (deterministic !== undefined) checkBoolean(deterministic, 'options.deterministic');
  if (returnLse !== undefined) args.returnLse = checkBoolean(returnLse, 'options.returnLse');
}

function applyWindow(args: NativeAttentionArgs, window: unknown): void {
  if (!Array.isArray(window) || window.length !== 2) {
    fail('ERR_TYPE', 'options.window', 'an array [left, right]', show(window));
  }
  args.windowLeft = checkWindowBound(window[0], 'options.window[0]');
  args.windowRight = checkWindowBound(window[1], 'options.window[1]');
}

function applyDropout(args: NativeAttentionArgs, dropout: DropoutOptions): void {
  checkOptions(dropout, dropoutKeys, 'options.dropout');
  args.dropoutP = checkProbability(dropout.p, 'options.dropout.p');
  args.dropoutSeed = checkUint64(dropout.seed, 'options.dropout.seed');
  if (dropout.offset !== undefined) {
    args.dropoutOffset = checkUint64(dropout.offset, 'options.dropout.offset');
  }
}

export function checkProbability(value: unknown, argument: string): number {
  const p = checkNumber(value, argument);
  if (p < 0 || p >= 1) fail('ERR_OPTION', argument, 'at least 0 and below 1', show(p));
  return p;
}

function applyAlibi(
  args: NativeAttentionArgs,
  slopes: Tensor,
  batch: number,
  heads: number,
  device: DeviceName,
): void {
  checkTensor(slopes, 'options.alibiSlopes');
  checkTensorDType(slopes, ['float32'], 'options.alibiSlopes');
  const [first, second] = slopes.shape;
  const fits =
    slopes.shape.length === 1
      ? first === heads
      : slopes.shape.length === 2 && first === batch && second === heads;
  if (!fits) {
    const expected = `of shape [${heads}] or [${batch}, ${heads}], [heads] or [batch, heads],`;
    fail('ERR_SHAPE', 'options.alibiSlopes', expected, showShape(slopes.shape));
  }
  checkSameDevice(slopes, device, 'options.alibiSlopes');
  args.alibiSlopes = liveHandle(slopes);
}

/** Masks over all of [batch, heads, seqlenQ, seqlenK]. */
export function applyMasks(
  args: NativeAttentionArgs,
  options: AttentionOptions,
  dims: Dims,
  device: DeviceName,
): void {
  const { mask, blockMask } = options;
  if (mask !== undefined) args.mask = liveHandle(checkMask(mask, dims, device, 'options.mask'));
  if (blockMask === undefined) return;
  if (!isBlockMask(blockMask)) {
    fail('ERR_TYPE', 'options.blockMask', 'a BlockMask', show(blockMask));
  }
  if (blockMask.disposed) {
    fail('ERR_DISPOSED', 'options.blockMask', 'a live BlockMask', 'one that was disposed');
  }
  const { batch, heads, seqlenQ, seqlenK } = blockMask;
  const fits =
    seqlenQ === dims.seqlenQ &&
    seqlenK === dims.seqlenK &&
    (batch === 1 || batch === dims.batch) &&
    (heads === 1 || heads === dims.heads);
  if (!fits) {
    const expected = `made for ${dims.seqlenQ} queries, ${dims.seqlenK} keys, batch 1 or ${dims.batch}, heads 1 or ${dims.heads}`;
    const received = `one for ${seqlenQ} queries, ${seqlenK} keys, batch ${batch}, heads ${heads}`;
    fail('ERR_SHAPE', 'options.blockMask', expected, received);
  }
  const { table, bits } = blockMask.upload(device);
  args.blockMaskTable = liveHandle(table);
  args.blockMaskBits = liveHandle(bits);
  args.blockQ = blockMask.blockQ;
  args.blockK = blockMask.blockK;
}

/**
 * A bool or floating tensor that broadcasts, from the right, to [batch, heads, seqlenQ, seqlenK].
 */
export function checkMask(
  value: unknown,
  dims: Dims,
  device: DeviceName,
  argument: string,
): Tensor {
  const mask = checkTensor(value, argument);
  checkTensorDType(mask, maskDTypes, argument);
  const target = [dims.batch, dims.heads, dims.seqlenQ, dims.seqlenK];
  const missing = 4 - mask.shape.length;
  const fits =
    missing >= 0 &&
    mask.shape.every((length, axis) => length === 1 || length === target[axis + missing]);
  if (!fits) {
    const expected = `broadcastable to ${showShape(target)}, [batch, heads, seqlenQ, seqlenK],`;
    fail('ERR_SHAPE', argument, expected, showShape(mask.shape));
  }
  checkSameDevice(mask, device, argument);
  return mask;
}
