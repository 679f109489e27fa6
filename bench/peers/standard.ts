import { benchAddon } from '../native.js';
import type { Numbers } from '../oracle.js';
import type { AttentionShape } from '../shape.js';

/**
 * Standard attention by bench/native over numbers in bhsd, without grouped heads. Scores and output
 * are allocated once: a new N x N matrix a call would time the system's page faults.
 */
export function nativeStandard(
  shape: AttentionShape,
  { q, k, v }: Numbers,
  threads: number,
): () => Float32Array {
  const { batch, heads, seqlenQ, seqlenK, headDim, causal } = shape;
  const all = batch * heads;
  const scores = new Float32Array(benchAddon.standardScores(all, seqlenQ, seqlenK));
  const out = new Float32Array(q.length);
  return () => {
    const sizes = [all, seqlenQ, seqlenK, headDim] as const;
    benchAddon.standardAttention(q, k, v, out, scores, ...sizes, causal, threads);
    return out;
  };
}
