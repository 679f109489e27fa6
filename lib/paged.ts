import type { AttentionResult, PagedAttentionOptions } from './options.js';
import { pagedProblem, run } from './problem.js';
import type { Tensor } from './tensor.js';

/**
 * {@link flashAttention} over keys and values that lie in pages (PagedAttention, Kwon et al. 2023):
 * key j of sequence b is row `j % pageSize` of page `pageTable[b, floor(j / pageSize)]`.
 *
 * @param q `[batch, seqlenQ, heads, headDim]` (or bhsd by `layout`); float32, float16 or bfloat16.
 * @param kPages `[numPages, pageSize, kvHeads, headDim]`, dtype and device of q; any page size.
 * @param vPages `[numPages, pageSize, kvHeads, headDimV]`, dtype and device of q.
 * @param options See {@link PagedAttentionOptions}; `pageTable` and `seqlensK` are required. Entries
 * of the table past a sequence's keys are never looked at. `mask` and `blockMask` span
 * `pagesPerSequence * pageSize` keys.
 * @returns As {@link flashAttention}.
 * @throws {@link FlashAttentionError} as {@link flashAttention}; `ERR_SHAPE` when an entry in use is no
 * page, or a length exceeds the table's row.
 */
export function flashAttentionPaged(
  q: Tensor,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions & { returnLse: true },
): AttentionResult;
export function flashAttentionPaged(
  q: Tensor,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions & { returnLse?: false },
): Tensor;
export function flashAttentionPaged(
  q: Tensor,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions,
): Tensor | AttentionResult;
export function flashAttentionPaged(
  q: Tensor,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions,
): Tensor | AttentionResult {
  return run(pagedProblem(q, kPages, vPages, options));
}
