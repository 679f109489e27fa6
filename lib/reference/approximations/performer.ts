import type { Head } from '../heads.js';
import { checkFields, checkInteger, checkList } from '../check.js';
import { addScaled, dot, type Matrix, scaleBy, zeros } from '../matrix.js';
import {
  type ApproximationProblem,
  checkCount,
  checkPlain,
  checkSeed,
  mapOutputs,
} from './problem.js';
import { normalMatrix, orthogonalMatrix } from './random.js';

export interface PerformerOptions {
  /** m, the number of random features. */
  readonly features: number;
  /** Selects the random directions. Default 0n. */
  readonly seed?: bigint;
  /**
   * Directions that are orthogonal in blocks of headDim, which makes the estimate better; else
   * independent ones. Default true.
   */
  readonly orthogonal?: boolean;
}

/**
 * log phi(x): w_r . x - |x|^2 / 2 for each direction w_r. Without the factor 1 / sqrt(m), which
 * numerator and denominator share.
 */
function logFeatures(x: Float64Array, directions: Matrix): Float64Array {
  const half = dot(x, x) / 2;
  return Float64Array.from(directions, (w) => dot(w, x) - half);
}

/**
 * APPROXIMATE. The positive random features of FAVOR+: with w_1 ... w_m drawn from N(0, I),
 *
 *     phi(x)_r = e^(w_r . x - |x|^2 / 2) / sqrt(m)        E[phi(x) . phi(y)] = e^(x . y)
 *
 * so that a product of features estimates an exponential without bias. Lemma 1 and equation 5 of
 * Choromanski et al., "Rethinking Attention with Performers", 2020, arXiv 2009.14794.
 *
 * @param directions m x d, one w_r a row
 * @throws FlashAttentionError ERR_TYPE, naming the argument
 */
export function positiveFeatures(
  x: Float64Array,
  directions: readonly Float64Array[],
): Float64Array {
  checkList('x', x);
  checkList('directions', directions);
  const m = directions.length;
  return logFeatures(x, [...directions]).map((l) => Math.exp(l) / Math.sqrt(m));
}

/** Directions as {@link performer} draws them, m x d. */
export function performerDirections(options: PerformerOptions, headDim: number): Matrix {
  checkFields('options', options, ['features', 'seed', 'orthogonal']);
  checkInteger('headDim', headDim, 1, 'ERR_SHAPE');
  const { features, seed = 0n, orthogonal = true } = options;
  checkCount('features', features);
  checkSeed(seed);
  return (orthogonal ? orthogonalMatrix : normalMatrix)(features, headDim, seed);
}

const largest = (row: Float64Array) => row.reduce((a, b) => Math.max(a, b), -Infinity);
const exponentials = (logs: Float64Array, top: number) => logs.map((l) => Math.exp(l - top));

/**
 * Sums sum_j phi(k_j) v_j^T and sum_j phi(k_j), key by key. They are kept times e^-top, where top
 * is the greatest logarithm so far, as in online softmax: no later key makes earlier ones vanish.
 *
 * @param Q, K logarithms of features, a row for each query and key
 */
function attendByFeatures(head: Head, Q: Matrix, K: Matrix, m: number, causal: boolean): Matrix {
  const out = zeros(Q.length, head.headDimV);
  const S = zeros(m, head.headDimV);
  const z = new Float64Array(m);
  let top = -Infinity;
  let seen = 0;
  for (let i = 0; i < Q.length; i++) {
    const end = causal ? Math.max(0, i + 1 + K.length - Q.length) : K.length;
    for (; seen < end; seen++) {
      const before = top;
      top = Math.max(top, largest(K[seen]));
      if (top > before) for (const sum of [...S, z]) scaleBy(sum, Math.exp(before - top));
      const features = exponentials(K[seen], top);
      for (let r = 0; r < m; r++) addScaled(S[r], features[r], head.v[seen]);
      addScaled(z, 1, features);
    }
    if (seen === 0) continue;
    const query = exponentials(Q[i], largest(Q[i]));
    for (let r = 0; r < m; r++) addScaled(out[i], query[r], S[r]);
    scaleBy(out[i], 1 / dot(query, z));
  }
  return out;
}

/**
 * APPROXIMATE. Softmax attention by random features: with x scaled by sqrt(scale),
 *
 *     out_i = phi(q_i)^T (sum_j phi(k_j) v_j^T) / phi(q_i)^T (sum_j phi(k_j))
 *
 * and {@link positiveFeatures} in place of the exponential: FAVOR+, arXiv 2009.14794, section 2.
 * The sum in brackets does not know the query, so that the cost is O(N m d) instead of O(N^2 d),
 * also where it is causal and the sums are prefix sums.
 *
 * What it gives up: exactness. Numerator and denominator are estimates without bias, their quotient
 * is not; the variance of an estimate grows with e^(|q + k|^2), so that sharp attention, where one
 * score stands out, takes far more features than there are dimensions.
 *
 * @returns [batch, seqlenQ, heads, headDimV]; 0 where a query sees nothing
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function performer(problem: ApproximationProblem, options: PerformerOptions): Float64Array {
  checkPlain(problem);
  const { headDim } = problem.shape;
  const directions = performerDirections(options, headDim);
  const scale = problem.scale ?? 1 / Math.sqrt(headDim);
  // A negative scale turns the keys round.
  const root = Math.sqrt(Math.abs(scale));
  const scaled = (x: Matrix, factor: number) => x.map((row) => row.map((value) => factor * value));
  return mapOutputs(problem, (head) => {
    // Factors that a query's features share, or those of all keys, cancel.
    const logs = (x: Matrix) => x.map((row) => logFeatures(row, directions));
    const Q = logs(scaled(head.q, root));
    const K = logs(scaled(head.k, Math.sign(scale) * root));
    return attendByFeatures(head, Q, K, directions.length, problem.causal ?? false);
  });
}
