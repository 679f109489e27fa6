import { addScaled, dot, type Matrix, scaleBy, zeros } from '../matrix.js';
import { philox4x32 } from '../philox.js';

const low = (x: bigint) => Number(BigInt.asUintN(32, x));

/**
 * Rows of independent standard normal numbers: Box-Muller over Philox4x32-10. The numbers of a row
 * depend on the seed, the stream and the row alone, so that more rows begin with the same ones.
 *
 * @param stream tells matrices that are drawn from one seed apart
 */
export function normalMatrix(rows: number, cols: number, seed: bigint, stream = 0): Matrix {
  const key = [low(seed), low(seed >> 32n)] as const;
  const matrix = zeros(rows, cols);
  matrix.forEach((row, i) => {
    for (let c = 0; c < cols; c += 4) {
      const words = philox4x32([c >> 2, i, stream, 2], key);
      for (let pair = 0; pair < 4; pair += 2) {
        const radius = Math.sqrt(-2 * Math.log((words[pair] + 1) / 2 ** 32));
        const angle = 2 * Math.PI * (words[pair + 1] / 2 ** 32);
        if (c + pair < cols) row[c + pair] = radius * Math.cos(angle);
        if (c + pair + 1 < cols) row[c + pair + 1] = radius * Math.sin(angle);
      }
    }
  });
  return matrix;
}

/** `count` independent numbers in [0, 1). */
export function uniforms(count: number, seed: bigint): number[] {
  const key = [low(seed), low(seed >> 32n)] as const;
  return Array.from({ length: count }, (_, n) => philox4x32([n, 0, 0, 3], key)[0] / 2 ** 32);
}

const norm = (row: Float64Array) => Math.sqrt(dot(row, row));

/** The row divided by its length; zeros stay zeros. */
export function normalized(row: Float64Array): Float64Array {
  const unit = row.slice();
  const length = norm(row);
  if (length > 0) scaleBy(unit, 1 / length);
  return unit;
}

/**
 * Normal rows of which each block of `cols` is orthogonal: Gram-Schmidt, then lengths of their own,
 * drawn as those of normal rows are. Each row alone is still standard normal.
 */
export function orthogonalMatrix(rows: number, cols: number, seed: bigint, stream = 0): Matrix {
  const directions = normalMatrix(rows, cols, seed, stream);
  const lengths = normalMatrix(rows, cols, seed, stream + 1).map(norm);
  for (let first = 0; first < rows; first += cols) {
    for (let i = first; i < Math.min(first + cols, rows); i++) {
      for (let j = first; j < i; j++) {
        addScaled(directions[i], -dot(directions[i], directions[j]), directions[j]);
      }
      directions[i] = normalized(directions[i]);
    }
  }
  directions.forEach((row, i) => {
    scaleBy(row, lengths[i]);
  });
  return directions;
}
