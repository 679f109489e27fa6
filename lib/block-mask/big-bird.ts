import { checkOptions } from '../native/check-options.js';
import { checkInteger, checkUint64 } from '../native/check-value.js';
import { type BlockSize, checkBlockSize, checkSeqlen, geometry } from './geometry.js';
import { BlockGrid, kFull } from './grid.js';
import { checkIndexSet, type IndexSet } from './indices.js';
import { randomIntegers } from './random.js';

/** Options of {@link BlockMask.bigBird}. Everything is counted in blocks. */
export interface BigBirdOptions {
  /** Queries and keys alike. */
  seqlen: number;
  /** Blocks seen on either side: the paper's w is 2 * window + 1. */
  window: number;
  /** Blocks that see all and are seen by all: the first n, or a list of block indices. */
  globalBlocks: IndexSet;
  /**
   * Blocks drawn for each row of blocks among those it does not see yet (fewer if too few are
   * left).
   */
  randomBlocks: number;
  /** 0n to 2n ** 64n - 1n: the same seed draws the same blocks. */
  seed: bigint;
  /** Default 128. */
  blockSize?: BlockSize;
  /** Draw separately for so many heads. Default 1: all heads share one draw. */
  heads?: number;
}

const bigBirdKeys: ReadonlySet<string> = new Set([
  'seqlen',
  'window',
  'globalBlocks',
  'randomBlocks',
  'seed',
  'blockSize',
  'heads',
]);

export function bigBirdGrid(options: BigBirdOptions): BlockGrid {
  const given = checkOptions(options, bigBirdKeys) ?? ({} as BigBirdOptions);
  const seqlen = checkSeqlen(given.seqlen, 'options.seqlen');
  const window = checkInteger(given.window, 0, Number.MAX_SAFE_INTEGER, 'options.window');
  const size = checkBlockSize(given.blockSize, 'options.blockSize');
  const heads =
    given.heads === undefined ? 1 : checkInteger(given.heads, 1, 65536, 'options.heads');
  const grid = new BlockGrid(geometry(seqlen, seqlen, size, heads), 1, heads);
  const { rows, cols, blockQ, blockK } = grid.geometry;
  // Global blocks are blocks of keys; with oblong blocks a row is global when its keys' blocks are.
  const isGlobal = checkIndexSet(given.globalBlocks, cols, 'options.globalBlocks');
  const draws = checkInteger(
    given.randomBlocks,
    0,
    Number.MAX_SAFE_INTEGER,
    'options.randomBlocks',
  );
  const random = randomIntegers(checkUint64(given.seed, 'options.seed'));
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < rows; row++) {
      const first = Math.floor((row * blockQ) / blockK);
      const last = Math.floor((Math.min((row + 1) * blockQ, seqlen) - 1) / blockK);
      const unseen: number[] = [];
      const seesAll = isGlobal.subarray(first, last + 1).every((flag) => flag === 1);
      for (let col = 0; col < cols; col++) {
        const near = col >= first - window && col <= last + window;
        if (seesAll || isGlobal[col] || near) grid.set(head, row, col, kFull);
        else unseen.push(col);
      }
      for (let n = Math.min(draws, unseen.length); n > 0; n--) {
        const pick = random(unseen.length);
        grid.set(head, row, unseen[pick], kFull);
        unseen[pick] = unseen.at(-1) as number;
        unseen.pop();
      }
    }
  }
  return grid;
}
