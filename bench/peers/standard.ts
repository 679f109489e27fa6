import type { GradientNumbers, Gradients } from '../gradient-oracle.js';
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

/**
 * Its gradients. Like ours they are computed from q, k, v and dOut; P is not kept from a forward
 * call.
 */
export function nativeStandardBackward(
  shape: AttentionShape,
  { q, k, v, dOut }: Pick<GradientNumbers, 'q' | 'k' | 'v' | 'dOut'>,
  threads: number,
): () => Gradients {
  const { batch, heads, seqlenQ, seqlenK, headDim, causal } = shape;
  const all = batch * heads;
  const matrix = (rows: number, columns: number) =>
    new Float32Array(benchAddon.standardScores(all, rows, columns));
  const scores = matrix(seqlenQ, seqlenK);
  const ds = matrix(seqlenQ, seqlenK);
  const turned = matrix(seqlenK, seqlenQ);
  const dq = new Float32Array(q.length);
  const dk = new Float32Array(k.length);
  const dv = new Float32Array(v.length);
  return () => {
    const sizes = [all, seqlenQ, seqlenK, headDim] as const;
    const arrays = [q, k, v, dOut, dq, dk, dv, scores, ds, turned] as const;
    benchAddon.standardAttentionBackward(...arrays, ...sizes, causal, threads);
    return { dq, dk, dv };
  };
}
