import { kFull, kSkip } from './grid.js';

const maxSide = 64;

/**
 * One character per block: `#` full, `+` partial, `.` skipped. Beyond 64 rows or columns a
 * character stands for several blocks and is `+` where they differ.
 */
export function picture(table: Int32Array, rows: number, cols: number): string {
  const rowStep = Math.ceil(rows / maxSide);
  const colStep = Math.ceil(cols / maxSide);
  const lines: string[] = [];
  for (let row = 0; row < rows; row += rowStep) {
    let line = '';
    for (let col = 0; col < cols; col += colStep) {
      line += symbol(
        table,
        cols,
        row,
        Math.min(row + rowStep, rows),
        col,
        Math.min(col + colStep, cols),
      );
    }
    lines.push(line);
  }
  return lines.join('\n');
}

function symbol(
  table: Int32Array,
  cols: number,
  rowBegin: number,
  rowEnd: number,
  colBegin: number,
  colEnd: number,
): string {
  const first = table[rowBegin * cols + colBegin];
  if (first > kFull) return '+';
  for (let row = rowBegin; row < rowEnd; row++) {
    for (let col = colBegin; col < colEnd; col++) {
      if (table[row * cols + col] !== first) return '+';
    }
  }
  return first === kSkip ? '.' : '#';
}
