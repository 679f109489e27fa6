import { checkOptions, checkSameDevice, checkTensor, checkTensorDType } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import { liveHandle, type Tensor } from '../tensor/tensor.js';
import { seqlensHandle } from './int-vector.js';
import { applyCommon, applyMasks, checkLayout } from './modifiers.js';
import {
  type AttentionResult,
  type OutDType,
  type PagedAttentionOptions,
  pagedKeys,
  type ReturnLse,
} from './options.js';
import { newArgs, type Problem, run } from './problem.js';
import { checkHeads, checkTensors, failShape, requireOptions } from './qkv.js';

/**
 * {@link flashAttention} over keys and values that lie in pages (PagedAttention, Kwon et al. 2023):
 * key j of sequence b is row `j % pageSize` of page `pageTable[b, floor(j / pageSize)]`.
 *
 * @param q `[batch, seqlenQ, heads, headDim]` (or bhsd by `layout`); float32, float16 or bfloat16.
 * @param kPages `[numPages, pageSize, kvHeads, headDim]`, dtype and device of q; any page size.
 * @param vPages `[numPages, pageSize, kvHeads, headDimV]`, dtype and device of q.
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
export function flashAttentionPaged<D extends DType>(
  q: Tensor<D>,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions & ReturnLse<false>,
): Tensor<OutDType<D>>;
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
  checkTensors(q, kPages, vPages, 4, names);
  const given = requireOptions(checkOptions(options, pagedKeys), 'pageTable and seqlensK');
  const layout = checkLayout(given.layout);
  const [seqAxis, headAxis] = layout === 0 ? [1, 2] : [2, 1];
  const batch = q.shape[0];
  const seqlenQ = q.shape[seqAxis];
  const heads = q.shape[headAxis];
  const headDim = q.shape[3];
  const [numPages, pageSize, kvHeads] = kPages.shape as [number, number, number, number];
  if (kPages.shape[3] !== headDim || pageSize < 1) {
    failShape('kPages', `[numPages, pageSize, kvHeads, ${headDim}]`, kPages);
  }
  if (vPages.shape.slice(0, 3).some((length, axis) => length !== kPages.shape[axis])) {
    failShape('vPages', `[${numPages}, ${pageSize}, ${kvHeads}, headDimV]`, vPages);
  }
  checkHeads(q, vPages, heads, kvHeads, headDim, names);
  const { pageTable, seqlensK } = given;
  checkTensor(pageTable, 'options.pageTable');
  checkTensorDType(pageTable, ['int32'], 'options.pageTable');
  if (pageTable.shape.length !== 2 || pageTable.shape[0] !== batch) {
    failShape('options.pageTable', `[${batch}, pagesPerSequence]`, pageTable);
  }
  checkSameDevice(pageTable, q.device, 'options.pageTable');
  const args = newArgs(q, kPages, vPages, layout);
  args.pageTable = liveHandle(pageTable);
  const seqlenK = pageTable.shape[1] * pageSize;
  applyCommon(args, given, batch, heads, q.device);
  applyMasks(args, given, { batch, heads, seqlenQ, seqlenK }, q.device);
  const temporaries: Tensor[] = [];
  args.seqlensK = seqlensHandle(seqlensK, batch, q.device, temporaries);
  return { args, q, names, temporaries };
}
