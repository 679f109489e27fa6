import { checkOptions } from '../native/check-options.js';
import { checkInteger } from '../native/check-value.js';
import { setRange } from './bits.js';
import { type BlockSize, checkBlockSize, checkSeqlen, geometry } from './geometry.js';
import { BlockGrid, kFull } from './grid.js';
import { checkIndexSet, type IndexSet } from './indices.js';
import { Band } from './window.js';

/** Options of {@link BlockMask.longformer}. */
export interface LongformerOptions {
  /** Queries and keys alike. */
  seqlen: number;
  /** Tokens seen on either side (half of the paper's w). */
  window: number;
  /** Tokens that see all and are seen by all: the first n, or a list of positions. */
  globalTokens: IndexSet;
  /** Default 128. */
  blockSize?: BlockSize;
}

const longformerKeys: ReadonlySet<string> = new Set([
  'seqlen',
  'window',
  'globalTokens',
  'blockSize',
]);

export function longformerGrid(options: LongformerOptions): BlockGrid {
  const given = checkOptions(options, longformerKeys) ?? ({} as LongformerOptions);
  const seqlen = checkSeqlen(given.seqlen, 'options.seqlen');
  const window = checkInteger(given.window, 0, Number.MAX_SAFE_INTEGER, 'options.window');
  const isGlobal = checkIndexSet(given.globalTokens, seqlen, 'options.globalTokens');
  const size = checkBlockSize(given.blockSize, 'options.blockSize');
  const grid = new BlockGrid(geometry(seqlen, seqlen, size));
  const { rows, cols, blockQ, blockK } = grid.geometry;
  const band = new Band(grid.geometry, window, window);
  const rowGlobals = globalsByBlock(isGlobal, blockQ);
  const colGlobals = globalsByBlock(isGlobal, blockK);
  for (let row = 0; row < rows; row++) {
    const queries = rowGlobals[row];
    const [bandBegin, bandEnd] = band.columns(row);
    for (let col = 0; col < cols; col++) {
      const keys = colGlobals[col];
      const inBand = col >= bandBegin && col < bandEnd;
      if (!inBand && queries.pattern === '' && keys.pattern === '') continue; // stays skipped
      const state = inBand ? band.classify(row, col) : 'skip';
      if (queries.all || keys.all || state === 'full') {
        grid.set(0, row, col, kFull);
        continue;
      }
      const offset = state === 'skip' ? '' : band.offset(row, col);
      const key = `${offset};${queries.pattern};${keys.pattern}`;
      const cell = grid.cellByKey(row, col, key, (bits) => {
        if (state === 'partial') band.fill(bits, grid.words, row, col);
        for (let i = 0; i < blockQ; i++) {
          const start = i * grid.words;
          for (const t of keys.offsets) setRange(bits, start, t, t + 1, blockK);
        }
        for (const i of queries.offsets) setRange(bits, i * grid.words, 0, blockK, blockK);
      });
      grid.set(0, row, col, cell);
    }
  }
  return grid;
}

/** The global tokens of one block of positions. */
interface BlockGlobals {
  readonly offsets: readonly number[];
  /** The offsets as a key. */
  readonly pattern: string;
  readonly all: boolean;
}

function globalsByBlock(isGlobal: Uint8Array, block: number): BlockGlobals[] {
  const result: BlockGlobals[] = [];
  for (let begin = 0; begin < isGlobal.length; begin += block) {
    const end = Math.min(begin + block, isGlobal.length);
    const offsets: number[] = [];
    for (let i = begin; i < end; i++) if (isGlobal[i]) offsets.push(i - begin);
    result.push({ offsets, pattern: offsets.join(), all: offsets.length === end - begin });
  }
  return result;
}
