import { type Matrix, zeros } from './matrix.js';
import type { Numbers } from './problem.js';

/** The rows `indices` of head `head` in a [batch, seqlen, heads, dim] array. */
export function gather(
  data: Numbers,
  [seqlen, heads, dim]: readonly [number, number, number],
  batch: number,
  head: number,
  indices: ArrayLike<number>,
): Matrix {
  const matrix = zeros(indices.length, dim);
  for (let r = 0; r < indices.length; r++) {
    const start = ((batch * seqlen + indices[r]) * heads + head) * dim;
    matrix[r].set(data.subarray(start, start + dim));
  }
  return matrix;
}

/** Adds the rows of a head to their places in a [batch, seqlen, heads, dim] array. */
export function scatterAdd(
  data: Float64Array,
  [seqlen, heads, dim]: readonly [number, number, number],
  batch: number,
  head: number,
  indices: ArrayLike<number>,
  matrix: Matrix,
): void {
  for (let r = 0; r < indices.length; r++) {
    const start = ((batch * seqlen + indices[r]) * heads + head) * dim;
    for (let c = 0; c < dim; c++) data[start + c] += matrix[r][c];
  }
}

/** 0, 1, ... n - 1 */
export function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}
