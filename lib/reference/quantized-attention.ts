import { checkBoolean, checkFields, checkTile } from './check.js';
import { checkProblem } from './check-problem.js';
import type { QuantizeE4m3Options } from './e4m3-tensor.js';
import { roundToE4m3 } from './float.js';
import { mapHeads, scoreTile } from './heads.js';
import { addScaled, copyRows, scaleBy, zeros } from './matrix.js';
import { completeShape, type ReferenceProblem, type ReferenceResult } from './problem.js';
import { dequantizeE4m3, quantizeE4m3 } from './quantize.js';

export interface QuantizedAttentionOptions extends Omit<QuantizeE4m3Options, 'cuSeqlens'> {
  /** Bc, keys per tile. Default 128. */
  readonly blockK?: number;
  /** Whether P is rounded to float8 as well. Default true. */
  readonly quantizeP?: boolean;
}

/** P lies in [0, 1]; times 2^8 it uses the range of e4m3. */
const P_SCALE = 2 ** 8;

/**
 * Attention as a float8 kernel computes it: q and k rounded to e4m3 with a scale per block of 128
 * tokens, v with a scale per head, and P rounded to e4m3 on its way into the second product. All
 * sums are exact (a kernel has float32).
 *
 *     S = scale (s_q Q8) (s_k K8)^T      P8 = e4m3(2^8 e^(S - m))      O = s_v (P8 V8) / (2^8 l)
 *
 * The denominator l sums P before it is rounded, and the scales of q and k, which differ from tile
 * to tile, are part of S before the softmax. That of v is the same along the sum, and a factor of
 * the result. Section 3.3 of Shah et al., "FlashAttention-3", 2024, arXiv 2407.08608.
 *
 * Packed sequences are a batch here, padded with zeros, which count for no scale.
 *
 * @param options `per: 'head'` and `'tensor'` hold for q, k and v; `'block'` (default) for q and k.
 * `hadamard` rotates q and k.
 * @throws FlashAttentionError ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function quantizedAttention(
  problem: ReferenceProblem,
  options: QuantizedAttentionOptions = {},
): ReferenceResult {
  checkFields('options', options, ['per', 'hadamard', 'blockK', 'quantizeP']);
  const { per = 'block', hadamard, blockK = 128, quantizeP = true } = options;
  checkTile('blockK', blockK);
  checkBoolean('quantizeP', quantizeP);
  checkProblem(problem);
  const { batch, seqlenQ, seqlenK, heads, kvHeads, headDim, headDimV } = completeShape(
    problem.shape,
  );
  const keys = { batch, seqlen: seqlenK, heads: kvHeads };
  const queries = { batch, seqlen: seqlenQ, heads, dim: headDim };
  const rotated = { per, hadamard };
  const rounded = {
    ...problem,
    q: dequantizeE4m3(quantizeE4m3(problem.q, queries, rotated)),
    k: dequantizeE4m3(quantizeE4m3(problem.k, { ...keys, dim: headDim }, rotated)),
    v: dequantizeE4m3(
      quantizeE4m3(problem.v, { ...keys, dim: headDimV }, { per: per === 'tensor' ? per : 'head' }),
    ),
  };
  const roundP = quantizeP ? (p: number) => roundToE4m3(P_SCALE * p) / P_SCALE : (p: number) => p;

  return mapHeads(rounded, (head) => {
    const N = head.q.length;
    const out = zeros(N, head.headDimV);
    const l = new Float64Array(N).fill(head.sink === -Infinity ? 0 : 1);
    const m = new Float64Array(N).fill(head.sink);
    for (let j0 = 0; j0 < head.k.length; j0 += blockK) {
      const Kj = copyRows(head.k, j0, j0 + blockK);
      const Vj = copyRows(head.v, j0, j0 + blockK);
      const S = scoreTile(head, head.q, Kj, 0, j0);
      for (let i = 0; i < N; i++) {
        const mNew = S[i].reduce((max, s) => Math.max(max, s), m[i]);
        if (mNew === -Infinity) continue; // nothing seen yet
        const shrink = Math.exp(m[i] - mNew);
        const P = S[i].map((s) => Math.exp(s - mNew));
        l[i] = l[i] * shrink + P.reduce((sum, p) => sum + p, 0);
        m[i] = mNew;
        scaleBy(out[i], shrink);
        for (let c = 0; c < Kj.length; c++) {
          if (S[i][c] === -Infinity) continue; // a masked value is left out, not multiplied by 0
          addScaled(out[i], roundP(P[c]) * head.keep(i, j0 + c), Vj[c]);
        }
      }
    }
    for (let i = 0; i < N; i++) if (l[i] > 0) scaleBy(out[i], 1 / l[i]);
    return { out, lse: Float64Array.from(l, (sum, i) => m[i] + Math.log(sum)) };
  });
}
