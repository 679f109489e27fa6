import { fail } from '../native/errors.js';
import { showShape } from '../native/show.js';
import { checkOptions, checkTensor } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import { type Tensor, view } from '../tensor/tensor.js';
import { denseProblem } from './dense.js';
import {
  type AttentionOptions,
  type AttentionResult,
  type OutDType,
  denseKeys,
  type ReturnLse,
} from './options.js';
import { run } from './problem.js';
import { checkLayout } from './qkv.js';

/**
 * {@link flashAttention} on q, k and v stacked in one tensor, as a fused projection makes them.
 * Works on views: nothing is copied.
 *
 * @param qkv `[batch, seqlen, 3, heads, headDim]`, or `[batch, 3, heads, seqlen, headDim]` with
 * `layout: 'bhsd'`.
 * @param options See {@link AttentionOptions}.
 * @returns As {@link flashAttention}.
 * @throws {@link FlashAttentionError} as {@link flashAttention}.
 */
export function flashAttentionQkvPacked<D extends DType>(
  qkv: Tensor<D>,
  options: AttentionOptions & { returnLse: true },
): AttentionResult<OutDType<D>>;
/** {@link flashAttentionQkvPacked} without its lse. */
export function flashAttentionQkvPacked<D extends DType>(
  qkv: Tensor<D>,
  options?: AttentionOptions & ReturnLse<false>,
): Tensor<OutDType<D>>;
/** {@link flashAttentionQkvPacked} with its lse or without, as `returnLse` says. */
export function flashAttentionQkvPacked<D extends DType>(
  qkv: Tensor<D>,
  options?: AttentionOptions & ReturnLse,
): Tensor<OutDType<D>> | AttentionResult<OutDType<D>>;
export function flashAttentionQkvPacked(
  qkv: Tensor,
  options?: AttentionOptions & ReturnLse,
): Tensor | AttentionResult {
  const axis = packedAxis(qkv, 3, 'qkv', options);
  using q = member(qkv, axis, 0);
  using k = member(qkv, axis, 1);
  using v = member(qkv, axis, 2);
  return run(denseProblem(q, k, v, options, { q: 'qkv', k: 'qkv', v: 'qkv' }));
}

/**
 * {@link flashAttention} on k and v stacked in one tensor. Works on views: nothing is copied.
 *
 * @param q `[batch, seqlenQ, heads, headDim]`, or `[batch, heads, seqlenQ, headDim]` with
 * `layout: 'bhsd'`.
 * @param kv `[batch, seqlenK, 2, kvHeads, headDim]`, or `[batch, 2, kvHeads, seqlenK, headDim]`
 * with `layout: 'bhsd'`.
 * @param options See {@link AttentionOptions}.
 * @returns As {@link flashAttention}.
 * @throws {@link FlashAttentionError} as {@link flashAttention}.
 */
export function flashAttentionKvPacked<D extends DType>(
  q: Tensor<D>,
  kv: Tensor,
  options: AttentionOptions & { returnLse: true },
): AttentionResult<OutDType<D>>;
/** {@link flashAttentionKvPacked} without its lse. */
export function flashAttentionKvPacked<D extends DType>(
  q: Tensor<D>,
  kv: Tensor,
  options?: AttentionOptions & ReturnLse<false>,
): Tensor<OutDType<D>>;
/** {@link flashAttentionKvPacked} with its lse or without, as `returnLse` says. */
export function flashAttentionKvPacked<D extends DType>(
  q: Tensor<D>,
  kv: Tensor,
  options?: AttentionOptions & ReturnLse,
): Tensor<OutDType<D>> | AttentionResult<OutDType<D>>;
export function flashAttentionKvPacked(
  q: Tensor,
  kv: Tensor,
  options?: AttentionOptions & ReturnLse,
): Tensor | AttentionResult {
  checkTensor(q, 'q');
  const axis = packedAxis(kv, 2, 'kv', options);
  using k = member(kv, axis, 0);
  using v = member(kv, axis, 1);
  return run(denseProblem(q, k, v, options, { q: 'q', k: 'kv', v: 'kv' }));
}

/** The axis along which `count` tensors are stacked: 2 in bshd, 1 in bhsd. */
function packedAxis(
  packed: Tensor,
  count: 2 | 3,
  argument: string,
  options: AttentionOptions | undefined,
): number {
  checkTensor(packed, argument);
  const layout = checkLayout(checkOptions(options, denseKeys)?.layout);
  const axis = layout === 0 ? 2 : 1;
  if (packed.shape.length !== 5 || packed.shape[axis] !== count) {
    const expected =
      layout === 0
        ? `[batch, seqlen, ${count}, heads, headDim]`
        : `[batch, ${count}, heads, seqlen, headDim]`;
    fail('ERR_SHAPE', argument, expected, showShape(packed.shape));
  }
  return axis;
}

/** Tensor `index` of those stacked along `axis`. */
function member(packed: Tensor, axis: number, index: number): Tensor {
  const shape = packed.shape.filter((_, i) => i !== axis);
  const strides = packed.strides.filter((_, i) => i !== axis);
  return view(packed, shape, strides, index * packed.strides[axis]);
}
