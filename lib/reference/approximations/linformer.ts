import { fail } from '../../native/errors.js';
import { checkFields, checkNumbers } from '../check.js';
import { range } from '../layout.js';
import { addScaled, dot, type Matrix, scaleBy, zeros } from '../matrix.js';
import type { Numbers } from '../problem.js';
import { safeSoftmax } from '../safe-softmax.js';
import {
  type ApproximationProblem,
  checkCount,
  checkPlain,
  checkSeed,
  mapOutputs,
  products,
} from './problem.js';
import { normalMatrix } from './random.js';

export interface LinformerOptions {
  /** k, the number of keys and values that are left. */
  readonly projectedLength: number;
  /** Selects the random projection. Default 0n. */
  readonly seed?: bigint;
  /**
   * `[projectedLength, seqlenK]`: E, which keys and values are multiplied by, in place of a random
   * one. A model learns it.
   */
  readonly projection?: Numbers;
}

/** E, projectedLength x N. */
function projectionOf({ projectedLength: k, seed = 0n, projection }: LinformerOptions, N: number) {
  checkCount('projectedLength', k);
  checkSeed(seed);
  if (projection !== undefined) {
    checkNumbers('projection', projection, k * N, '[projectedLength, seqlenK]');
    return range(k).map((r) => Float64Array.from(projection.subarray(r * N, (r + 1) * N)));
  }
  const E = normalMatrix(k, N, seed);
  for (const row of E) scaleBy(row, 1 / Math.sqrt(k));
  return E;
}

/** E x: `rows` mixtures of the rows of x. */
function project(E: Matrix, x: Matrix, width: number): Matrix {
  const mixed = zeros(E.length, width);
  E.forEach((weights, r) => {
    x.forEach((row, j) => {
      addScaled(mixed[r], weights[j], row);
    });
  });
  return mixed;
}

/**
 * APPROXIMATE. Attention over k mixtures of the keys instead of all N, on the ground that a softmax
 * of scores is often close to a matrix of low rank:
 *
 *     out = softmax(scale Q (E K)^T) (E V)        E is k x N
 *
 * O(N k) instead of O(N^2). Equation 7 of Wang, Li, Khabsa, Fang and Ma, "Linformer: Self-Attention
 * with Linear Complexity", 2020, arXiv 2006.04768, with E shared by keys and values ("key-value
 * sharing"). By default E is random, with entries of variance 1/k, as in the paper's proof; a model
 * learns it. With E the identity it is exact.
 *
 * What it gives up: the length is fixed, for E has N columns; a mixture of keys mixes the future
 * with the past, so that it cannot be causal; and a single key cannot be found again in a mixture.
 *
 * @returns [batch, seqlenQ, heads, headDimV]
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function linformer(problem: ApproximationProblem, options: LinformerOptions): Float64Array {
  checkPlain(problem);
  checkFields('options', options, ['projectedLength', 'seed', 'projection']);
  if (problem.causal)
    fail('ERR_OPTION', 'causal', 'absent (a mixture of keys has no position)', 'true');
  const E = projectionOf(options, problem.shape.seqlenK);

  return mapOutputs(problem, (head) => {
    const keys = project(E, head.k, head.headDim);
    const values = project(E, head.v, head.headDimV);
    const scores = products(head.q, keys, dot);
    const out = zeros(head.q.length, head.headDimV);
    scores.forEach((row, i) => {
      const { p } = safeSoftmax(row.map((s, r) => head.score(s, i, r)));
      values.forEach((value, r) => {
        addScaled(out[i], p[r], value);
      });
    });
    return out;
  });
}
