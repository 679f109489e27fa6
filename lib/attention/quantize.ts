import { native } from '../native/addon.js';
import { type CallOptions, callKeys } from '../native/call-options.js';
import { call, fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkOptions, checkTensor, checkUint64 } from '../tensor/check.js';
import { checkDType, dtypeNumber, floating } from '../tensor/dtype.js';
import { isTensor, liveHandle, type Tensor } from '../tensor/tensor.js';
import type { IntVector, Layout } from './options.js';
import { checkLayout, handleOn } from './qkv.js';
import { resultTensor } from './result.js';
import { checkSequences, withSequences } from './sequences.js';

/**
 * The orthogonal matrix that rows are multiplied by: signs, then a Hadamard matrix / sqrt(headDim).
 */
export interface HadamardOptions {
  /**
   * 0n to 2n ** 64n - 1n: the key of Philox4x32-10, which draws the signs. The same for q and k.
   */
  seed: bigint;
}

/** Options of {@link quantize}. */
export interface QuantizeOptions extends CallOptions {
  /**
   * What shares a scale: `'block'` (default) 128 consecutive tokens of a head, for q and k;
   * `'head'` a head of one sequence, for v; `'tensor'` everything.
   */
  per?: 'block' | 'head' | 'tensor';
  /**
   * Rotates rows first, so that an outlier is spread over its row instead of taking the scale away
   * from all that share it (incoherent processing, FlashAttention-3, Shah et al. 2024). q·k stays
   * the same if q and k are rotated by one seed. headDim has to be a power of two. Default: no
   * rotation.
   */
  hadamard?: HadamardOptions;
  /** Axes of the tensor. Default `'bshd'`. */
  layout?: Layout;
  /**
   * int32 `[batch + 1]`, ascending from 0: the tensor is `[total, heads, headDim]`, and its rows
   * `cuSeqlens[b]` to `cuSeqlens[b + 1]` are sequence b, whose blocks begin with it. Rows past the
   * last sequence count for no scale and become 0. `layout` does not apply.
   */
  cuSeqlens?: IntVector;
  /**
   * An upper bound of the packed sequences' lengths. Default: worked out from plain numbers;
   * `cuSeqlens` that is a Tensor needs it, for the shape of `scales` is known before its contents.
   */
  maxSeqlen?: number;
}

/** A tensor as float8: element = value * scale, rotated if `hadamard` is there. */
export interface Quantized {
  /** float8_e4m3, shaped like the tensor it was made from. */
  readonly values: Tensor;
  /**
   * float32: `[batch, heads, ceil(seqlen / 128)]` per block, `[batch, heads]` per head, `[1]` per
   * tensor; of packed sequences seqlen is `maxSeqlen`. The largest finite magnitude of what shares
   * a scale is 448 times the scale, which is 1 where all are 0 and at least 2^-126.
   */
  readonly scales: Tensor;
  readonly layout: Layout;
  readonly hadamard?: HadamardOptions;
  /** Where packed sequences begin; the caller's Tensor, if it was one. */
  readonly cuSeqlens?: Tensor | Int32Array;
  readonly maxSeqlen?: number;
}

/** Options of {@link dequantize}. */
export interface DequantizeOptions extends CallOptions {
  /** Default float32. */
  dtype?: 'float32' | 'float16' | 'bfloat16';
}

const quantizeKeys: ReadonlySet<string> = new Set([
  'per',
  'hadamard',
  'layout',
  'cuSeqlens',
  'maxSeqlen',
  ...callKeys,
]);
const hadamardKeys: ReadonlySet<string> = new Set(['seed']);
const dequantizeKeys: ReadonlySet<string> = new Set(['dtype', ...callKeys]);
const layouts: readonly Layout[] = ['bshd', 'bhsd'];

/**
 * Quantises q, k or v to float8 e4m3 with float32 scales, for {@link flashAttention} with `scales`.
 * Rounds to nearest even. Infinities do not count for a scale and become 448 times it; NaN stays
 * NaN; with `hadamard` either spreads over its whole row, and so does a sum beyond float32. Padding
 * counts for scales: zero it first. Enqueues the work and returns at once; the bits are the same on
 * every device.
 *
 * @param tensor `[batch, seqlen, heads, headDim]` (or bhsd by `layout`), or with `cuSeqlens`
 * `[total, heads, headDim]`, for {@link flashAttentionVarlen}; any strides; float32, float16 or
 * bfloat16; headDim 1 to 576.
 * @param dtype `'float8_e4m3'`.
 * @param options See {@link QuantizeOptions}.
 * @returns New tensors on the device of `tensor`, and what {@link dequantize} needs to undo it.
 * Both tensors are the caller's to dispose.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`, `ERR_DTYPE`, `ERR_DEVICE`,
 * `ERR_OPTION`, `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`. What `cuSeqlens` that is still being computed
 * holds is checked when the work runs.
 *
 * @example
 * const hadamard = { seed: 1n };
 * const [q8, k8] = [q, k].map((x) => quantize(x, 'float8_e4m3', { per: 'block', hadamard }));
 * const v8 = quantize(v, 'float8_e4m3', { per: 'head' });
 * const scales = { q: q8.scales, k: k8.scales, v: v8.scales };
 * const out = flashAttention(q8.values, k8.values, v8.values, { scales });
 */
