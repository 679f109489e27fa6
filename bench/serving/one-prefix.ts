import type { KvCache, Sequence } from '../../lib/serving/index.js';
import type { Context } from '../context.js';
import { ours, type Row } from '../row.js';
import {
  cacheDTypes,
  cacheFor,
  disposeRows,
  fill,
  filledNumbers,
  filledToken,
  rowAt,
  rowsOf,
} from './filled-cache.js';
import { numbersOf, race, stepContender } from './race.js';
import { TokensOracle } from './tokens-oracle.js';

const prefixKeys = (context: Context) => (context.choice.quick ? 2048 : 8192);
export const atOnce = (context: Context) => (context.choice.quick ? [8] : [1, 2, 4, 8, 16]);

/** Bytes of the pages that sequences hold, each page once. */
function heldBytes(cache: KvCache): number {
  const { used, pages, bytes } = cache.stats();
  return (bytes / pages) * used;
}

/** Decoding of many sequences that begin alike. */
export async function onePrefix(context: Context, count: number): Promise<Row[]> {
  const [dtype] = cacheDTypes;
  const keys = prefixKeys(context);
  const own = 32;
  const length = keys + own / 2;
  const cacheOf = (tokens: number) => cacheFor(tokens + count * own, { layers: 1, dtype });
  const grow = (cache: KvCache, all: readonly Sequence[]) => {
    fill(cache, all, length, { layers: 1, dtype });
    return all.map((sequence) => ({ sequence, tokens: 1 }));
  };
  const shared = cacheOf(keys);
  const root = shared.createSequence();
  fill(shared, [root], keys, { layers: 1, dtype });
  const forks = [root, ...Array.from({ length: count - 1 }, () => root.fork())];
  const together = grow(shared, forks);
  const separate = cacheOf(count * keys);
  const apart = grow(
    separate,
    Array.from({ length: count }, () => separate.createSequence()),
  );
  const rows = rowsOf(count, dtype);
  const filled = await filledNumbers(dtype);
  const [q, k, v] = await Promise.all([rows.q, rows.k, rows.v].map(numbersOf));
  const oracle = new TokensOracle(q, (token) => ({
    keys: length + 1,
    rowsOf: (key, head) =>
      key < length ? rowAt(filled, filledToken(key), head) : rowAt({ k, v }, token, head),
  }));
  const group = 'sequences on one prefix, decoding, a layer';
  const contestants = [
    stepContender(`${ours}: shared pages`, dtype, shared, together, 1, rows),
    stepContender(`${ours}: shared pages, read by each`, dtype, shared, together, 1, rows, {
      numSplits: 1,
    }),
    stepContender(`${ours}: pages of their own`, dtype, separate, apart, 1, rows),
  ];
  try {
    const where = { group: `${keys} keys: ${group}`, x: count };
    const timed = await race(context, where, oracle, contestants);
    const held = [shared, shared, separate].map(heldBytes);
    return timed.map((row, i) => ({ ...row, heldMemory: held[i] }));
  } finally {
    disposeRows(rows);
    shared.dispose();
    separate.dispose();
  }
}
