import { fail } from '../../native/errors.js';
import { checkInteger, checkNumbers } from '../check.js';
import { addScaled, dot, type Matrix, scaleBy, zeros } from '../matrix.js';
import type { Numbers } from '../problem.js';
import { type ApproximationProblem, checkPlain, mapOutputs } from './problem.js';

/** phi(x) = elu(x) + 1, which is positive: x + 1 above 0, e^x below. */
const phi = (row: Float64Array) => row.map((x) => (x > 0 ? x + 1 : Math.exp(x)));

/**
 * APPROXIMATE. Attention with another kernel in place of the exponential, one that is a product of
 * features:
 *
 *     out_i = sum_j (phi(q_i) . phi(k_j)) v_j / sum_j phi(q_i) . phi(k_j)      phi(x) = elu(x) + 1
 *
 * Equation 4 of Katharopoulos, Vyas, Pappas and Fleuret, "Transformers are RNNs: Fast
 * Autoregressive Transformers with Linear Attention", 2020, arXiv 2006.16236, as it is written: the
 * parallel form, with all pairs. {@link linearAttentionStep} is the same in O(1) a token. It is not
 * near softmax attention and does not try to be; a model is trained with it.
 *
 * What it gives up: there is no sharp maximum. A query cannot single out one key of many, for its
 * weights are a linear function of its features, and all that a sequence was is held in d x dv
 * numbers.
 *
 * The kernel has no scale. Query i sees keys as in standard attention, `causal` included.
 *
 * @returns [batch, seqlenQ, heads, headDimV]; 0 where a query sees nothing
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function linearAttention(problem: ApproximationProblem): Float64Array {
  checkPlain(problem, 'scale');
  return mapOutputs(problem, (head) => {
    const Q = head.q.map(phi);
    const K = head.k.map(phi);
    const out = zeros(Q.length, head.headDimV);
    for (let i = 0; i < Q.length; i++) {
      let sum = 0;
      for (let j = 0; j < K.length; j++) {
        if (!head.sees(i, j)) continue;
        const weight = dot(Q[i], K[j]);
        sum += weight;
        addScaled(out[i], weight, head.v[j]);
      }
      if (sum > 0) scaleBy(out[i], 1 / sum);
    }
    return out;
  });
}

/** All that linear attention remembers of the keys so far, of one head: d x dv and d numbers. */
export interface LinearAttentionState {
  /** sum_j phi(k_j) v_j^T */
  readonly S: Matrix;
  /** sum_j phi(k_j) */
  readonly z: Float64Array;
}

/** The state of no keys. */
export function emptyLinearState(headDim: number, headDimV: number): LinearAttentionState {
  checkInteger('headDim', headDim, 1, 'ERR_SHAPE');
  checkInteger('headDimV', headDimV, 1, 'ERR_SHAPE');
  return { S: zeros(headDim, headDimV), z: new Float64Array(headDim) };
}

/**
 * APPROXIMATE. One token of causal {@link linearAttention} as a recurrence, one head:
 *
 *     S_i = S_(i-1) + phi(k_i) v_i^T      z_i = z_(i-1) + phi(k_i)
 *     out_i = phi(q_i)^T S_i / phi(q_i) . z_i
 *
 * Equations 18 to 20 of arXiv 2006.16236. A step costs the same at any length, where that of a
 * cache grows with it; up to rounding the outputs are those of the parallel form.
 *
 * @param q `[headDim]` of one token
 * @param k likewise
 * @param v `[headDimV]`
 * @returns the output of the token and the state after it; `state` stays as it was
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE or ERR_DTYPE, naming the argument
 */
export function linearAttentionStep(
  state: LinearAttentionState,
  q: Numbers,
  k: Numbers,
  v: Numbers,
): { out: Float64Array; state: LinearAttentionState } {
  const { S: before, z: sum } = state ?? {};
  if (!Array.isArray(before) || before.length === 0 || before.length !== sum?.length) {
    fail('ERR_TYPE', 'state', 'what emptyLinearState() or a step gave', 'something else');
  }
  checkNumbers('q', q, sum.length, '[headDim]');
  checkNumbers('k', k, sum.length, '[headDim]');
  checkNumbers('v', v, before[0].length, '[headDimV]');
  const features = phi(Float64Array.from(k));
  const values = Float64Array.from(v);
  const S = before.map((row, r) => {
    const next = row.slice();
    addScaled(next, features[r], values);
    return next;
  });
  const z = sum.slice();
  addScaled(z, 1, features);

  const query = phi(Float64Array.from(q));
  const out = new Float64Array(values.length);
  S.forEach((row, r) => {
    addScaled(out, query[r], row);
  });
  const total = dot(query, z);
  if (total > 0) scaleBy(out, 1 / total); // 0 where e^x is 0 for every key, as in parallel
  return { out, state: { S, z } };
}
