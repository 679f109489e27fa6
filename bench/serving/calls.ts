// What calls cost beside attention's arithmetic.
import { randn, synchronize } from '../../lib/index.js';
import type { Context } from '../context.js';
import { deviations } from '../entrant.js';
import { ours, type Row } from '../row.js';
import { spreadOf } from '../spread.js';
import { cacheDTypes, cacheFor, disposeRows, fill, model, rowAt, rowsOf } from './filled-cache.js';
import { TokensOracle } from './tokens-oracle.js';

const seconds = (since: number): number => (performance.now() - since) / 1000;

/** What JavaScript and checks cost, apart from any attention. */
export async function tables(context: Context): Promise<Row[]> {
  const { quick } = context.choice;
  const [count, tokens] = quick ? [16, 2048] : [64, 16384];
  const tiny = { layers: 1, kvHeads: 1, headDim: 8, dtype: 'float32' as const };
  const cache = cacheFor(count * (tokens + 16), tiny);
  const sequences = Array.from({ length: count }, () => cache.createSequence());
  fill(cache, sequences, tokens - 1, tiny);
  const rows = rowsOf(count, 'float32', { heads: 1, ...tiny });
  const times: [step: number, commit: number][] = [];
  for (let n = 0; n < (quick ? 20 : 200); n++) {
    const begin = performance.now();
    const step = cache.step(sequences.map((sequence) => ({ sequence, tokens: 1 })));
    const opened = seconds(begin);
    step.attention(0, rows.q, rows.k, rows.v, { window: [0, 0] }).dispose();
    await synchronize('cpu');
    const ending = performance.now();
    step.commit();
    times.push([opened, seconds(ending)]);
    for (const sequence of sequences) sequence.truncate(tokens - 1);
  }
  disposeRows(rows);
  cache.dispose();
  const row = (who: string, values: number[]): Row => ({
    suite: 'serving',
    group: `tables of ${count} sequences of ${tokens} tokens`,
    x: count,
    who: `${ours}: ${who}`,
    time: spreadOf(values),
  });
  return [
    row(
      'step()',
      times.map(([step]) => step),
    ),
    row(
      'commit()',
      times.map(([, commit]) => commit),
    ),
  ];
}

/** What a layer of one token costs beside its arithmetic: its one key is its own. */
export async function layerCalls(context: Context): Promise<Row[]> {
  const count = 32;
  const [dtype] = cacheDTypes;
  const cache = cacheFor(16, { layers: count, dtype });
  const sequence = cache.createSequence();
  const rows = rowsOf(1, dtype);
  const [q, k, v] = await Promise.all([rows.q, rows.k, rows.v].map((each) => each.toFloat32()));
  const [cos, sin] = [1n, 2n].map((seed) =>
    randn([16, model.headDim / 2], { seed, device: 'cpu' }),
  );
  const options = { rotary: { cos, sin } };
  // Of one key there is nothing but its value, whatever was rotated.
  const oracle = new TokensOracle(q, () => ({
    keys: 1,
    rowsOf: (_, head) => rowAt({ k, v }, 0, head),
  }));
  /** Seconds of a call, and what the last one gave. */
  type Calls = { readonly time: number; readonly out: Float32Array };
  const enqueue = async (): Promise<Calls> => {
    using step = cache.step([{ sequence, tokens: 1 }]);
    const begin = performance.now();
    const outs = Array.from({ length: count }, (_, layer) =>
      step.attention(layer, rows.q, rows.k, rows.v, options),
    );
    const time = seconds(begin) / count;
    const out = await outs[count - 1].toFloat32();
    for (const each of outs) each.dispose();
    return { time, out };
  };
  const inPlace = async (): Promise<Calls> => {
    using step = cache.step([{ sequence, tokens: 1 }]);
    let out = new Float32Array();
    const begin = performance.now();
    for (let layer = 0; layer < count; layer++) {
      out = step.attention(layer, q, k, v, { ...options, sync: true });
    }
    return { time: seconds(begin) / count, out };
  };
  const where = { group: 'a layer of one token over one key, rotated', x: 1 };
  const contestants = [
    { name: `${ours}: enqueue`, run: enqueue },
    { name: `${ours}: in place, numbers`, run: inPlace },
  ];
  const errors = await deviations(
    { ...where, oracle },
    contestants.map(({ name, run }) => ({
      name,
      dtype,
      layout: 'bshd',
      result: async () => (await run()).out,
    })),
  );
  const times = contestants.map((): number[] => []);
  for (let n = 0; n < (context.choice.quick ? 20 : 200); n++) {
    for (const [i, { run }] of contestants.entries()) times[i].push((await run()).time);
  }
  for (const each of [cos, sin]) each.dispose();
  disposeRows(rows);
  cache.dispose();
  return contestants.map(({ name }, i) => ({
    suite: 'serving',
    ...where,
    who: name,
    time: spreadOf(times[i]),
    error: errors.get(name),
  }));
}
