import type { Dropout } from './philox.js';

/** A flat, row-major array. The algorithms compute in float64 whichever they are given. */
export type Numbers = Float32Array | Float64Array;

/** The sizes of one attention problem. */
export interface ReferenceShape {
  readonly batch: number;
  readonly seqlenQ: number;
  readonly seqlenK: number;
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads; `heads` is a multiple of it. Default `heads`. */
  readonly kvHeads?: number;
  /** Length of a query and of a key. */
  readonly headDim: number;
  /** Length of a value. Default `headDim`. */
  readonly headDimV?: number;
}

/** A mask, broadcastable (aligned at the last dimension) to [batch, heads, seqlenQ, seqlenK]. */
export interface ReferenceMask {
  /**
   * Uint8Array: non-zero = attend. Floating point: added to the score; -Infinity excludes the pair.
   */
  readonly data: Uint8Array | Numbers;
  readonly shape: readonly number[];
}

/**
 * What is computed: `softmax(score) v` per query, with
 *
 *     s_ij = scale q_i . k_j                 arXiv 1706.03762 (Vaswani et al. 2017), equation 1
 *     s_ij = softcap tanh(s_ij / softcap)    arXiv 2408.00118 (Gemma 2), section 2
 *     s_ij = s_ij - slope |p_i - j|          arXiv 2108.12409 (Press et al. 2021, ALiBi)
 *     s_ij = s_ij + mask_ij                  a float mask
 *     s_ij = -infinity                       where query i may not see key j
 *
 * in this order. Query i stands at position `p_i = i + seqlenK - seqlenQ`, the last query beside
 * the last key ("bottom-right"), and sees key j iff `p_i - left <= j <= p_i + right` and no mask
 * forbids it. A pair that is not seen is left out of every sum, so NaN or infinities there cannot
 * spread.
 */
export interface ReferenceOptions {
  /** Default 1 / sqrt(headDim). */
  readonly scale?: number;
  /** No query sees a later key: caps `right` at 0. */
  readonly causal?: boolean;
  /** Keys seen on either side of the diagonal: integers, also negative; Infinity = all. */
  readonly window?: readonly number[];
  /**
   * The first keys are exempt from the left bound of the window (StreamingLLM, Xiao et al. 2023,
   * arXiv 2309.17453).
   */
  readonly sinkTokens?: number;
  /**
   * `[batch]`: queries from there on are padding, with out = 0, lse = -Infinity and zero gradients.
   */
  readonly seqlensQ?: ArrayLike<number>;
  /** `[batch]`: keys from there on are padding. Positions are counted with this length. */
  readonly seqlensK?: ArrayLike<number>;
  /** 0 = off. */
  readonly softcap?: number;
  /** [heads] or [batch, heads]. */
  readonly alibiSlopes?: ArrayLike<number>;
  readonly mask?: ReferenceMask;
  /** A further mask, as a predicate on (batch, query head, query, key), such as a block mask. */
  readonly visible?: (batch: number, head: number, i: number, j: number) => boolean;
  /** `[heads]`: a learned logit, which takes part in the softmax's denominator, with no value. */
  readonly sinks?: ArrayLike<number>;
  /** Acts on the normalised probabilities: neither their denominator nor lse knows of it. */
  readonly dropout?: Dropout;
  /**
   * Compute these queries only, in this order: results have `queryRows.length` in place of seqlenQ.
   * Gradients of keys, values and sinks are then those of these queries alone. For spot checks of
   * problems too large to recompute.
   */
  readonly queryRows?: ArrayLike<number>;
}

/** One attention problem: inputs, their shape and the options. */
export interface ReferenceProblem extends ReferenceOptions {
  readonly shape: ReferenceShape;
  /** [batch, seqlenQ, heads, headDim] */
  readonly q: Numbers;
  /** [batch, seqlenK, kvHeads, headDim] */
  readonly k: Numbers;
  /** [batch, seqlenK, kvHeads, headDimV] */
  readonly v: Numbers;
}

/** The result of a forward pass. */
export interface ReferenceResult {
  /** [batch, seqlenQ, heads, headDimV]. Zero in rows that see nothing. */
  readonly out: Float64Array;
  /**
   * `[batch, heads, seqlenQ]`: natural logarithm of each row's softmax denominator, `log(sum_j
   * exp(s_ij))`, the sink included. -Infinity in rows that see nothing and have no sink.
   */
  readonly lse: Float64Array;
}

/** The result of a backward pass. */
export interface ReferenceGradients {
  /** [batch, seqlenQ, heads, headDim] */
  readonly dq: Float64Array;
  /** [batch, seqlenK, kvHeads, headDim], summed over the query heads that share a kv head. */
  readonly dk: Float64Array;
  /** [batch, seqlenK, kvHeads, headDimV] */
  readonly dv: Float64Array;
  /** [heads], where there are sinks. */
  readonly dSinks?: Float64Array;
}

/** A shape with its defaults filled in. */
export function completeShape(shape: ReferenceShape): Required<ReferenceShape> {
  const { heads, headDim } = shape;
  return { ...shape, kvHeads: shape.kvHeads ?? heads, headDimV: shape.headDimV ?? headDim };
}
