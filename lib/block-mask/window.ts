import { checkOptions } from '../native/check-options.js';
import { checkWindowBound } from '../native/check-value.js';
import { setRange } from './bits.js';
import {
  type BlockSize,
  checkBlockSize,
  checkSeqlen,
  type Geometry,
  geometry,
} from './geometry.js';
import { BlockGrid, blockExtent, kFull } from './grid.js';

/** Options of {@link BlockMask.slidingWindow}. */
export interface SlidingWindowOptions {
  seqlenQ: number;
  seqlenK: number;
  /** Keys kept before the diagonal; an integer or Infinity, as `options.window`. */
  left: number;
  /** Keys kept after the diagonal. */
  right: number;
  /** Default 128. */
  blockSize?: BlockSize;
}

const windowKeys: ReadonlySet<string> = new Set([
  'seqlenQ',
  'seqlenK',
  'left',
  'right',
  'blockSize',
]);

export function slidingWindowGrid(options: SlidingWindowOptions): BlockGrid {
  const given = checkOptions(options, windowKeys) ?? ({} as SlidingWindowOptions);
  const seqlenQ = checkSeqlen(given.seqlenQ, 'options.seqlenQ');
  const seqlenK = checkSeqlen(given.seqlenK, 'options.seqlenK');
  const left = checkWindowBound(given.left, 'options.left');
  const right = checkWindowBound(given.right, 'options.right');
  const size = checkBlockSize(given.blockSize, 'options.blockSize');
  const grid = new BlockGrid(geometry(seqlenQ, seqlenK, size));
  const band = new Band(grid.geometry, left, right);
  for (let row = 0; row < grid.geometry.rows; row++) {
    const [begin, end] = band.columns(row);
    for (let col = begin; col < end; col++) {
      if (band.classify(row, col) === 'full') {
        grid.set(0, row, col, kFull);
        continue;
      }
      const cell = grid.cellByKey(row, col, `${band.offset(row, col)}`, (bits) => {
        band.fill(bits, grid.words, row, col);
      });
      grid.set(0, row, col, cell);
    }
  }
  return grid;
}

/** The band p - left <= j <= p + right around the diagonal p = i + seqlenK - seqlenQ. */
export class Band {
  private readonly shift: number;

  constructor(
    private readonly geometry: Geometry,
    private readonly left: number,
    private readonly right: number,
  ) {
    this.shift = geometry.seqlenK - geometry.seqlenQ;
  }

  /** The range of columns that the band touches in a row of blocks. */
  columns(row: number): [begin: number, end: number] {
    const { blockQ, blockK, seqlenK, cols } = this.geometry;
    if (this.left + this.right < 0) return [0, 0];
    const first = row * blockQ + this.shift;
    const last = first + blockExtent(this.geometry, row, 0).queries - 1;
    const low = Math.max(first - this.left, 0);
    const high = Math.min(last + this.right, seqlenK - 1);
    return low > high
      ? [0, 0]
      : [Math.floor(low / blockK), Math.min(Math.floor(high / blockK) + 1, cols)];
  }

  /** Exact: bands are convex, so the first and the last query decide. */
  classify(row: number, col: number): 'skip' | 'partial' | 'full' {
    const { blockQ, blockK } = this.geometry;
    const { queries, keys } = blockExtent(this.geometry, row, col);
    const first = row * blockQ + this.shift;
    const last = first + queries - 1;
    const firstKey = col * blockK;
    const lastKey = firstKey + keys - 1;
    const { left, right } = this;
    if (left + right < 0 || lastKey < first - left || firstKey > last + right) return 'skip';
    return firstKey >= last - left && lastKey <= first + right ? 'full' : 'partial';
  }

  /** The first key of a block, seen from its first query: what its bits depend on. */
  offset(row: number, col: number): number {
    return col * this.geometry.blockK - (row * this.geometry.blockQ + this.shift);
  }

  fill(bits: Int32Array, words: number, row: number, col: number): void {
    const { blockQ, blockK } = this.geometry;
    const offset = this.offset(row, col);
    for (let i = 0; i < blockQ; i++) {
      setRange(bits, i * words, i - this.left - offset, i + this.right + 1 - offset, blockK);
    }
  }
}
