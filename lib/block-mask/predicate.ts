import { checkOptions } from '../native/check-options.js';
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { setRange } from './bits.js';
import { type BlockSize, checkBlockSize, checkSeqlen, geometry } from './geometry.js';
import { BlockGrid, blockExtent } from './grid.js';

/** Options of {@link BlockMask.fromPredicate}. */
export interface PredicateOptions {
  seqlenQ: number;
  seqlenK: number;
  /** Whether query i may see key j. */
  predicate: (i: number, j: number) => boolean;
  /** Default 128. */
  blockSize?: BlockSize;
}

const predicateKeys: ReadonlySet<string> = new Set([
  'seqlenQ',
  'seqlenK',
  'predicate',
  'blockSize',
]);

export function predicateGrid(options: PredicateOptions): BlockGrid {
  const given = checkOptions(options, predicateKeys) ?? ({} as PredicateOptions);
  const seqlenQ = checkSeqlen(given.seqlenQ, 'options.seqlenQ');
  const seqlenK = checkSeqlen(given.seqlenK, 'options.seqlenK');
  const size = checkBlockSize(given.blockSize, 'options.blockSize');
  const { predicate } = given;
  if (typeof predicate !== 'function') {
    fail('ERR_TYPE', 'options.predicate', 'a function (i, j) => boolean', show(predicate));
  }
  const grid = new BlockGrid(geometry(seqlenQ, seqlenK, size));
  const { rows, cols, blockQ, blockK } = grid.geometry;
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const { queries, keys } = blockExtent(grid.geometry, row, col);
      const bits = grid.blank();
      for (let i = 0; i < queries; i++) {
        for (let t = 0; t < keys; t++) {
          if (predicate(row * blockQ + i, col * blockK + t)) {
            setRange(bits, i * grid.words, t, t + 1, blockK);
          }
        }
      }
      grid.set(0, row, col, grid.cellOf(row, col, bits));
    }
  }
  return grid;
}
