import type { AttentionOptions, AttentionResult } from './options.js';
import { denseProblem, run } from './problem.js';
import type { Tensor } from './tensor.js';

/**
 * Exact attention, `softmax(scale * q kᵀ + bias) v`, without ever storing the seqlenQ x seqlenK matrix
 * (FlashAttention: Dao et al. 2022; FlashAttention-2: Dao 2023). Enqueues the work and returns at
 * once; reading the result back waits for it.
 *
 * A query row that sees no key gives 0, and -Infinity as its lse. Query head h reads kv head
 * `floor(h / (heads / kvHeads))` (grouped-query attention, Ainslie et al. 2023).
 *
 * @param q `[batch, seqlenQ, heads, headDim]`, or `[batch, heads, seqlenQ, headDim]` with
 * `layout: 'bhsd'`; any strides; float32, float16 or bfloat16; headDim 1 to 576.
 * @param k `[batch, seqlenK, kvHeads, headDim]` (or bhsd), dtype and device of q; heads is a multiple
 * of kvHeads.
 * @param v `[batch, seqlenK, kvHeads, headDimV]` (or bhsd), dtype and device of q.
 * @param options See {@link AttentionOptions}.
 * @returns out, like q but headDimV wide, in the dtype of q; sums are kept in float32. With
 * `returnLse: true` also lse, float32 `[batch, heads, seqlenQ]`.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`, `ERR_DTYPE`, `ERR_DEVICE`,
 * `ERR_OPTION`, `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`. What an index tensor that is still being computed
 * holds is checked when the work runs; such an error rejects the reading of the result.
 *
 * @example
 * const out = flashAttention(q, k, v, { causal: true });
 * const values = await out.toFloat32();
 */
export function flashAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions & { returnLse: true },
): AttentionResult;
export function flashAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: AttentionOptions & { returnLse?: false },
): Tensor;
export function flashAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: AttentionOptions,
): Tensor | AttentionResult;
export function flashAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: AttentionOptions,
): Tensor | AttentionResult {
  return run(denseProblem(q, k, v, options));
}
