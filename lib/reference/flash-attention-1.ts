import { checkFields, checkTile } from './check.js';
import { isVisible, mapHeads, scoreTile, tileAt } from './heads.js';
import { Machine, type MachineOptions } from './machine.js';
import { addScaled, copyRows, scaleBy, zeros } from './matrix.js';
import type { ReferenceProblem, ReferenceResult } from './problem.js';

export interface FlashAttention1Options extends MachineOptions {
  /**
   * M, the size of the fast memory in elements. Default 98304: the 192 KB of an A100, in float16.
   */
  readonly sramSize?: number;
}

/**
 * FlashAttention as first published: never an N x N matrix in memory.
 *
 * K and V pass through SRAM once, tile by tile (outer loop over j). Under each tile, all queries
 * pass through with what is known of their result so far (inner loop over i): the output O, the row
 * maximum m and the denominator l. The tile's own softmax is merged into them by the online softmax
 * rule, and they go back to HBM. O is normalised at every step, as published; FlashAttention-2 puts
 * that off to the end.
 *
 * Algorithm 1 of Dao, Fu, Ermon, Rudra and Ré, "FlashAttention: Fast and Memory-Efficient Exact
 * Attention with IO-Awareness", 2022, arXiv 2205.14135 (with masks and dropout: algorithm 2 of its
 * appendix B). The line numbers below are the paper's.
 *
 * Traffic per head, for N queries and Nk keys and values of length d, with Tc = ceil(Nk / Bc):
 *
 *     loads  = 2 Nk d + Tc N (2d + 2)      K and V once; Q, O, l and m once per tile of keys
 *     stores = N (d + 2) (1 + Tc)          O, l and m at the start and once per tile of keys
 *
 * As Bc = M / 4d, that is Theta(N^2 d^2 / M) (theorem 2): fewer than the Theta(Nd + N^2) of
 * standard attention as soon as d^2 is well below M. A tile in which no query sees a key is left
 * out (block-sparse FlashAttention, algorithm 5 of the paper): it moves nothing but K and V.
 *
 * @example
 * const shape = { batch: 1, seqlenQ: 512, seqlenK: 512, heads: 1, headDim: 32 };
 * const problem = { shape, q, k, v };
 * const standard = { loads: 0, stores: 0 };
 * standardAttention(problem, { io: standard }); // 1,114,112 elements in all
 * const flash = { loads: 0, stores: 0 };
 * flashAttention1(problem, { io: flash }); // 101,376
 *
 * @throws FlashAttentionError ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function flashAttention1(
  problem: ReferenceProblem,
  options: FlashAttention1Options = {},
): ReferenceResult {
  checkFields('options', options, ['sramSize', 'io', 'trace']);
  const { sramSize = 98304 } = options;
  checkTile('sramSize', sramSize);
  const machine = new Machine(options);

  return mapHeads(problem, (head) => {
    machine.head(head.place);
    const N = head.q.length;
    const Nk = head.k.length;

    // Line 1. Four tiles share the SRAM: K_j, V_j, Q_i, O_i. Each row pair takes d + dv elements
    // (2d in the paper).
    const Bc = Math.ceil(sramSize / (2 * (head.headDim + head.headDimV)));
    const Br = Math.min(Bc, head.headDim);

    // Line 2. What is known before the first key: nothing, or the sink, which is a key with the
    // value 0.
    const O = zeros(N, head.headDimV);
    const l = new Float64Array(N).fill(head.sink === -Infinity ? 0 : 1);
    const m = new Float64Array(N).fill(head.sink);
    machine.store(0, { O, l, m });

    // Lines 5 and 6
    for (let j0 = 0; j0 < Nk; j0 += Bc) {
      const Kj = copyRows(head.k, j0, j0 + Bc);
      const Vj = copyRows(head.v, j0, j0 + Bc);
      machine.load(j0, { K: Kj, V: Vj });

      // Lines 7 and 8
      for (let i0 = 0; i0 < N; i0 += Br) {
        const tile = tileAt(head, i0, Br, j0, Bc);
        if (!isVisible(head, tile)) {
          machine.skip(tile);
          continue;
        }
        const Qi = copyRows(head.q, i0, i0 + Br);
        const Oi = copyRows(O, i0, i0 + Br);
        const li = l.slice(i0, i0 + Br);
        const mi = m.slice(i0, i0 + Br);
        machine.load(i0, { Q: Qi, O: Oi, l: li, m: mi });

        // Line 9. S_ij = scale Q_i K_j^T
        const S = scoreTile(head, Qi, Kj, i0, j0);
        const rescale = new Float64Array(Qi.length).fill(1);

        for (let r = 0; r < Qi.length; r++) {
          // Line 10. The softmax of this tile alone: row maximum, probabilities (not normalised),
          // row sum.
          const mTile = S[r].reduce((max, s) => Math.max(max, s), -Infinity);
          if (mTile === -Infinity) continue; // this query sees no key of the tile
          const P = S[r].map((s) => Math.exp(s - mTile));
          const lTile = P.reduce((sum, p) => sum + p, 0);

          // Line 11. Merged with what came before.
          const mNew = Math.max(mi[r], mTile);
          const oldWeight = Math.exp(mi[r] - mNew);
          const tileWeight = Math.exp(mTile - mNew);
          const lNew = oldWeight * li[r] + tileWeight * lTile;

          // Line 12. O_i = (l_i e^(m_i - mNew) O_i + e^(mTile - mNew) P V_j) / lNew
          rescale[r] = (li[r] * oldWeight) / lNew;
          scaleBy(Oi[r], rescale[r]);
          for (let c = 0; c < Kj.length; c++) {
            if (S[r][c] === -Infinity) continue; // a masked value is left out, not multiplied by 0
            addScaled(Oi[r], (tileWeight * P[c] * head.keep(i0 + r, j0 + c)) / lNew, Vj[c]);
          }

          li[r] = lNew;
          mi[r] = mNew;
        }

        machine.compute(tile, { S, m: mi, l: li, O: Oi, rescale });

        // Lines 12 and 13, the stores
        Oi.forEach((row, r) => {
          O[i0 + r].set(row);
        });
        l.set(li, i0);
        m.set(mi, i0);
        machine.store(i0, { O: Oi, l: li, m: mi });
      }
      machine.free();
    }

    return { out: O, lse: l.map((li, i) => m[i] + Math.log(li)) };
  });
}
