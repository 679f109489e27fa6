import type { Numbers } from '../oracle.js';
import type { AttentionShape } from '../shape.js';

/** Attention as one would write it down in JavaScript, over numbers in bhsd; grouped heads included. */
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
