// The tiles of one kv head that a kernel visits, from the same rule by which explain() counts them.
import type { Plan } from '../../lib/native/plan.js';
import { range } from '../../lib/reference/layout.js';
import type { CallShape } from './call.js';

export type TileState = 'full' | 'partial' | 'skipped';

export interface CallGrid {
  /** Tiles of rows: a query has as many rows as heads are packed. */
  readonly rows: number;
  /** Tiles of keys. */
  readonly cols: number;
  /** How often the grid is repeated: batch times heads, packed heads counting once. */
  readonly planes: number;
  state(row: number, col: number): TileState;
  /** Tiles over all planes. */
  readonly counts: Readonly<Record<TileState, number>>;
  /** The columns at which the splits of a row of tiles begin. */
  splitsOf(row: number): readonly number[];
}

/** The keys that one query sees by causality and window: from `begin` on, before `end`. */
function seen(
  { seqlenQ, seqlenK, window }: CallShape,
  query: number,
): [begin: number, end: number] {
  const position = query + seqlenK - seqlenQ;
  return [
    Math.max(0, position - window[0]),
    Math.min(seqlenK, Math.max(0, position + window[1] + 1)),
  ];
}

/** The most tiles of one kv head that are drawn. */
export const maxTiles = 2 ** 24;

/** Rows of tiles: each block of rows begins one. */
function rowsOfTiles({ tileQ, blockRows }: Plan, rows: number): number {
  const rest = Math.ceil((rows % blockRows) / tileQ);
  return Math.floor(rows / blockRows) * Math.ceil(blockRows / tileQ) + rest;
}

/** How many tiles one kv head has. */
export function countTiles(plan: Plan, shape: CallShape): number {
  const rows = rowsOfTiles(plan, shape.seqlenQ * plan.packedHeads);
  return rows * Math.ceil(shape.seqlenK / plan.tileK);
}

export function gridOf(plan: Plan, shape: CallShape): CallGrid {
  const { tileQ, tileK, blockRows, packedHeads, numSplits } = plan;
  const { seqlenQ, seqlenK, sinkTokens } = shape;
  const allRows = seqlenQ * packedHeads;
  const rows = rowsOfTiles(plan, allRows);
  const ofBlock = Math.ceil(blockRows / tileQ);
  const cols = Math.ceil(seqlenK / tileK);
  const planes = (shape.batch * shape.heads) / packedHeads;

  const queriesOf = (row: number): [number, number] => {
    const block = Math.floor(row / ofBlock) * blockRows;
    const begin = block + (row % ofBlock) * tileQ;
    const end = Math.min(allRows, block + blockRows, begin + tileQ);
    return [Math.floor(begin / packedHeads), Math.floor((end - 1) / packedHeads)];
  };

  // Of each row of tiles, what its first and its last query see.
  const bounds = new Float64Array(rows * 4);
  for (let row = 0; row < rows; row++) {
    const [first, last] = queriesOf(row);
    bounds.set([...seen(shape, first), ...seen(shape, last)], row * 4);
  }

  const state = (row: number, col: number): TileState => {
    const firstBegin = bounds[row * 4];
    const firstEnd = bounds[row * 4 + 1];
    const lastBegin = bounds[row * 4 + 2];
    const lastEnd = bounds[row * 4 + 3];
    const j0 = col * tileK;
    const j1 = Math.min(j0 + tileK, seqlenK);
    if (j0 >= lastEnd || (j1 <= firstBegin && j0 >= sinkTokens)) return 'skipped';
    return j1 <= firstEnd && (j0 >= lastBegin || j1 <= sinkTokens) ? 'full' : 'partial';
  };

  const counts = { full: 0, partial: 0, skipped: 0 };
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) counts[state(row, col)] += planes;
  }

  // On the CPU the splits are of all tiles, on a GPU of those that a row of tiles sees.
  const tilesSeen = (row: number): [begin: number, end: number] => {
    if (plan.device === 'cpu') return [0, cols];
    const begin = sinkTokens > 0 ? 0 : Math.floor(bounds[row * 4] / tileK);
    return [begin, Math.max(begin, Math.ceil(bounds[row * 4 + 3] / tileK))];
  };
  const splitsOf = (row: number): number[] => {
    const [begin, end] = tilesSeen(row);
    const count = end - begin;
    const parts = Math.min(numSplits, count);
    return range(parts).map((split) => begin + Math.floor((count * split) / parts));
  };
  return { rows, cols, planes, state, counts, splitsOf };
}
