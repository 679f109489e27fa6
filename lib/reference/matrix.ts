/**
 * The little linear algebra the pages of this folder are written in. A matrix is an array of rows,
 * `m[i][c]`; everything is float64 unless an algorithm asks for the arithmetic of a narrower type
 * (see precision.ts).
 */

/** Rows of equal length. */
export type Matrix = Float64Array[];

/** A matrix of zeros, in one piece of memory. */
export function zeros(rows: number, cols: number): Matrix {
  const data = new Float64Array(rows * cols);
  return Array.from({ length: rows }, (_, i) => data.subarray(i * cols, (i + 1) * cols));
}

/** A copy of rows `from` to `to - 1` (fewer where the matrix ends): a tile. */
export function copyRows(matrix: Matrix, from: number, to: number): Matrix {
  return matrix.slice(from, to).map((row) => row.slice());
}

/**
 * sum_c a_c b_c. Four partial sums, because one would wait for every addition before it can start
 * the next.
 */
export function dot(a: Float64Array, b: Float64Array): number {
  const n = a.length;
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let c = 0;
  for (; c + 3 < n; c += 4) {
    s0 += a[c] * b[c];
    s1 += a[c + 1] * b[c + 1];
    s2 += a[c + 2] * b[c + 2];
    s3 += a[c + 3] * b[c + 3];
  }
  for (; c < n; c++) s0 += a[c] * b[c];
  return s0 + s1 + (s2 + s3);
}

/** y += factor * x. Four elements per step: V8 does not unroll loops by itself. */
export function addScaled(y: Float64Array, factor: number, x: Float64Array): void {
  const n = y.length;
  let c = 0;
  for (; c + 3 < n; c += 4) {
    y[c] += factor * x[c];
    y[c + 1] += factor * x[c + 1];
    y[c + 2] += factor * x[c + 2];
    y[c + 3] += factor * x[c + 3];
  }
  for (; c < n; c++) y[c] += factor * x[c];
}

/** y *= factor */
export function scaleBy(y: Float64Array, factor: number): void {
  for (let c = 0; c < y.length; c++) y[c] *= factor;
}
