import { checkInteger } from '../native/check-value.js';
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';

/** Queries and keys of one block. A number stands for both. */
export type BlockSize = number | readonly [blockQ: number, blockK: number];

/** How a mask is cut into blocks. */
export interface Geometry {
  readonly seqlenQ: number;
  readonly seqlenK: number;
  readonly blockQ: number;
  readonly blockK: number;
  /** ceil(seqlenQ / blockQ) */
  readonly rows: number;
  /** ceil(seqlenK / blockK) */
  readonly cols: number;
}

const defaultBlockSize = 128;
const maxSeqlen = 2 ** 30 - 1;
/** A table of 256 MiB. */
const maxBlocks = 2 ** 26;

export function checkSeqlen(value: unknown, argument: string): number {
  return checkInteger(value, 1, maxSeqlen, argument);
}

export function checkBlockSize(value: unknown, argument: string): [number, number] {
  if (value === undefined) return [defaultBlockSize, defaultBlockSize];
  if (Array.isArray(value)) {
    if (value.length !== 2) {
      fail('ERR_SHAPE', argument, 'a number or [blockQ, blockK]', show(value));
    }
    return [checkSeqlen(value[0], `${argument}[0]`), checkSeqlen(value[1], `${argument}[1]`)];
  }
  const size = checkSeqlen(value, argument);
  return [size, size];
}

/** The blocks of a mask of `planes` (batch * heads) planes; `argument` is what set their size. */
export function geometry(
  seqlenQ: number,
  seqlenK: number,
  [blockQ, blockK]: [number, number],
  planes = 1,
  argument = 'options.blockSize',
): Geometry {
  const rows = Math.ceil(seqlenQ / blockQ);
  const cols = Math.ceil(seqlenK / blockK);
  if (planes * rows * cols > maxBlocks) {
    const expected = `large enough for at most ${maxBlocks} blocks`;
    fail('ERR_OPTION', argument, expected, `${planes * rows * cols} blocks`);
  }
  return { seqlenQ, seqlenK, blockQ, blockK, rows, cols };
}
