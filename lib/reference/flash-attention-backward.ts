import { mapHeadsBackward } from './backward.js';
import { checkFields, checkObject, checkTile } from './check.js';
import { checkLse, checkOut, checkProblem } from './check-problem.js';
import type { TileOptions } from './flash-attention-2.js';
import { isVisible, tileAt } from './heads.js';
import { gather } from './layout.js';
import { Machine } from './machine.js';
import { addScaled, copyRows, dot, zeros } from './matrix.js';
import {
  completeShape,
  type Numbers,
  type ReferenceGradients,
  type ReferenceProblem,
} from './problem.js';

/** What the backward pass needs of the forward pass, and the gradient it starts from. */
export interface BackwardInputs {
  /** The gradient of `out`, in its shape. */
  readonly dOut: Numbers;
  /** [batch, seqlenQ, heads, headDimV], of the forward pass. */
  readonly out: Numbers;
  /** [batch, heads, seqlenQ], of the forward pass. */
  readonly lse: Numbers;
}

/**
 * The gradients of attention without an N x N matrix: the scores are computed again, tile by tile.
 *
 * Storing P would cost N^2 memory; computing it again costs one more matrix product, and lse is all
 * it takes: `P_ij = e^(s_ij - lse_i)` comes out normalised at once. The sum over a whole row that
 * the softmax's Jacobian asks for needs no second pass either, because
 *
 *     sum_k P_ik dP_ik = sum_k P_ik (dO_i . v_k) = dO_i . O_i = delta_i
 *
 * Tiles of keys are the outer loop: their dK and dV stay in registers, dQ is gathered across them.
 *
 * Algorithm 2 of Dao, "FlashAttention-2", 2023, arXiv 2307.08691; the identity for delta is
 * equation 4 in appendix B.2 of Dao et al. 2022, arXiv 2205.14135. Dropout: algorithm 4 there. Soft
 * cap, sinks: see `standardAttentionBackward`. A tile in which no query sees a key is left out.
 *
 * Traffic per head, for N queries and Nk keys and values of length d, with Tc = ceil(Nk / Bc):
 *
 *     loads  = 2 N d + 2 Nk d + Tc N (3 d + 2)   O and dO for delta; K and V once; Q, dO, dQ, lse
 *                                                and delta once per tile of keys
 *     stores = N (d + 1) + Tc N d + 2 Nk d       dQ and delta at the start; dQ once per tile of
 *                                                keys; dK and dV once
 *
 * @throws FlashAttentionError ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function flashAttentionBackward(
  problem: ReferenceProblem,
  inputs: BackwardInputs,
  options: TileOptions = {},
): ReferenceGradients {
  checkFields('options', options, ['blockQ', 'blockK', 'io', 'trace']);
  const { blockQ = 64, blockK = 64 } = options;
  checkTile('blockQ', blockQ);
  checkTile('blockK', blockK);
  const machine = new Machine(options);

  checkProblem(problem);
  checkObject('inputs', inputs);
  const { dOut, out, lse } = inputs;
  checkOut('out', out, problem);
  checkLse('lse', lse, problem);

  const { heads, headDimV, seqlenQ } = completeShape(problem.shape);
  const resultRows = problem.queryRows?.length ?? seqlenQ;

  return mapHeadsBackward(problem, dOut, (head, dO) => {
    machine.head(head.place);
    const { q, k, v, headDim, place } = head;
    const N = q.length;
    const Nk = k.length;
    const O = gather(out, [resultRows, heads, headDimV], place.batch, place.head, place.rows);
    const L = Float64Array.from(
      place.rows,
      (r) => lse[(place.batch * heads + place.head) * resultRows + r],
    );

    // delta = rowsum(dO * O). A sink has probability e^(sink - lse) and dP = 0.
    machine.load(0, { O, dO });
    const delta = Float64Array.from(O, (row, i) => dot(dO[i], row));
    let dSink = 0;
    for (let i = 0; i < N; i++) {
      if (L[i] > -Infinity) dSink -= Math.exp(head.sink - L[i]) * delta[i];
    }

    const dQ = zeros(N, headDim);
    const dK = zeros(Nk, headDim);
    const dV = zeros(Nk, headDimV);
    machine.store(0, { dQ, delta });
    machine.free();

    for (let j0 = 0; j0 < Nk; j0 += blockK) {
      const Kj = copyRows(k, j0, j0 + blockK);
      const Vj = copyRows(v, j0, j0 + blockK);
      machine.load(j0, { K: Kj, V: Vj });
      const dKj = zeros(Kj.length, headDim);
      const dVj = zeros(Kj.length, headDimV);

      for (let i0 = 0; i0 < N; i0 += blockQ) {
        const tile = tileAt(head, i0, blockQ, j0, blockK);
        if (!isVisible(head, tile)) {
          machine.skip(tile);
          continue;
        }
        const Qi = copyRows(q, i0, i0 + blockQ);
        const dOi = copyRows(dO, i0, i0 + blockQ);
        const dQi = copyRows(dQ, i0, i0 + blockQ);
        const Li = L.slice(i0, i0 + blockQ);
        const deltai = delta.slice(i0, i0 + blockQ);
        machine.load(i0, { Q: Qi, dO: dOi, dQ: dQi, lse: Li, delta: deltai });
        const Pij = zeros(Qi.length, Kj.length);

        for (let r = 0; r < Qi.length; r++) {
          for (let c = 0; c < Kj.length; c++) {
            const i = i0 + r;
            const j = j0 + c;
            if (!head.sees(i, j)) continue;
            const z = head.keep(i, j);
            const x = dot(Qi[r], Kj[c]);

            const P = Math.exp(head.score(x, i, j) - Li[r]); // P_ij = e^(S_ij - lse_i)
            Pij[r][c] = P;
            addScaled(dVj[c], P * z, dOi[r]); //                dV_j += P_ij dO_i
            const dP = z * dot(dOi[r], Vj[c]); //               dP_ij = dO_i . v_j
            const dS = P * (dP - deltai[r]); //                 dS_ij = P_ij (dP_ij - delta_i)
            const dX = dS * head.slope(x);
            addScaled(dQi[r], dX, Kj[c]); //                    dQ_i += scale dS_ij k_j
            addScaled(dKj[c], dX, Qi[r]); //                    dK_j += scale dS_ij q_i
          }
        }
        machine.compute(tile, { P: Pij, lse: Li, delta: deltai, dQ: dQi, dK: dKj, dV: dVj });
        dQi.forEach((row, r) => {
          dQ[i0 + r].set(row);
        });
        machine.store(i0, { dQ: dQi });
      }

      dKj.forEach((row, c) => {
        dK[j0 + c].set(row);
      });
      dVj.forEach((row, c) => {
        dV[j0 + c].set(row);
      });
      machine.store(j0, { dK: dKj, dV: dVj });
      machine.free();
    }
    return { dq: dQ, dk: dK, dv: dV, dSink };
  });
}