export function quantize(
  tensor: Tensor,
  dtype: 'float8_e4m3',
  options?: QuantizeOptions,
): Quantized {
  checkTensor(tensor, 'tensor');
  checkDType(dtype, 'dtype', ['float8_e4m3']);
  const given = checkOptions(options, quantizeKeys);
  const layout = checkLayout(given?.layout);
  const per = checkPer(given?.per, 'options.per');
  const seed = checkRotation(given?.hadamard, 'options.hadamard');
  const sequences = checkSequences(given, tensor.device, 'options');
  const [values, scales] = withSequences(sequences, tensor.device, given, (offsets, longest) =>
    call(
      () => native().quantize(liveHandle(tensor), layout, per, seed, offsets, longest),
      quantizeNames,
    ),
  );
  return {
    values: resultTensor(values, tensor.device),
    scales: resultTensor(scales, tensor.device),
    layout: layouts[layout],
    ...(seed === undefined ? {} : { hadamard: { seed } }),
    ...(sequences && { cuSeqlens: sequences.offsets, maxSeqlen: sequences.longest }),
  };
}

const quantizeNames = {
  layout: 'options.layout',
  hadamard: 'options.hadamard',
  cuSeqlens: 'options.cuSeqlens',
  maxSeqlen: 'options.maxSeqlen',
};

/**
 * The tensor that a {@link Quantized} stands for: value * scale, rotated back. This is the way to
 * attention on devices without float8 kernels. Enqueues the work and returns at once.
 *
 * @param quantized What {@link quantize} returned.
 * @param options See {@link DequantizeOptions}.
 * @returns A new tensor, shaped like `quantized.values` and on its device; rounded to nearest even
 * when its dtype is not float32.
 * @throws {@link FlashAttentionError} as {@link quantize}.
 */
export function dequantize(quantized: Quantized, options?: DequantizeOptions): Tensor {
  const { values, scales, hadamard } = checkQuantized(quantized);
  const { device } = checkTensor(values, 'quantized.values');
  if (quantized.layout === undefined) {
    fail('ERR_TYPE', 'quantized.layout', "'bshd' or 'bhsd'", 'undefined');
  }
  const layout = checkLayout(quantized.layout, 'quantized.layout');
  const handles = [liveHandle(values), handleOn(device, scales, 'quantized.scales')] as const;
  const seed = checkRotation(hadamard, 'quantized.hadamard');
  const given = checkOptions(options, dequantizeKeys);
  const wanted = given?.dtype;
  const dtype = wanted === undefined ? 'float32' : checkDType(wanted, 'options.dtype', floating);
  const sequences = checkSequences(quantized, device, 'quantized');
  const plain = withSequences(sequences, device, given, (offsets, longest) =>
    call(
      () => native().dequantize(...handles, layout, seed, dtypeNumber[dtype], offsets, longest),
      dequantizeNames,
    ),
  );
  return resultTensor(plain, device);
}

const dequantizeNames = {
  layout: 'quantized.layout',
  cuSeqlens: 'quantized.cuSeqlens',
  maxSeqlen: 'quantized.maxSeqlen',
  values: 'quantized.values',
  scales: 'quantized.scales',
  hadamard: 'quantized.hadamard',
  tensor: 'quantized.values',
};

/**
 * An object that may be a {@link Quantized}: not its tensors alone, nor an array, whose `values` is
 * a function.
 */
function checkQuantized(value: Quantized): Quantized {
  const other = Array.isArray(value) || ArrayBuffer.isView(value) || isTensor(value);
  if (typeof value !== 'object' || value === null || other) {
    fail('ERR_TYPE', 'quantized', 'an object { values, scales, layout }', show(value));
  }
  return value;
}

/** What a scale is for. The numbers are shared with csrc/binding/quantize.cpp. */
function checkPer(value: unknown, argument: string): 0 | 1 | 2 {
  if (value === undefined || value === 'block') return 2;
  if (value === 'head') return 1;
  if (value === 'tensor') return 0;
  const code = typeof value === 'string' ? 'ERR_OPTION' : 'ERR_TYPE';
  return fail(code, argument, "'block', 'head' or 'tensor'", show(value));
}

/** The seed of a rotation; undefined when there is none. */
function checkRotation(
  hadamard: HadamardOptions | undefined,
  argument: string,
): bigint | undefined {
  if (checkOptions(hadamard, hadamardKeys, argument) === undefined) return undefined;
  return checkUint64(hadamard?.seed, `${argument}.seed`);
}
