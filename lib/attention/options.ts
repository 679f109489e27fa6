// What callers may say beside q, k and v.
import { type CallOptions, callKeys } from '../native/call-options.js';
import type { BlockMask } from '../block-mask/block-mask.js';
import type { DType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * Order of the axes: `bshd` is `[batch, seqlen, heads, headDim]`, `bhsd` `[batch, heads, seqlen,
 * headDim]`.
 */
export type Layout = 'bshd' | 'bhsd';

/**
 * A vector of integers: an int32 {@link Tensor} on the device of q, or plain numbers, copied there.
 */
export type IntVector = Tensor | Int32Array | Uint32Array | readonly number[];

/** A row of page numbers per sequence: an int32 {@link Tensor}, or plain numbers, copied to one. */
export type PageTable = Tensor | readonly IntRow[];

/** Plain numbers of one row. */
export type IntRow = Int32Array | Uint32Array | readonly number[];

/** Dropout of attention weights; the mask is a function of seed, offset and position alone. */
export interface DropoutOptions {
  /** Probability of dropping a weight, 0 <= p < 1; kept ones are scaled by 1 / (1 - p). */
  p: number;
  /** 0n to 2n ** 64n - 1n: the key of Philox4x32-10 (Salmon et al. 2011). */
  seed: bigint;
  /** 0n to 2n ** 64n - 1n, default 0n. Another offset under the same seed gives another mask. */
  offset?: bigint;
}

/** Options that every attention function takes. */
export interface CommonAttentionOptions extends CallOptions {
  /** Factor of q·k. Any finite number; default 1 / sqrt(headDim). */
  scale?: number;
  /**
   * Query i sees key j only if j <= i + seqlenK - seqlenQ: aligned at the bottom right, so that the
   * last query sees the last key. Default false.
   */
  causal?: boolean;
  /**
   * With p = i + seqlenK - seqlenQ, query i sees key j only if p - left <= j <= p + right.
   * Integers, negative ones too (they move the bound across the diagonal), or `Infinity` for no
   * bound. `causal` caps `right` at 0. Two numbers, `[left, right]`. Default
   * `[Infinity, Infinity]`.
   */
  window?: readonly number[];
  /**
   * The first keys, exempt from the window's left bound (StreamingLLM, Xiao et al. 2023). Default
   * 0.
   */
  sinkTokens?: number;
  /** s = softcap * tanh(s / softcap) before masks and biases (Gemma 2). 0 (default): none. */
  softcap?: number;
  /**
   * float32 `[heads]` or `[batch, heads]`: adds -slope * |p - j| to the scores (ALiBi, Press et al.
   * 2022), with p as in `window`.
   */
  alibiSlopes?: Tensor;
  /**
   * floating `[heads]`: a learned logit per head that takes part in the softmax's denominator only.
   */
  sinks?: Tensor;
  /** Default: none. */
  dropout?: DropoutOptions;
  /**
   * Key ranges worked on side by side and merged exactly (split-KV, Flash-Decoding). `'auto'`
   * (default) fills the device, so that bits depend on the batch and on the number of threads; a
   * fixed number, 1 to 256, makes the bits of a sequence's result depend on that sequence alone.
   */
  numSplits?: number | 'auto';
  /**
   * Gradients with the same bits for any number of threads. Without it they are the same for the
   * same number. Forward calls ignore it: for them a fixed `numSplits` does that. Default false.
   */
  deterministic?: boolean;
}

/** Whether to return `{ out, lse }` and not `out` alone. Default false. */
export interface ReturnLse<Value extends boolean = boolean> {
  returnLse?: Value;
}

/**
 * float32 tensors on the device of q: `scales` of what {@link quantize} returned for q, k and v.
 * Positive and finite: that is not checked, and with other scales results mean nothing. Packed
 * sequences each begin a block, and have room for as many as the longest one has, or more.
 */
export interface AttentionScales {
  /** `[batch, heads, ceil(seqlenQ / 128)]`, `[batch, heads]` or `[1]`. */
  q: Tensor;
  /**
   * `[batch, kvHeads, ceil(seqlenK / 128)]`, `[batch, kvHeads]` or `[1]`. Of pages `[kvHeads]`,
   * `[batch, kvHeads]` or `[1]`: sequences may share them, so no scale is for tokens of one.
   */
  k: Tensor;
  /** `[batch, kvHeads]` or `[1]`; of pages also `[kvHeads]`. */
  v: Tensor;
}

/** Options of {@link flashAttention} and of the packed forms. */
export interface AttentionOptions extends CommonAttentionOptions {
  /** Axes of q, k, v and out. Default `'bshd'`. */
  layout?: Layout;
  /**
   * int32 `[batch]`: the number of keys in use; those from there on are padding. With a batch of 1
   * also a number. Default: all.
   */
  seqlensK?: IntVector | number;
  /**
   * Rank 1 to 4, broadcastable to `[batch, heads, seqlenQ, seqlenK]` from the right: bool (true =
   * attend) or floating (added to the scores).
   */
  mask?: Tensor;
  /** A sparse pattern: tiles it hides are never computed. */
  blockMask?: BlockMask;
  /** With float8_e4m3 q, k and v, and only then: what their elements are multiplied by. */
  scales?: AttentionScales;
}

/** Options of {@link flashAttentionVarlen}. */
export interface VarlenAttentionOptions extends CommonAttentionOptions {
  /**
   * int32 `[batch + 1]`, ascending from 0: rows `cuSeqlensQ[b]` to `cuSeqlensQ[b + 1]` of q are
   * sequence b.
   */
  cuSeqlensQ: IntVector;
  /** Likewise for k and v. */
  cuSeqlensK: IntVector;
  /** An upper bound of the query sequences' lengths. Default: worked out. */
  maxSeqlenQ?: number;
  /** An upper bound of the key sequences' lengths. Default: worked out. */
  maxSeqlenK?: number;
  /** With float8_e4m3 q, k and v, and only then: what their elements are multiplied by. */
  scales?: AttentionScales;
}

/** Options of {@link flashAttentionPaged}. `layout` concerns q and out only. */
export interface PagedAttentionOptions extends AttentionOptions {
  /**
   * int32 `[batch, pagesPerSequence]`: which page holds keys `i * pageSize` onwards of a sequence.
   */
  pageTable: PageTable;
  /** int32 `[batch]`: keys of each sequence; with a batch of 1 also a number. */
  seqlensK: IntVector | number;
  /**
   * float32, with int8 or float8_e4m3 pages under q of another dtype and only then: what the
   * elements of k are multiplied by. `[numPages, pageSize, kvHeads]`, of each token's row, as
   * `appendKv` wrote them; or `[kvHeads]` or `[1]`, with which it wrote the pages.
   */
  kScales?: Tensor;
  /** Likewise for v. */
  vScales?: Tensor;
}

/** The dtype of a result, by that of q. Sums are float32 in any case. */
export type OutDType<D extends DType> = DType extends D
  ? DType
  : D extends 'float8_e4m3'
    ? 'bfloat16'
    : D;

/** What attention gives with `returnLse: true`. */
export interface AttentionResult<D extends DType = DType> {
  /** Like q, with the head dim of v. */
  out: Tensor<D>;
  /**
   * float32: the natural logarithm of each row's softmax denominator, `[batch, heads, seqlenQ]`, or
   * `[heads, totalQ]` for variable lengths. -Infinity for a row that sees nothing.
   */
  lse: Tensor<'float32'>;
}

/** Keys of {@link CommonAttentionOptions} and {@link ReturnLse}. */
const commonKeys: readonly string[] = [
  'scale',
  'causal',
  'window',
  'sinkTokens',
  'softcap',
  'alibiSlopes',
  'sinks',
  'dropout',
  'numSplits',
  'deterministic',
  'returnLse',
  ...callKeys,
];

const dense = [...commonKeys, 'layout', 'seqlensK', 'mask', 'blockMask', 'scales'];

export const denseKeys: ReadonlySet<string> = new Set(dense);

export const varlenKeys: ReadonlySet<string> = new Set([
  ...commonKeys,
  'cuSeqlensQ',
  'cuSeqlensK',
  'maxSeqlenQ',
  'maxSeqlenK',
  'scales',
]);

const pages = ['pageTable', 'kScales', 'vScales'];

export const pagedKeys: ReadonlySet<string> = new Set([...dense, ...pages]);

export const raggedKeys: ReadonlySet<string> = new Set([
  ...commonKeys,
  ...pages,
  'cuSeqlensQ',
  'maxSeqlenQ',
  'seqlensK',
  'mask',
  'scales',
  'tree',
]);

export const scalesKeys: ReadonlySet<string> = new Set(['q', 'k', 'v']);

export const dropoutKeys: ReadonlySet<string> = new Set(['p', 'seed', 'offset']);
