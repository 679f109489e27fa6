// The few figures a reader takes away, each straight from a row.
import { isOnnxRuntime, isOurs, ours, type Row } from '../row.js';
import { medianOf } from '../spread.js';
import { beyond, shareOf, slowdownOf } from './figures.js';
import { showBytes, showFactor, showLength, showPercent, showTime } from './units.js';

export interface Headline {
  readonly figure: string;
  readonly meaning: string;
}

/** Speed-up over the fastest onnxruntime operator at each point; the median of those. */
function speedup(rows: readonly Row[]): number | undefined {
  const points = new Map<string, number>();
  for (const row of rows.filter(isOnnxRuntime)) {
    const slowdown = slowdownOf(rows, row);
    const key = `${row.group} ${row.x}`;
    if (slowdown !== undefined) points.set(key, Math.min(points.get(key) ?? Infinity, slowdown));
  }
  return points.size > 0 ? medianOf([...points.values()]) : undefined;
}

export function headlinesOf(rows: readonly Row[]): Headline[] {
  const found: Headline[] = [];
  const add = (figure: string, meaning: string) => found.push({ figure, meaning });
  const of = (suite: string) => rows.filter((row) => row.suite === suite);
  for (const kind of ['full', 'causal']) {
    const rows = of('forward').filter(({ group }) => group.startsWith(kind));
    const shares = rows.filter(({ who }) => who === `${ours} float32`).map(shareOf);
    const known = shares.filter((share) => share !== undefined);
    if (known.length > 0) {
      add(showPercent(medianOf(known)), `of this machine's FMA peak, ${kind}, float32 (median)`);
    }
    const factor = speedup(rows);
    if (factor !== undefined) {
      add(showFactor(factor), `as fast as the best onnxruntime operator, ${kind} (median)`);
    }
  }
  for (const kind of ['full', 'causal']) {
    const own = of('backward').filter(
      ({ group, who }) => group.startsWith(kind) && who === `${ours} float32`,
    );
    const shares = own.map(shareOf).filter((share) => share !== undefined);
    if (shares.length > 0) {
      add(showPercent(medianOf(shares)), `of that peak, gradients, ${kind}, float32 (median)`);
    }
  }
  const decoding = speedup(of('decode'));
  if (decoding !== undefined) {
    add(showFactor(decoding), 'as fast as the best onnxruntime graph at decoding (median)');
  }
  const [longest] = of('memory')
    .filter(isOurs)
    .sort((a, b) => b.x - a.x);
  if (longest) {
    const meaning = `of memory beyond inputs and output at ${showLength(longest.x)} keys`;
    add(showBytes(Math.max(beyond(longest) ?? 0, 0)), meaning);
  }
  const enqueue = of('overhead').find(({ who }) => who.includes('in a row'));
  if (enqueue?.time) add(showTime(enqueue.time.median), 'to enqueue a call');
  const calm = of('responsiveness').find(isOurs);
  if (calm?.lateness) {
    add(showTime(calm.lateness.max), 'at most: delay of a 1 ms timer during a 2 s call');
  }
  return found;
}
