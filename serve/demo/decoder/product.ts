import type { Numbers } from './numbers.js';

/** A matrix in memory: element (i, j) is `values[i * rowStride + j * columnStride]`. */
export interface Matrix {
  readonly values: Numbers;
  readonly rowStride: number;
  readonly columnStride: number;
}

/** A matrix of so many columns, row by row. */
export function rowMajor(values: Numbers, columns: number): Matrix {
  return { values, rowStride: columns, columnStride: 1 };
}

export function transposed({ values, rowStride, columnStride }: Matrix): Matrix {
  return { values, rowStride: columnStride, columnStride: rowStride };
}

/** A tile of the result: its sums stay in registers. */
const tileRows = 2;
const tileColumns = 4;
/** Terms of a sum that are packed at once: a panel of them stays in the first cache. */
const depth = 256;

const tile = new Float64Array(tileRows * tileColumns);
let panelsA: Float64Array = new Float64Array(0);
let panelsB: Float64Array = new Float64Array(0);

/**
 * Adds a b to c, `[m, k] [k, n]`. Both factors are packed, block by block, in the order in which
 * tiles read them (Goto and van de Geijn 2008); sums are taken in float64.
 */
export function addProduct(
  c: Numbers,
  a: Matrix,
  b: Matrix,
  [m, n, k]: readonly [m: number, n: number, k: number],
): void {
  panelsA = atLeast(panelsA, (m + tileRows) * depth);
  panelsB = atLeast(panelsB, (n + tileColumns) * depth);
  for (let first = 0; first < k; first += depth) {
    const terms = Math.min(depth, k - first);
    pack(panelsA, transposed(a), [first, terms], m, tileRows);
    pack(panelsB, b, [first, terms], n, tileColumns);
    for (let i = 0; i < m; i += tileRows) {
      for (let j = 0; j < n; j += tileColumns) {
        sumTile(panelsA, panelsB, [i * terms, j * terms], terms);
        const rows = Math.min(tileRows, m - i);
        const columns = Math.min(tileColumns, n - j);
        for (let r = 0; r < rows; r++) {
          const to = (i + r) * n + j;
          for (let s = 0; s < columns; s++) c[to + s] += tile[r * tileColumns + s];
        }
      }
    }
  }
}

function atLeast(buffer: Float64Array, length: number): Float64Array {
  return buffer.length < length ? new Float64Array(length) : buffer;
}

/** Columns in panels of `width`, the last filled up with zeros; each panel row by row. */
function pack(
  panels: Float64Array,
  { values, rowStride, columnStride }: Matrix,
  [first, rows]: readonly [first: number, rows: number],
  columns: number,
  width: number,
): void {
  for (let j = 0; j < columns; j += width) {
    const filled = Math.min(width, columns - j);
    for (let i = 0; i < rows; i++) {
      const to = j * rows + i * width;
      const from = (first + i) * rowStride + j * columnStride;
      for (let s = 0; s < filled; s++) panels[to + s] = values[from + s * columnStride];
      for (let s = filled; s < width; s++) panels[to + s] = 0;
    }
  }
}

/** Products of one panel of each factor, into {@link tile}. */
function sumTile(a: Float64Array, b: Float64Array, at: readonly number[], terms: number): void {
  let c00 = 0;
  let c01 = 0;
  let c02 = 0;
  let c03 = 0;
  let c10 = 0;
  let c11 = 0;
  let c12 = 0;
  let c13 = 0;
  let [i, j] = at;
  for (const end = i + terms * tileRows; i < end; i += tileRows, j += tileColumns) {
    const a0 = a[i];
    const a1 = a[i + 1];
    const b0 = b[j];
    const b1 = b[j + 1];
    const b2 = b[j + 2];
    const b3 = b[j + 3];
    c00 += a0 * b0;
    c01 += a0 * b1;
    c02 += a0 * b2;
    c03 += a0 * b3;
    c10 += a1 * b0;
    c11 += a1 * b1;
    c12 += a1 * b2;
    c13 += a1 * b3;
  }
  tile[0] = c00;
  tile[1] = c01;
  tile[2] = c02;
  tile[3] = c03;
  tile[4] = c10;
  tile[5] = c11;
  tile[6] = c12;
  tile[7] = c13;
}
