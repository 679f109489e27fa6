import { checkFields } from './check.js';
import { mapHeadsBackward } from './backward.js';
import { scoreTile } from './heads.js';
import { zeros } from './matrix.js';
import { arithmetic, type Precision } from './precision.js';
import type { Numbers, ReferenceGradients, ReferenceProblem } from './problem.js';
import { safeSoftmax } from './safe-softmax.js';

export interface StandardAttentionBackwardOptions {
  /**
   * The type P, dP, dS and the gradients are stored in; products are accumulated in float32 unless
   * it is float64. Default float64. The inputs are taken as they are.
   */
  readonly precision?: Precision;
}

/**
 * The gradients of attention by the chain rule, with the N x N matrices in memory. From dO, the
 * gradient of the output:
 *
 *     dV = P^T dO        dP = dO V^T
 *     dS_ij = P_ij (dP_ij - sum_k P_ik dP_ik)            the Jacobian of softmax, diag(p) - p p^T
 *     dQ = scale dS K    dK = scale dS^T Q
 *
 * Algorithm 3 of Dao et al. 2022, arXiv 2205.14135, appendix B; derived in its section B.2.
 * In addition:
 *
 * - soft cap: s = cap tanh(x / cap) has the derivative 1 - tanh^2(x / cap), which joins `scale`;
 * - dropout with factors Z in {0, 1 / (1 - p)}: O = (P * Z) V, so dV = (P * Z)^T dO and
 *   dP = (dO V^T) * Z;
 * - sink: a key with probability e^(sink - lse) and the value 0, so dP = 0 there and
 *   dSink = -sum_i e^(sink - lse_i) sum_k P_ik dP_ik.
 *
 * This is the oracle of backward passes. It shares neither tiles nor the delta trick with the
 * algorithms it checks.
 *
 * @param dOut the gradient of `out`, in its shape
 * @throws FlashAttentionError ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function standardAttentionBackward(
  problem: ReferenceProblem,
  dOut: Numbers,
  options: StandardAttentionBackwardOptions = {},
): ReferenceGradients {
  checkFields('options', options, ['precision']);
  const { store, dot, addScaled } = arithmetic(options.precision);
  const storedDot = (a: Float64Array, b: Float64Array) => store(dot(a, b));

  const gradients = mapHeadsBackward(problem, dOut, (head, dO) => {
    const { q, k, v } = head;
    const s = scoreTile(head, q, k, 0, 0, storedDot);
    const dq = zeros(q.length, head.headDim);
    const dk = zeros(k.length, head.headDim);
    const dv = zeros(k.length, head.headDimV);
    const dP = new Float64Array(k.length);
    let dSink = 0;

    for (let i = 0; i < q.length; i++) {
      const { p, lse } = safeSoftmax(s[i].map(store), head.sink);
      if (lse === -Infinity) continue; // this query sees nothing: no gradient anywhere

      let expectation = 0; // sum_k P_ik dP_ik
      for (let j = 0; j < k.length; j++) {
        if (!head.sees(i, j)) continue;
        const z = head.keep(i, j);
        p[j] = store(p[j]);
        addScaled(dv[j], store(p[j] * z), dO[i]);
        dP[j] = store(storedDot(dO[i], v[j]) * z);
        expectation += p[j] * dP[j];
      }

      for (let j = 0; j < k.length; j++) {
        if (!head.sees(i, j)) continue;
        const dS = store(p[j] * (dP[j] - expectation));
        const dX = store(dS * head.slope(dot(q[i], k[j])));
        addScaled(dq[i], dX, k[j]);
        addScaled(dk[j], dX, q[i]);
      }
      dSink -= Math.exp(head.sink - lse) * expectation;
    }
    return { dq, dk, dv, dSink };
  });

  for (const gradient of Object.values(gradients)) {
    for (let n = 0; n < gradient.length; n++) gradient[n] = store(gradient[n]);
  }
  return gradients;
}
