import { checkFields, checkTile } from './check.js';
import { isVisible, mapHeads, scoreTile, tileAt } from './heads.js';
import { Machine, type MachineOptions } from './machine.js';
import { addScaled, copyRows, scaleBy, zeros } from './matrix.js';
import type { ReferenceProblem, ReferenceResult } from './problem.js';

export interface TileOptions extends MachineOptions {
  /** Br, queries per tile. Default 64. */
  readonly blockQ?: number;
  /** Bc, keys per tile. Default 64. */
  readonly blockK?: number;
}

/**
 * FlashAttention with the loops exchanged: each tile of queries walks over all keys (outer loop
 * over i, inner over j).
 *
 * Output, maximum and denominator of a tile of queries then stay in registers from the first key to
 * the last and are written once; tiles of queries are independent and can run anywhere. Two savings
 * on the arithmetic that is not a matrix product:
 *
 * - the output stays unnormalised, `O = sum_j e^(s_j - m) v_j`, and is divided by l once, at the
 *   end;
 * - one number per row is kept for the backward pass, `lse = m + log l`, instead of m and l.
 *
 * Algorithm 1 of Dao, "FlashAttention-2: Faster Attention with Better Parallelism and Work
 * Partitioning", 2023, arXiv 2307.08691. The line numbers below are the paper's. A tile in which no
 * query sees a key is left out (its section 3.1, causal masking).
 *
 * Traffic per head, for N queries and Nk keys and values of length d, with Tr = ceil(N / Br):
 *
 *     loads  = N d + Tr 2 Nk d             Q once; K and V once per tile of queries
 *     stores = N (d + 1)                   O and lse once
 *
 * @throws FlashAttentionError ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function flashAttention2(
  problem: ReferenceProblem,
  options: TileOptions = {},
): ReferenceResult {
  checkFields('options', options, ['blockQ', 'blockK', 'io', 'trace']);
  const { blockQ = 64, blockK = 64 } = options;
  checkTile('blockQ', blockQ);
  checkTile('blockK', blockK);
  const machine = new Machine(options);

  return mapHeads(problem, (head) => {
    machine.head(head.place);
    const N = head.q.length;
    const Nk = head.k.length;
    const out = zeros(N, head.headDimV);
    const lse = new Float64Array(N);

    // Lines 3 and 4
    for (let i0 = 0; i0 < N; i0 += blockQ) {
      const Qi = copyRows(head.q, i0, i0 + blockQ);
      const rows = Qi.length;
      machine.load(i0, { Q: Qi });

      // Line 5. A sink is a key with the value 0 that comes before the first.
      const O = zeros(rows, head.headDimV);
      const l = new Float64Array(rows).fill(head.sink === -Infinity ? 0 : 1);
      const m = new Float64Array(rows).fill(head.sink);

      // Lines 6 and 7
      for (let j0 = 0; j0 < Nk; j0 += blockK) {
        const tile = tileAt(head, i0, blockQ, j0, blockK);
        if (!isVisible(head, tile)) {
          machine.skip(tile);
          continue;
        }
        const Kj = copyRows(head.k, j0, j0 + blockK);
        const Vj = copyRows(head.v, j0, j0 + blockK);
        machine.load(j0, { K: Kj, V: Vj });

        // Line 8. S = scale Q_i K_j^T
        const S = scoreTile(head, Qi, Kj, i0, j0);
        const rescale = new Float64Array(rows).fill(1);

        for (let r = 0; r < rows; r++) {
          // Line 9. The maximum so far; what was summed under the old one shrinks by e^(old - new).
          const mNew = S[r].reduce((max, s) => Math.max(max, s), m[r]);
          if (mNew === -Infinity) continue; // nothing seen yet
          rescale[r] = Math.exp(m[r] - mNew);
          const P = S[r].map((s) => Math.exp(s - mNew));
          l[r] = l[r] * rescale[r] + P.reduce((sum, p) => sum + p, 0);
          m[r] = mNew;

          // Line 10. O = e^(old - new) O + P V_j
          scaleBy(O[r], rescale[r]);
          for (let c = 0; c < Kj.length; c++) {
            if (S[r][c] === -Infinity) continue; // a masked value is left out, not multiplied by 0
            addScaled(O[r], P[c] * head.keep(i0 + r, j0 + c), Vj[c]);
          }
        }
        machine.compute(tile, { S, m, l, O, rescale });
      }

      // Lines 12 to 15
      for (let r = 0; r < rows; r++) {
        if (l[r] > 0) scaleBy(O[r], 1 / l[r]);
        out[i0 + r].set(O[r]);
        lse[i0 + r] = m[r] + Math.log(l[r]);
      }
      const result = { O, lse: lse.subarray(i0, i0 + rows) };
      machine.compute(tileAt(head, i0, blockQ, Nk, 0), result);
      machine.store(i0, result);
      machine.free();
    }
    return { out, lse };
  });
}
