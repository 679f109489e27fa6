// What rows say, derived in one place for tables and charts alike.
import { isOurs, ours, type Row } from '../row.js';

/** Operations or bytes per second, by what bounds the row. */
export function rateOf(row: Row): { perSecond: number; unit: 'FLOP' | 'B' } | undefined {
  if (row.rate) return row.rate;
  if (!row.time) return undefined;
  const { median } = row.time;
  if (row.limit?.kind === 'read' || row.flops === undefined) {
    return row.bytes === undefined ? undefined : { perSecond: row.bytes / median, unit: 'B' };
  }
  return { perSecond: row.flops / median, unit: 'FLOP' };
}

/** Share of the limit that the row reaches. */
export function shareOf(row: Row): number | undefined {
  const rate = rateOf(row);
  return row.limit && rate ? rate.perSecond / row.limit.perSecond : undefined;
}

/** Our row that others at the same point are held against: float32, in the usual order of axes. */
function ownAt(rows: readonly Row[], { group, x }: Row): Row | undefined {
  return rows.find((row) => row.group === group && row.x === x && row.who === `${ours} float32`);
}

/** How many times longer `row` takes than our own row beside it: from pairs, where there are. */
export function slowdownOf(rows: readonly Row[], row: Row): number | undefined {
  if (row.toOurs) return row.toOurs.median;
  const own = ownAt(rows, row);
  return own?.time && row.time && !isOurs(row) ? row.time.median / own.time.median : undefined;
}

/** Distinct values in order of appearance. */
export const distinct = <T>(values: Iterable<T>): T[] => [...new Set(values)];

export const groupsOf = <R extends Pick<Row, 'group'>>(
  rows: readonly R[],
): [name: string, rows: R[]][] =>
  distinct(rows.map(({ group }) => group)).map((name) => [
    name,
    rows.filter(({ group }) => group === name),
  ]);

/** Bytes beyond inputs and output. */
export const beyond = (row: Row): number | undefined =>
  row.peakMemory === undefined ? undefined : row.peakMemory - (row.inherentMemory ?? 0);
