// Checks the kinds of options and writes them into the arguments of a native call.
import { isBlockMask } from '../block-mask/block-mask.js';
import type { NativeAttentionArgs, NativeModifiers } from '../native/addon.js';
import type { DeviceName } from '../native/device.js';
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkBoolean, checkNumber, checkOptions, checkUint64 } from '../tensor/check.js';
import {
  type AttentionOptions,
  type CommonAttentionOptions,
  type DropoutOptions,
  dropoutKeys,
  type ReturnLse,
} from './options.js';
import { handleOn } from './qkv.js';

/** Options that every attention function takes. */
export function applyCommon(
  args: NativeModifiers & Partial<Pick<NativeAttentionArgs, 'returnLse'>>,
  options: CommonAttentionOptions & ReturnLse,
  device: DeviceName,
): void {
  const { scale, causal, window, sinkTokens, softcap, numSplits, dropout } = options;
  const { alibiSlopes, sinks, returnLse, deterministic } = options;
  if (scale !== undefined) args.scale = checkNumber(scale, 'options.scale');
  if (causal !== undefined) args.causal = checkBoolean(causal, 'options.causal');
  if (window !== undefined) applyWindow(args, window);
  if (sinkTokens !== undefined) args.sinkTokens = checkNumber(sinkTokens, 'options.sinkTokens');
  if (softcap !== undefined) args.softcap = checkNumber(softcap, 'options.softcap');
  if (numSplits !== undefined && numSplits !== 'auto') {
    if (typeof numSplits !== 'number') {
      fail('ERR_TYPE', 'options.numSplits', "an integer or 'auto'", show(numSplits));
    }
    args.numSplits = numSplits;
  }
  if (dropout !== undefined) applyDropout(args, dropout);
  if (alibiSlopes !== undefined) {
    args.alibiSlopes = handleOn(device, alibiSlopes, 'options.alibiSlopes');
  }
  if (sinks !== undefined) args.sinks = handleOn(device, sinks, 'options.sinks');
  if (deterministic !== undefined) checkBoolean(deterministic, 'options.deterministic');
  if (returnLse !== undefined) args.returnLse = checkBoolean(returnLse, 'options.returnLse');
}

function applyWindow(args: NativeModifiers, window: unknown): void {
  if (!Array.isArray(window) || window.length !== 2) {
    fail('ERR_TYPE', 'options.window', 'an array [left, right]', show(window));
  }
  args.windowLeft = checkNumber(window[0], 'options.window[0]');
  args.windowRight = checkNumber(window[1], 'options.window[1]');
}

function applyDropout(args: NativeModifiers, dropout: DropoutOptions): void {
  checkOptions(dropout, dropoutKeys, 'options.dropout');
  args.dropoutP = checkNumber(dropout.p, 'options.dropout.p');
  args.dropoutSeed = checkUint64(dropout.seed, 'options.dropout.seed');
  if (dropout.offset !== undefined) {
    args.dropoutOffset = checkUint64(dropout.offset, 'options.dropout.offset');
  }
}

/** Masks over all of [batch, heads, seqlenQ, seqlenK]. */
export function applyMasks(
  args: NativeAttentionArgs,
  { mask, blockMask }: AttentionOptions,
  device: DeviceName,
): void {
  if (mask !== undefined) args.mask = handleOn(device, mask, 'options.mask');
  if (blockMask === undefined) return;
  if (!isBlockMask(blockMask)) {
    fail('ERR_TYPE', 'options.blockMask', 'a BlockMask', show(blockMask));
  }
  if (blockMask.disposed) {
    fail('ERR_DISPOSED', 'options.blockMask', 'a live BlockMask', 'one that was disposed');
  }
  const { table, bits } = blockMask.upload(device);
  args.blockMaskTable = handleOn(device, table, 'options.blockMask');
  args.blockMaskBits = handleOn(device, bits, 'options.blockMask');
  args.blockQ = blockMask.blockQ;
  args.blockK = blockMask.blockK;
  args.blockMaskSeqlenQ = blockMask.seqlenQ;
  args.blockMaskSeqlenK = blockMask.seqlenK;
}
