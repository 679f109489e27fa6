import { checkOptions } from '../native/check-options.js';
import { fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
import { checkShape, sizeOf } from '../tensor/shape.js';
import { type BlockSize, checkBlockSize, checkSeqlen, geometry } from './geometry.js';
import { BlockGrid, kFull, kSkip } from './grid.js';

/** Booleans per block as a flat array: 1 or true where the block is attended. */
export interface FlatBlocks {
  data: Uint8Array | readonly (boolean | number)[];
  /** `[rows, cols]`, `[heads, rows, cols]` or `[batch, heads, rows, cols]`. */
  shape: readonly number[];
}

/** Booleans per block: `[row][col]`, `[head][row][col]` or `[batch][head][row][col]`, or flat. */
export type Blocks =
  | readonly (readonly boolean[])[]
  | readonly (readonly (readonly boolean[])[])[]
  | readonly (readonly (readonly (readonly boolean[])[])[])[]
  | FlatBlocks;

/** Options of {@link BlockMask.from}. */
export interface BlocksOptions {
  /** Default rows * blockQ; must make as many rows. */
  seqlenQ?: number;
  /** Default cols * blockK; must make as many columns. */
  seqlenK?: number;
}

/** `[batch, heads, rows, cols]` */
const maxRank = 4;

const blocksKeys: ReadonlySet<string> = new Set(['seqlenQ', 'seqlenK']);
const flatKeys: ReadonlySet<string> = new Set(['data', 'shape']);

export function blocksGrid(
  blocks: Blocks,
  blockSize: BlockSize,
  options?: BlocksOptions,
): BlockGrid {
  const { data, shape } = Array.isArray(blocks) ? fromNested(blocks) : checkFlat(blocks);
  const [batch, heads, rows, cols] = [1, 1, 1, ...shape].slice(-4) as [
    number,
    number,
    number,
    number,
  ];
  if (data.length === 0) fail('ERR_SHAPE', 'blocks', 'at least one block', showShape(shape));
  if (blockSize === undefined) fail('ERR_TYPE', 'blockSize', 'a number', 'undefined');
  const size = checkBlockSize(blockSize, 'blockSize');
  const given = checkOptions(options, blocksKeys);
  const seqlenQ = checkSeqlen(given?.seqlenQ ?? rows * size[0], 'options.seqlenQ');
  const seqlenK = checkSeqlen(given?.seqlenK ?? cols * size[1], 'options.seqlenK');
  const cut = geometry(seqlenQ, seqlenK, size, batch * heads, 'blockSize');
  if (cut.rows !== rows || cut.cols !== cols) {
    fail('ERR_SHAPE', 'blocks', `${cut.rows} x ${cut.cols} blocks`, `${rows} x ${cols}`);
  }
  const grid = new BlockGrid(cut, batch, heads);
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (typeof value !== 'boolean' && value !== 0 && value !== 1) {
      fail('ERR_TYPE', `blocks (element ${i})`, 'a boolean', show(value));
    }
    grid.table[i] = value ? kFull : kSkip;
  }
  return grid;
}

function checkRank(shape: readonly number[]): void {
  if (shape.length >= 2 && shape.length <= maxRank) return;
  const expected = '[rows, cols], [heads, rows, cols] or [batch, heads, rows, cols]';
  fail('ERR_SHAPE', 'blocks', expected, showShape(shape));
}

function checkFlat(blocks: unknown): { data: ArrayLike<unknown>; shape: number[] } {
  if (typeof blocks !== 'object' || blocks === null || ArrayBuffer.isView(blocks)) {
    const hint = ArrayBuffer.isView(blocks) ? 'Pass { data, shape }.' : '';
    fail('ERR_TYPE', 'blocks', 'nested arrays of booleans or { data, shape }', show(blocks), hint);
  }
  checkOptions(blocks, flatKeys, 'blocks');
  const { data, shape } = blocks as FlatBlocks;
  const lengths = checkShape(shape, 'blocks.shape');
  checkRank(lengths);
  if (!Array.isArray(data) && !ArrayBuffer.isView(data)) {
    fail('ERR_TYPE', 'blocks.data', 'a Uint8Array or an array of booleans', show(data));
  }
  if (data.length !== sizeOf(lengths)) {
    fail('ERR_SHAPE', 'blocks.data', `${sizeOf(lengths)} elements long`, `${data.length} elements`);
  }
  return { data, shape: lengths };
}

function fromNested(blocks: readonly unknown[]): { data: unknown[]; shape: number[] } {
  const shape: number[] = [];
  // One level too many is enough to be refused: arrays may hold themselves.
  for (let level: unknown = blocks; Array.isArray(level) && shape.length <= maxRank; ) {
    shape.push(level.length);
    level = level[0];
  }
  checkRank(shape);
  const data: unknown[] = [];
  const walk = (level: unknown, depth: number, where: string): void => {
    if (!Array.isArray(level) || level.length !== shape[depth]) {
      fail('ERR_SHAPE', where, `an array of length ${shape[depth]}`, show(level));
    }
    if (depth === shape.length - 1) for (const block of level) data.push(block);
    else for (let i = 0; i < level.length; i++) walk(level[i], depth + 1, `${where}[${i}]`);
  };
  walk(blocks, 0, 'blocks');
  return { data, shape };
}
