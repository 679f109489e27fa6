import {
  standardAttention,
  standardAttentionBackward,
  type ReferenceProblem,
} from 'flash-attention/reference';
import type { Attention } from '../../demo/decoder/attention.js';
import type { Numbers } from '../../demo/decoder/numbers.js';

/** Attention and its gradients by the formula, in float64. */
export const referenceAttention: Attention = async (q, k, v, shape) => {
  const { heads, kvHeads, headDim, cuSeqlens } = shape;
  const sequences = Array.from(cuSeqlens.subarray(1), (end, n) => {
    const begin = cuSeqlens[n];
    const rowsOf = (x: Numbers, count: number) =>
      x.subarray(begin * count * headDim, end * count * headDim);
    const [seqlenQ, seqlenK] = [end - begin, end - begin];
    const problem: ReferenceProblem = {
      shape: { batch: 1, seqlenQ, seqlenK, heads, kvHeads, headDim },
      ...{ q: rowsOf(q, heads), k: rowsOf(k, kvHeads), v: rowsOf(v, kvHeads) },
      causal: true,
    };
    return { problem, rowsOf };
  });
  return {
    out: joined(sequences.map(({ problem }) => standardAttention(problem).out)),
    async backward(dOut) {
      const gradients = sequences.map(({ problem, rowsOf }) =>
        standardAttentionBackward(problem, rowsOf(dOut, heads)),
      );
      return [
        joined(gradients.map(({ dq }) => dq)),
        joined(gradients.map(({ dk }) => dk)),
        joined(gradients.map(({ dv }) => dv)),
      ];
    },
  };
};

function joined(parts: readonly Float64Array[]): Float64Array {
  return Float64Array.from(parts.flatMap((part) => Array.from(part)));
}
