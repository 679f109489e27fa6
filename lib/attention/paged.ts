import { checkOptions } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkPageTable, checkSeqlens, intHandle } from './int-vector.js';
import { applyCommon, applyMasks } from './modifiers.js';
import {
  type AttentionResult,
  type OutDType,
  type PagedAttentionOptions,
  pagedKeys,
  type ReturnLse,
} from './options.js';
import { newArgs, type Problem, run } from './problem.js';
import { checkLayout, checkTensors, requireOptions } from './qkv.js';
import { applyPageScales } from './scales.js';

/**
 * {@link flashAttention} over keys and values that lie in pages (PagedAttention, Kwon et al. 2023):
 * key j of sequence b is row `j % pageSize` of page `pageTable[b, floor(j / pageSize)]`.
 *
 * @param q `[batch, seqlenQ, heads, headDim]` (or bhsd by `layout`); float32, float16, bfloat16, or
 * with `scales` float8_e4m3 (GPUs of compute capability 9.0 only).
 * @param kPages `[numPages, pageSize, kvHeads, headDim]`, device of q; any page size. Dtype of q;
 * float16 and bfloat16 also with float32 q; int8 and float8_e4m3, with `kScales` and `vScales`,
 * with any q of 16 or 32 bits.
 * @param vPages `[numPages, pageSize, kvHeads, headDimV]`, dtype of kPages.
 * @param options See {@link PagedAttentionOptions}; `pageTable` and `seqlensK` are required.
 * Entries of the table past a sequence's keys are never looked at. `mask` and `blockMask` span
 * `pagesPerSequence * pageSize` keys.
 * @returns As {@link flashAttention}.
 * @throws {@link FlashAttentionError} as {@link flashAttention}; `ERR_SHAPE` when an entry in use
 * is no page, or a length exceeds the table's row.
 */
export function flashAttentionPaged<D extends DType>(
  q: Tensor<D>,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions & { returnLse: true },
): AttentionResult<OutDType<D>>;
/** {@link flashAttentionPaged} without its lse. */
export function flashAttentionPaged<D extends DType>(
  q: Tensor<D>,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions & ReturnLse<false>,
): Tensor<OutDType<D>>;
/** {@link flashAttentionPaged} with its lse or without, as `returnLse` says. */
export function flashAttentionPaged<D extends DType>(
  q: Tensor<D>,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions & ReturnLse,
): Tensor<OutDType<D>> | AttentionResult<OutDType<D>>;
export function flashAttentionPaged(
  q: Tensor,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions & ReturnLse,
): Tensor | AttentionResult {
  return run(pagedProblem(q, kPages, vPages, options));
}

const names = { q: 'q', k: 'kPages', v: 'vPages' };

/** Checks and translates a call. */
export function pagedProblem(
  q: Tensor,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions & ReturnLse,
): Problem {
  checkTensors(q, kPages, vPages, names);
  const given = requireOptions(checkOptions(options, pagedKeys), 'pageTable and seqlensK');
  const args = newArgs(q, kPages, vPages, checkLayout(given.layout));
  const pages = checkPageTable(given.pageTable, q.device, 'options.pageTable');
  applyCommon(args, given, q.device);
  applyMasks(args, given, q.device);
  applyPageScales(args, given, q.device);
  const lengths = checkSeqlens(given.seqlensK, q.shape[0], q.device, 'options.seqlensK');
  const temporaries: Tensor[] = [];
  args.pageTable = intHandle(pages, q.device, temporaries, given);
  args.seqlensK = intHandle(lengths, q.device, temporaries, given);
  return { args, q, names, temporaries, options: given };
}
