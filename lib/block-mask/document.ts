import { checkOptions } from '../native/check-options.js';
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { type BlockSize, checkBlockSize, checkSeqlen, geometry } from './geometry.js';
import { BlockGrid, kFull } from './grid.js';

/** The document of each token: integers in any order. */
export type DocumentIds = readonly number[] | Int32Array;

/** Ids of queries and keys where they differ; one list, or one per sequence of the batch. */
export interface DocumentPair {
  idsQ: DocumentIds | readonly DocumentIds[];
  idsK: DocumentIds | readonly DocumentIds[];
}

/** Options of {@link BlockMask.document}. */
export interface DocumentOptions {
  /** Default 128. */
  blockSize?: BlockSize;
}

const documentKeys: ReadonlySet<string> = new Set(['blockSize']);
const pairKeys: ReadonlySet<string> = new Set(['idsQ', 'idsK']);

export function documentGrid(
  ids: DocumentIds | readonly DocumentIds[] | DocumentPair,
  options?: DocumentOptions,
): BlockGrid {
  const size = checkBlockSize(checkOptions(options, documentKeys)?.blockSize, 'options.blockSize');
  const [idsQ, idsK] = isPair(ids)
    ? [checkBatch(ids.idsQ, 'ids.idsQ'), checkBatch(ids.idsK, 'ids.idsK')]
    : [checkBatch(ids, 'ids'), checkBatch(ids, 'ids')];
  if (idsK.length !== idsQ.length) {
    fail('ERR_SHAPE', 'ids.idsK', `${idsQ.length} lists, like idsQ,`, `${idsK.length}`);
  }
  const seqlenQ = checkSeqlen(idsQ[0]?.length, 'ids.length');
  const seqlenK = checkSeqlen(idsK[0]?.length, 'ids.length');
  const grid = new BlockGrid(geometry(seqlenQ, seqlenK, size, idsQ.length), idsQ.length);
  const interner = new Map<string, number>();
  idsQ.forEach((queryIds, sequence) => {
    fillSequence(grid, sequence, queryIds, idsK[sequence], interner);
  });
  return grid;
}

function fillSequence(
  grid: BlockGrid,
  sequence: number,
  idsQ: DocumentIds,
  idsK: DocumentIds,
  interner: Map<string, number>,
): void {
  const { blockQ, words } = { blockQ: grid.geometry.blockQ, words: grid.words };
  const rows = blocksOf(idsQ, blockQ, interner);
  const cols = blocksOf(idsK, grid.geometry.blockK, interner);
  const colsWith = new Map<number, number[]>();
  cols.forEach((block, col) => {
    for (const id of block.distinct) {
      const list = colsWith.get(id);
      if (list) list.push(col);
      else colsWith.set(id, [col]);
    }
  });
  rows.forEach((queries, row) => {
    const single = queries.distinct.size === 1;
    for (const id of queries.distinct) {
      for (const col of colsWith.get(id) ?? []) {
        const keys = cols[col];
        if (single && keys.distinct.size === 1) {
          grid.set(sequence, row, col, kFull);
          continue;
        }
        const key = `${queries.pattern};${keys.pattern}`;
        const cell = grid.cellByKey(row, col, key, (bits) => {
          const rowBits = bitsById(keys.ids, words);
          queries.ids.forEach((id: number, i: number) => {
            const own = rowBits.get(id);
            if (own) bits.set(own, i * words);
          });
        });
        grid.set(sequence, row, col, cell);
      }
    }
  });
}

/** The ids of one block of positions. */
interface Block {
  readonly ids: DocumentIds;
  readonly distinct: ReadonlySet<number>;
  /** The same number for the same ids. */
  readonly pattern: number;
}

function blocksOf(ids: DocumentIds, size: number, interner: Map<string, number>): Block[] {
  const blocks: Block[] = [];
  for (let begin = 0; begin < ids.length; begin += size) {
    const own = ids.slice(begin, begin + size);
    const text = own.join();
    const pattern = interner.get(text) ?? interner.size;
    interner.set(text, pattern);
    blocks.push({ ids: own, distinct: new Set<number>(own), pattern });
  }
  return blocks;
}

/** For each id, the row of bits whose keys have it. */
function bitsById(ids: DocumentIds, words: number): Map<number, Int32Array> {
  const result = new Map<number, Int32Array>();
  ids.forEach((id: number, t: number) => {
    const bits = result.get(id) ?? new Int32Array(words);
    bits[t >> 5] |= 1 << (t & 31);
    result.set(id, bits);
  });
  return result;
}

function isPair(ids: object): ids is DocumentPair {
  const plain = typeof ids === 'object' && ids !== null && !isList(ids);
  if (plain) checkOptions(ids, pairKeys, 'ids');
  return plain;
}

function isList(value: unknown): value is DocumentIds | readonly DocumentIds[] {
  return Array.isArray(value) || ArrayBuffer.isView(value);
}

/** One list of ids per sequence, all of one length. */
function checkBatch(value: unknown, argument: string): readonly DocumentIds[] {
  if (!isList(value)) fail('ERR_TYPE', argument, 'a list of document ids', show(value));
  const batched = Array.isArray(value) && isList(value[0]);
  const lists = (batched ? value : [value]) as DocumentIds[];
  lists.forEach((list, sequence) => {
    const name = batched ? `${argument}[${sequence}]` : argument;
    if (!isList(list)) fail('ERR_TYPE', name, 'a list of document ids', show(list));
    if (list.length !== lists[0]?.length) {
      fail('ERR_SHAPE', name, `${lists[0]?.length} ids long`, `${list.length} ids`);
    }
    for (let i = 0; i < list.length; i++) {
      if (!Number.isSafeInteger(list[i])) {
        fail('ERR_TYPE', `${name}[${i}]`, 'an integer', show(list[i]));
      }
    }
  });
  return lists;
}
