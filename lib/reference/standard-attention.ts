import { mapHeads, scoreTile } from './heads.js';
import { Hbm, type IoCounter } from './io.js';
import { zeros } from './matrix.js';
import { arithmetic, type Precision } from './precision.js';
import type { ReferenceProblem, ReferenceResult } from './problem.js';
import { safeSoftmax } from './safe-softmax.js';

export interface StandardAttentionOptions {
  /**
   * The type S, P and O are stored in; products are accumulated in float32 unless it is float64.
   * Default float64. The inputs are taken as they are.
   */
  readonly precision?: Precision;
  /** Traffic is added to it. */
  readonly io?: IoCounter;
}

/**
 * Attention as the formula says it, with the N x N matrices S and P in memory:
 *
 *     S = scale Q K^T      P = softmax(S), row by row      O = P V
 *
 * Algorithm 0 of Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with
 * IO-Awareness", 2022, arXiv 2205.14135; Vaswani et al., "Attention Is All You Need", 2017, arXiv
 * 1706.03762, equation 1.
 *
 * Traffic per head, for N queries and N keys of length d: `3Nd + 2N^2` elements loaded and `Nd +
 * 2N^2` stored, so Theta(Nd + N^2) (theorem 2 of arXiv 2205.14135). All of the quadratic part
 * carries S and P out and back in.
 *
 * With every option of {@link ReferenceProblem}, in float64, this is the oracle the rest of the
 * package is tested against. With a lower `precision` it is the yardstick of the tolerance: an
 * exact algorithm may not be worse than twice as far from the truth as standard attention in the
 * same type.
 *
 * @example
 * const { out, lse } = standardAttention({
 *   shape: { batch: 1, seqlenQ: 2, seqlenK: 3, heads: 1, headDim: 4 },
 *   q: new Float64Array(8).fill(1),
 *   k: new Float64Array(12).fill(1),
 *   v: Float64Array.from({ length: 12 }, (_, n) => n),
 *   causal: true,
 * });
 *
 * @throws FlashAttentionError ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field of the problem
 */
export function standardAttention(
  problem: ReferenceProblem,
  options: StandardAttentionOptions = {},
): ReferenceResult {
  const { store, dot, addScaled } = arithmetic(options.precision);
  const hbm = new Hbm(options.io);

  return mapHeads(problem, (head) => {
    const { q, k, v } = head;

    // 1. S = scale Q K^T, with soft cap, biases and masks
    hbm.load(q, k);
    const s = scoreTile(head, q, k, 0, 0, (a, b) => store(dot(a, b)));
    for (const row of s) for (let j = 0; j < row.length; j++) row[j] = store(row[j]);
    hbm.store(s);

    // 2. P = softmax(S), and dropout
    hbm.load(s);
    const softmax = s.map((row) => safeSoftmax(row, head.sink));
    const p = softmax.map((row, i) => row.p.map((x, j) => store(store(x) * head.keep(i, j))));
    hbm.store(p);

    // 3. O = P V
    hbm.load(p, v);
    const out = zeros(q.length, head.headDimV);
    for (let i = 0; i < q.length; i++) {
      for (let j = 0; j < k.length; j++) {
        if (s[i][j] === -Infinity) continue; // a masked value is left out, not multiplied by 0
        addScaled(out[i], p[i][j], v[j]);
      }
    }
    for (const row of out) for (let c = 0; c < row.length; c++) row[c] = store(row[c]);
    hbm.store(out);

    return { out, lse: Float64Array.from(softmax, (row) => row.lse) };
  });
}
