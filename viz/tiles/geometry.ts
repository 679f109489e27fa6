// Where the parts of the picture lie: the matrix of pairs in the middle, its operands around it.
import type { Algorithm } from '../model/algorithms.js';

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A strip of data along one side of the matrix. */
export interface Strip {
  readonly name: string;
  readonly along: 'queries' | 'keys';
  readonly box: Box;
  /** Where its name is written, and which way. */
  readonly label: { readonly x: number; readonly y: number; readonly align: CanvasTextAlign };
}

export interface Geometry {
  readonly width: number;
  readonly height: number;
  readonly matrix: Box;
  readonly strips: readonly Strip[];
}

/** Data with one number per row. */
const vectors = new Set(['m', 'l', 'lse', 'delta']);

const gap = 7;
const labelRoom = 18;
/** Of the matrix. */
const [leastHeight, mostHeight] = [300, 560];

export function geometryOf(
  { operands }: Algorithm,
  seqlenQ: number,
  seqlenK: number,
  available: number,
  availableHeight: number,
): Geometry {
  const thick = available < 520 ? 18 : 28;
  const thin = available < 520 ? 10 : 14;
  const thickness = (name: string) =>
    name === 'lse' ? thin + 8 : vectors.has(name) ? thin : thick;
  const extent = (names: readonly string[]) =>
    names.reduce((sum, name) => sum + thickness(name) + gap, 0);

  const left = extent(operands.left) + labelRoom;
  const right = extent(operands.right) + labelRoom + 8;
  const above = extent(operands.above) + labelRoom;
  const below = extent(operands.below) + labelRoom;
  const most = Math.min(Math.max(availableHeight, leastHeight), mostHeight);
  const width = Math.max(80, Math.min(available - left - right, seqlenQ === 1 ? mostHeight : most));
  const cell = width / seqlenK;
  const height = Math.max(cell * seqlenQ, 44);
  const matrix = { x: left, y: above, width, height };

  const strips: Strip[] = [];
  let x = left;
  for (const name of operands.left) {
    x -= gap + thickness(name);
    const box = { x, y: above, width: thickness(name), height };
    const label = { x: x + box.width / 2, y: above + height + 14, align: 'center' as const };
    strips.push({ name, along: 'queries', box, label });
  }
  x = left + width + gap;
  for (const name of operands.right) {
    const box = { x, y: above, width: thickness(name), height };
    const label = { x: x + box.width / 2, y: above - 8, align: 'center' as const };
    strips.push({ name, along: 'queries', box, label });
    x += box.width + gap;
  }
  let y = above;
  for (const name of operands.above) {
    y -= gap + thickness(name);
    const box = { x: left, y, width, height: thickness(name) };
    const label = { x: left - 7, y: y + box.height / 2 + 4, align: 'right' as const };
    strips.push({ name, along: 'keys', box, label });
  }
  y = above + height + gap;
  for (const name of operands.below) {
    const box = { x: left, y, width, height: thickness(name) };
    const label = { x: left + width + 7, y: y + box.height / 2 + 4, align: 'left' as const };
    strips.push({ name, along: 'keys', box, label });
    y += box.height + gap;
  }
  return { width: left + width + right, height: above + height + below, matrix, strips };
}
