// The numbers behind the strips of the picture.
import type { Run } from '../model/algorithms.js';
import type { MachineState } from '../model/replay.js';

type Row = Float64Array | number | undefined;

/** Row r of the named data, as far as it is known. */
export function rowOf(run: Run, state: MachineState, name: string, r: number): Row {
  const { shape, q, k, v } = run.problem;
  const { heads, headDim: d } = shape;
  const ofQueries = (data: Float64Array) => {
    const start = (r * heads + state.head) * d;
    return data.subarray(start, start + d);
  };
  switch (name) {
    case 'Q':
      return ofQueries(q as Float64Array);
    case 'dO':
      return ofQueries(run.dOut as Float64Array);
    case 'K':
    case 'V':
      return ((name === 'K' ? k : v) as Float64Array).subarray(r * d, (r + 1) * d);
    default:
      return state.results.get(name)?.[r];
  }
}

/** Data that comes from outside, and is all there from the start. */
export const isInput = (name: string): boolean => ['Q', 'K', 'V', 'dO'].includes(name);

/** The least and the largest finite number of all rows. */
export function rangeOf(rows: readonly Row[]): readonly [least: number, largest: number] {
  let least = Infinity;
  let largest = -Infinity;
  for (const row of rows) {
    for (const x of typeof row === 'number' ? [row] : (row ?? [])) {
      if (!Number.isFinite(x)) continue;
      least = Math.min(least, x);
      largest = Math.max(largest, x);
    }
  }
  return [least, largest];
}
