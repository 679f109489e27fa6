import type { GradientNumbers, Gradients } from '../gradient-oracle.js';
import type { Numbers } from '../oracle.js';
import type { AttentionShape } from '../shape.js';

/**
 * Attention as one would write it down in JavaScript, over numbers in bhsd; grouped heads included.
 */
export function naiveAttention(
  { batch, heads, kvHeads, seqlenQ, seqlenK, headDim, causal }: AttentionShape,
  { q, k, v }: Numbers,
): Float32Array {
  const out = new Float32Array(q.length);
  const scores = new Float32Array(seqlenK);
  const scale = 1 / Math.sqrt(headDim);
  for (let bh = 0; bh < batch * heads; bh++) {
    const kvHead = Math.floor(bh / (heads / kvHeads));
    const keys = kvHead * seqlenK * headDim;
    for (let i = 0; i < seqlenQ; i++) {
      const row = (bh * seqlenQ + i) * headDim;
      const visible = causal ? i + seqlenK - seqlenQ + 1 : seqlenK;
      let maximum = -Infinity;
      for (let j = 0; j < visible; j++) {
        let dot = 0;
        for (let d = 0; d < headDim; d++) dot += q[row + d] * k[keys + j * headDim + d];
        scores[j] = dot * scale;
        if (scores[j] > maximum) maximum = scores[j];
      }
      let sum = 0;
      for (let j = 0; j < visible; j++) {
        const p = Math.exp(scores[j] - maximum);
        sum += p;
        for (let d = 0; d < headDim; d++) out[row + d] += p * v[keys + j * headDim + d];
      }
      for (let d = 0; d < headDim; d++) out[row + d] /= sum;
    }
  }
  return out;
}

/** Its gradients, row by row; without grouped heads. */
export function naiveAttentionBackward(
  { batch, heads, seqlenQ, seqlenK, headDim, causal }: AttentionShape,
  { q, k, v, out, lse, dOut }: GradientNumbers,
): Gradients {
  const dq = new Float32Array(q.length);
  const dk = new Float32Array(k.length);
  const dv = new Float32Array(v.length);
  const scale = 1 / Math.sqrt(headDim);
  for (let bh = 0; bh < batch * heads; bh++) {
    const keys = bh * seqlenK * headDim;
    for (let i = 0; i < seqlenQ; i++) {
      const row = (bh * seqlenQ + i) * headDim;
      const visible = causal ? i + seqlenK - seqlenQ + 1 : seqlenK;
      let delta = 0;
      for (let d = 0; d < headDim; d++) delta += dOut[row + d] * out[row + d];
      for (let j = 0; j < visible; j++) {
        const key = keys + j * headDim;
        let dot = 0;
        let dp = 0;
        for (let d = 0; d < headDim; d++) {
          dot += q[row + d] * k[key + d];
          dp += dOut[row + d] * v[key + d];
        }
        const p = Math.exp(dot * scale - lse[bh * seqlenQ + i]);
        const ds = p * (dp - delta) * scale;
        for (let d = 0; d < headDim; d++) {
          dv[key + d] += p * dOut[row + d];
          dq[row + d] += ds * k[key + d];
          dk[key + d] += ds * q[row + d];
        }
      }
    }
  }
  return { dq, dk, dv };
}
