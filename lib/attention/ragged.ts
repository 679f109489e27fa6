import { checkIntVector, checkPageTable, checkSeqlens, intHandle } from './int-vector.js';
import { applyCommon, applyMasks } from './modifiers.js';
import {
  type AttentionResult,
  type IntVector,
  type OutDType,
  type PagedAttentionOptions,
  raggedKeys,
  type ReturnLse,
} from './options.js';
import { newArgs, type Problem, run } from './problem.js';
import { checkTensors, handleOn, requireOptions } from './qkv.js';
import { applyPageScales } from './scales.js';
import { checkNumber, checkOptions } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';

/**
 * Sequences whose queries are a tree of draft tokens (speculative decoding, Miao et al. 2023), and
 * whose last keys are those of the queries: of a sequence with n queries over m keys, key t of the
 * tree is key `m - n + t`. What lies before is seen as always; of the tree, a query sees the keys
 * whose bits are set. Windows and ALiBi count `positions`. Sequences of more queries than a row has
 * bits are no trees, and their rows are not looked at. `packTrees` makes both.
 */
export interface DraftTrees {
  /** int32 `[total, words]`: bit `t % 32` of word `t / 32` is key t of the tree. */
  mask: Tensor;
  /**
   * int32 `[total]`: where each query of a tree, and its key, stands: the sequence's keys before
   * the tree, and its depth. From `m - n` to `m - 1`.
   */
  positions: IntVector;
}

/** Options of {@link flashAttentionRagged}. */
export interface RaggedAttentionOptions
  extends Omit<PagedAttentionOptions, 'layout' | 'mask' | 'blockMask'> {
  /**
   * Rank 1 to 4, broadcastable to `[1, heads, total, pagesPerSequence * pageSize]` from the right:
   * bool (true = attend) or floating (added to the scores).
   */
  mask?: Tensor;
  /** Sequences that are trees of draft tokens. */
  tree?: DraftTrees;
  /**
   * int32 `[batch + 1]`, ascending from 0: rows `cuSeqlensQ[b]` to `cuSeqlensQ[b + 1]` of q are
   * sequence b.
   */
  cuSeqlensQ: IntVector;
  /** An upper bound of the query sequences' lengths. Default: worked out. */
  maxSeqlenQ?: number;
}

const treeKeys: ReadonlySet<string> = new Set(['mask', 'positions']);

/**
 * {@link flashAttentionPaged} over a batch of any mix: sequences with a query each (decoding)
 * beside chunks of prompts, their queries packed one after the other. Sequence b is rows
 * `cuSeqlensQ[b]` to `cuSeqlensQ[b + 1]` of q; its keys lie in pages, the last query beside the
 * last key. The kernel is chosen for each sequence by its own length, and with a fixed `numSplits`
 * its bits depend on that sequence alone.
 *
 * @param q `[total, heads, headDim]`; float32, float16, bfloat16, or with `scales` float8_e4m3
 * (GPUs of compute capability 9.0 only).
 * @param kPages `[numPages, pageSize, kvHeads, headDim]`, device of q; any page size. Dtype of q;
 * float16 and bfloat16 also with float32 q; int8 and float8_e4m3, with `kScales` and `vScales`,
 * with any q of 16 or 32 bits.
 * @param vPages `[numPages, pageSize, kvHeads, headDimV]`, dtype of kPages.
 * @param options See {@link RaggedAttentionOptions}; `cuSeqlensQ`, `pageTable` and `seqlensK` are
 * required. Slots past a sequence's keys may hold anything, and entries of the table past them are
 * never looked at.
 * @returns out `[total, heads, headDimV]`; rows past the last sequence are 0. With
 * `returnLse: true` also lse, float32 `[heads, total]`.
 * @throws {@link FlashAttentionError} as {@link flashAttentionPaged}; `ERR_SHAPE` when cuSeqlensQ
 * does not ascend from 0 within the rows, `ERR_OPTION` when maxSeqlenQ is below a length.
 */
export function flashAttentionRagged<D extends DType>(
  q: Tensor<D>,
  kPages: Tensor,
  vPages: Tensor,
  options: RaggedAttentionOptions & { returnLse: true },
): AttentionResult<OutDType<D>>;
/** {@link flashAttentionRagged} without its lse. */
export function flashAttentionRagged<D extends DType>(
  q: Tensor<D>,
  kPages: Tensor,
  vPages: Tensor,
  options: RaggedAttentionOptions & ReturnLse<false>,
): Tensor<OutDType<D>>;
/** {@link flashAttentionRagged} with its lse or without, as `returnLse` says. */
export function flashAttentionRagged<D extends DType>(
  q: Tensor<D>,
  kPages: Tensor,
  vPages: Tensor,
  options: RaggedAttentionOptions & ReturnLse,
): Tensor<OutDType<D>> | AttentionResult<OutDType<D>>;
export function flashAttentionRagged(
  q: Tensor,
  kPages: Tensor,
  vPages: Tensor,
  options: RaggedAttentionOptions & ReturnLse,
): Tensor | AttentionResult {
  return run(raggedProblem(q, kPages, vPages, options));
}

const names = {
  q: 'q',
  k: 'kPages',
  v: 'vPages',
  treeMask: 'options.tree.mask',
  positions: 'options.tree.positions',
};

/** Checks and translates a call. */
export function raggedProblem(
  q: Tensor,
  kPages: Tensor,
  vPages: Tensor,
  options: RaggedAttentionOptions & ReturnLse,
): Problem {
  checkTensors(q, kPages, vPages, names);
  const checked = checkOptions(options, raggedKeys);
  const given = requireOptions(checked, 'cuSeqlensQ, pageTable and seqlensK');
  const args = newArgs(q, kPages, vPages, 0);
  const queries = checkIntVector(given.cuSeqlensQ, q.device, 'options.cuSeqlensQ');
  const pages = checkPageTable(given.pageTable, q.device, 'options.pageTable');
  if (given.maxSeqlenQ !== undefined) {
    args.maxSeqlenQ = checkNumber(given.maxSeqlenQ, 'options.maxSeqlenQ');
  }
  applyCommon(args, given, q.device);
  applyMasks(args, { mask: given.mask }, q.device);
  applyPageScales(args, given, q.device);
  const batch = (isTensor(queries) ? queries.shape[0] : queries.data.length) - 1;
  const lengths = checkSeqlens(given.seqlensK, batch, q.device, 'options.seqlensK');
  const temporaries: Tensor[] = [];
  if (given.tree !== undefined) {
    const tree = checkOptions(given.tree, treeKeys, 'options.tree') as DraftTrees;
    const positions = checkIntVector(tree.positions, q.device, 'options.tree.positions');
    args.treeMask = handleOn(q.device, tree.mask, 'options.tree.mask');
    args.positions = intHandle(positions, q.device, temporaries, given);
  }
  args.cuSeqlensQ = intHandle(queries, q.device, temporaries, given);
  args.pageTable = intHandle(pages, q.device, temporaries, given);
  args.seqlensK = intHandle(lengths, q.device, temporaries, given);
  return { args, q, names, temporaries, options: given };
}
