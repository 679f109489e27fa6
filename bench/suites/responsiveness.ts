import { setTimeout as sleep } from 'node:timers/promises';
import { flashAttention, randn } from '../../lib/index.js';
import type { Context } from '../context.js';
import { disposeInputs, randomInputs } from '../inputs.js';
import { multiHeadAttention } from '../peers/onnx-graphs.js';
import { groupsOf } from '../report/figures.js';
import { durationChart } from '../report/row-charts.js';
import { ours, type Row } from '../row.js';
import type { AttentionShape } from '../shape.js';
import { type Spread, spreadOf } from '../spread.js';
import type { BenchCase, Suite } from '../suite.js';

const wantedSeconds = 2;
const periodMs = 1;
const small: AttentionShape = {
  batch: 1,
  heads: 16,
  kvHeads: 16,
  seqlenQ: 2048,
  seqlenK: 2048,
  headDim: 64,
  causal: false,
};

/** How late, in seconds, the ticks of a 1 ms timer came while `work` ran. */
async function latenessDuring(work: () => Promise<unknown>): Promise<Spread> {
  const lateness: number[] = [];
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    lateness.push(Math.max(0, now - last - periodMs) / 1000);
    last = now;
  }, periodMs);
  await work();
  // A blocked timer shows only once it ticks again.
  await sleep(5 * periodMs);
  clearInterval(timer);
  return spreadOf(lateness);
}

/** How long a short call takes beside a long one, by its priority. */
async function shortCalls(long: AttentionShape): Promise<Row[]> {
  const inputs = randomInputs(long, 'bshd');
  const short = randn([1, 1, 1, 64], { seed: 1n, device: 'cpu' });
  const rows: Row[] = [];
  for (const priority of ['normal', 'high'] as const) {
    const busy = flashAttention(inputs.q, inputs.k, inputs.v);
    let done = false;
    const ended = busy.data().then(() => {
      done = true;
    });
    await sleep(50);
    const times: number[] = [];
    while (!done) {
      const begin = performance.now();
      const out = flashAttention(short, short, short, { priority });
      await out.data();
      times.push((performance.now() - begin) / 1000);
      out.dispose();
      await sleep(1); // what runs at once leaves the long call's end no turn of the event loop
    }
    await ended;
    busy.dispose();
    rows.push({
      suite: 'responsiveness',
      group: `a call of 1 x 1 x 1 x 64 during a call of ${wantedSeconds} s`,
      x: 1,
      who: `${ours}: priority '${priority}'`,
      time: spreadOf(times),
    });
  }
  short.dispose();
  disposeInputs(inputs);
  return rows;
}

async function run({ onnxRuntime }: Context): Promise<Row[]> {
  const rows: Row[] = [];
  const add = (who: string, lateness: Spread) =>
    rows.push({
      suite: 'responsiveness',
      group: `a 1 ms timer during a call of ${wantedSeconds} s`,
      x: wantedSeconds,
      who,
      lateness,
    });
  add('no call: the timer alone', await latenessDuring(() => sleep(wantedSeconds * 1000)));

  const attend = async (shape: AttentionShape): Promise<Spread & { seconds: number }> => {
    const inputs = randomInputs(shape, 'bshd');
    let seconds = 0;
    const lateness = await latenessDuring(async () => {
      const begin = performance.now();
      const out = flashAttention(inputs.q, inputs.k, inputs.v);
      await out.data();
      seconds = (performance.now() - begin) / 1000;
      out.dispose();
    });
    disposeInputs(inputs);
    return { ...lateness, seconds };
  };
  await attend(small);
  const { seconds } = await attend(small);
  const long = { ...small, batch: Math.ceil(wantedSeconds / seconds) };
  add(ours, await attend(long));
  rows.push(...(await shortCalls(long)));

  if (onnxRuntime) {
    const floats = () => new Float32Array(long.batch * 2048 * 16 * 64).fill(0.1);
    const arrays = { q: floats(), k: floats(), v: floats() };
    const { graph, feeds } = multiHeadAttention(long, arrays);
    const model = await onnxRuntime.load(graph, feeds);
    add('onnxruntime MultiHeadAttention', await latenessDuring(() => model.run()));
    await model.dispose();
  }
  return rows;
}

export const suite: Suite = {
  name: 'responsiveness',
  summary: 'a 1 ms timer and short calls of either priority beside a call of 2 s',
  rank: 6,
  section: {
    title: 'The event loop',
    words: 'A call runs on threads of its own, so timers go on ticking. The bars are logarithmic.',
    charts: (rows) => groupsOf(rows).map(([name, group]) => durationChart(name, group)),
  },
  cases: (): BenchCase[] => [{ label: 'responsiveness', run }],
};
