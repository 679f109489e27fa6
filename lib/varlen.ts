import type { AttentionResult, VarlenAttentionOptions } from './options.js';
import { run, varlenProblem } from './problem.js';
import type { Tensor } from './tensor.js';

/**
 * {@link flashAttention} over sequences of different lengths packed one after the other, without
 * padding. Sequence b is rows `cuSeqlensQ[b]` to `cuSeqlensQ[b + 1]` of q and likewise of k and v;
 * sequences do not see each other, and each has its own diagonal.
 *
 * @param q `[totalQ, heads, headDim]`; float32, float16 or bfloat16.
 * @param k `[totalK, kvHeads, headDim]`, dtype and device of q.
 * @param v `[totalK, kvHeads, headDimV]`, dtype and device of q.
 * @param options See {@link VarlenAttentionOptions}; `layout`, `mask`, `blockMask` and `seqlensK` do
 * not apply.
 * @returns out `[totalQ, heads, headDimV]`; rows past the last sequence are 0. With
 * `returnLse: true` also lse, float32 `[heads, totalQ]`.
 * @throws {@link FlashAttentionError} as {@link flashAttention}; `ERR_SHAPE` when cuSeqlens does not
 * ascend from 0 within the rows, `ERR_OPTION` when maxSeqlen is below a length.
 */
export function flashAttentionVarlen(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions & { returnLse: true },
): AttentionResult;
export function flashAttentionVarlen(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions & { returnLse?: false },
): Tensor;
export function flashAttentionVarlen(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions,
): Tensor | AttentionResult;
export function flashAttentionVarlen(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions,
): Tensor | AttentionResult {
  return run(varlenProblem(q, k, v, options));
}
