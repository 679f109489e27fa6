import { countBits, getBit, hashBits, sameBits, wordsPerRow } from './bits.js';
import type { Geometry } from './geometry.js';

/** Cells of a block table; from 2 on, a cell is the bitmap `cell - 2`. */
export const kSkip = 0;
export const kFull = 1;
export const kFirstBitmap = 2;

/**
 * A block table under construction: `planes` (batch * heads) times rows * cols cells. Equal bitmaps
 * are stored once, which is what keeps regular patterns (windows, documents) small.
 */
export class BlockGrid {
  readonly table: Int32Array;
  readonly words: number;
  private readonly bitmaps: Int32Array[] = [];
  private readonly byHash = new Map<number, number[]>();
  private readonly byKey = new Map<string, number>();

  constructor(
    readonly geometry: Geometry,
    readonly batch = 1,
    readonly heads = 1,
  ) {
    this.table = new Int32Array(batch * heads * geometry.rows * geometry.cols);
    this.words = wordsPerRow(geometry.blockK);
  }

  set(plane: number, row: number, col: number, cell: number): void {
    const { rows, cols } = this.geometry;
    this.table[(plane * rows + row) * cols + col] = cell;
  }

  /** A zeroed bitmap to fill. */
  blank(): Int32Array {
    return new Int32Array(this.geometry.blockQ * this.words);
  }

  /**
   * The cell of a block whose bits are a function of `key` alone; `fill` runs once per key. Bits of
   * pairs past the sequences' ends may be anything.
   */
  cellByKey(row: number, col: number, key: string, fill: (bits: Int32Array) => void): number {
    // Whether a bitmap is all ones depends on how much of the block lies inside the sequences.
    const { rows, cols } = this.geometry;
    const fullKey = `${key};${row === rows - 1 ? 1 : 0};${col === cols - 1 ? 1 : 0}`;
    let cell = this.byKey.get(fullKey);
    if (cell === undefined) {
      const bits = this.blank();
      fill(bits);
      cell = this.cellOf(row, col, bits);
      this.byKey.set(fullKey, cell);
    }
    return cell;
  }

  /** The cell of the block (row, col) with these bits: skip, full or a shared bitmap. */
  cellOf(row: number, col: number, bits: Int32Array): number {
    const { queries, keys } = blockExtent(this.geometry, row, col);
    const visible = countBits(bits, 0, this.words, queries, keys);
    if (visible === 0) return kSkip;
    if (visible === queries * keys) return kFull;
    const hash = hashBits(bits);
    const candidates = this.byHash.get(hash) ?? [];
    for (const index of candidates) {
      if (sameBits(this.bitmaps[index] as Int32Array, bits)) return kFirstBitmap + index;
    }
    this.byHash.set(hash, [...candidates, this.bitmaps.length]);
    this.bitmaps.push(bits);
    return kFirstBitmap + this.bitmaps.length - 1;
  }

  /** All bitmaps, one after the other. */
  bits(): Int32Array {
    const size = this.geometry.blockQ * this.words;
    const all = new Int32Array(this.bitmaps.length * size);
    this.bitmaps.forEach((bitmap, index) => {
      all.set(bitmap, index * size);
    });
    return all;
  }
}

/** How many queries and keys of a block lie inside the sequences. */
export function blockExtent(
  { seqlenQ, seqlenK, blockQ, blockK }: Geometry,
  row: number,
  col: number,
): { queries: number; keys: number } {
  return {
    queries: Math.min(blockQ, seqlenQ - row * blockQ),
    keys: Math.min(blockK, seqlenK - col * blockK),
  };
}

/** Whether query i sees key j in a plane (batch * heads + head) of a table and its bitmaps. */
export function isVisible(
  { rows, cols, blockQ, blockK }: Geometry,
  table: Int32Array,
  bits: Int32Array,
  plane: number,
  i: number,
  j: number,
): boolean {
  const row = Math.floor(i / blockQ);
  const cell = table[(plane * rows + row) * cols + Math.floor(j / blockK)];
  if (cell < kFirstBitmap) return cell === kFull;
  const start = ((cell - kFirstBitmap) * blockQ + (i % blockQ)) * wordsPerRow(blockK);
  return getBit(bits, start, j % blockK);
}
