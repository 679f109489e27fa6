import { checkFields } from './check.js';
import { mapHeads, scoreTile, tileAt } from './heads.js';
import { Machine, type MachineOptions } from './machine.js';
import { zeros } from './matrix.js';
import { arithmetic, type Precision } from './precision.js';
import type { ReferenceProblem, ReferenceResult } from './problem.js';
import { safeSoftmax } from './safe-softmax.js';

export interface StandardAttentionOptions extends MachineOptions {
  /**
   * The type S, P and O are stored in; products are accumulated in float32 unless it is float64.
   * Default float64. The inputs are taken as they are.
   */
  readonly precision?: Precision;
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
 * carries S and P out and back in. The count takes K and V to be read once, as the paper does.
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
  checkFields('options', options, ['precision', 'io', 'trace']);
  const { store, dot, addScaled } = arithmetic(options.precision);
  const machine = new Machine(options);

  return mapHeads(problem, (head) => {
    machine.head(head.place);
    const { q, k, v } = head;
    const rowTile = (i: number) => tileAt(head, i, 1, 0, k.length);

    // 1. S = scale Q K^T, with soft cap, biases and masks
    machine.load(0, { K: k });
    const s = q.map((row, i) => {
      machine.load(i, { Q: [row] });
      const S = scoreTile(head, [row], k, i, 0, (a, b) => store(dot(a, b)));
      for (let j = 0; j < k.length; j++) S[0][j] = store(S[0][j]);
      machine.compute(rowTile(i), { S });
      machine.store(i, { S });
      return S[0];
    });
    machine.free();

    // 2. P = softmax(S), and dropout
    const lse = new Float64Array(q.length);
    const p = s.map((row, i) => {
      machine.load(i, { S: [row] });
      const softmax = safeSoftmax(row, head.sink);
      lse[i] = softmax.lse;
      const P = [softmax.p.map((x, j) => store(store(x) * head.keep(i, j)))];
      machine.compute(rowTile(i), { P });
      machine.store(i, { P });
      return P[0];
    });
    machine.free();

    // 3. O = P V
    machine.load(0, { V: v });
    const out = zeros(q.length, head.headDimV);
    for (let i = 0; i < q.length; i++) {
      machine.load(i, { P: [p[i]] });
      for (let j = 0; j < k.length; j++) {
        if (s[i][j] === -Infinity) continue; // a masked value is left out, not multiplied by 0
        addScaled(out[i], p[i][j], v[j]);
      }
      for (let c = 0; c < head.headDimV; c++) out[i][c] = store(out[i][c]);
      machine.compute(rowTile(i), { O: [out[i]] });
      machine.store(i, { O: [out[i]] });
    }
    machine.free();

    return { out, lse };
  });
}
