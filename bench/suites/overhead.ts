import { flashAttention, randn, synchronize, type Tensor, tensor } from '../../lib/index.js';
import type { Context } from '../context.js';
import { multiHeadAttention } from '../peers/onnx-graphs.js';
import { groupsOf } from '../report/figures.js';
import { durationChart } from '../report/row-charts.js';
import { ours, type Row } from '../row.js';
import type { AttentionShape } from '../shape.js';
import { spreadOf } from '../spread.js';
import type { BenchCase, Suite } from '../suite.js';

const tiny: AttentionShape = {
  batch: 1,
  heads: 1,
  kvHeads: 1,
  seqlenQ: 1,
  seqlenK: 1,
  headDim: 64,
  causal: false,
};
const callsAtOnce = 200;
const copiedMiB = 64;
const copiedBytes = copiedMiB * 2 ** 20;

const seconds = (since: number): number => (performance.now() - since) / 1000;

/** Times `run` again and again, after some that do not count. */
async function repeat(times: number, run: () => number | Promise<number>): Promise<number[]> {
  for (let i = 0; i < Math.ceil(times / 10); i++) await run();
  const measured: number[] = [];
  for (let i = 0; i < times; i++) measured.push(await run());
  return measured;
}

async function calls({ choice, onnxRuntime }: Context): Promise<Row[]> {
  const [q, k, v] = [1n, 2n, 3n].map((seed) => randn([1, 1, 1, 64], { seed, device: 'cpu' }));
  const batches = choice.quick ? 20 : 100;
  const row = (who: string, times: number[]): Row => ({
    suite: 'overhead',
    group: 'a call of 1 x 1 x 1 x 64',
    x: 1,
    who,
    time: spreadOf(times),
  });

  const rows = [
    row(
      `${ours}: enqueue, ${callsAtOnce} in a row`,
      await repeat(batches, async () => {
        const outs: Tensor[] = [];
        const begin = performance.now();
        for (let i = 0; i < callsAtOnce; i++) outs.push(flashAttention(q, k, v));
        const each = seconds(begin) / callsAtOnce;
        await synchronize('cpu');
        for (const out of outs) out.dispose();
        return each;
      }),
    ),
    row(
      `${ours}: enqueue, device idle`,
      await repeat(batches * 10, async () => {
        const begin = performance.now();
        const out = flashAttention(q, k, v);
        const taken = seconds(begin);
        await synchronize('cpu');
        out.dispose();
        return taken;
      }),
    ),
    row(
      `${ours}: call and result`,
      await repeat(batches * 10, async () => {
        const begin = performance.now();
        const out = flashAttention(q, k, v);
        await out.data();
        const taken = seconds(begin);
        out.dispose();
        return taken;
      }),
    ),
  ];
  if (onnxRuntime) {
    const arrays = { q: new Float32Array(64), k: new Float32Array(64), v: new Float32Array(64) };
    const { graph, feeds } = multiHeadAttention(tiny, arrays);
    const model = await onnxRuntime.load(graph, feeds);
    const times = await repeat(batches * 10, async () => {
      const begin = performance.now();
      await model.run();
      return seconds(begin);
    });
    rows.push(row('onnxruntime MultiHeadAttention: call and result', times));
    await model.dispose();
  }
  for (const input of [q, k, v]) input.dispose();
  return rows;
}

/** What it costs to bring numbers in and out. */
async function copies({ choice }: Context): Promise<Row[]> {
  const data = new Float32Array(copiedBytes / 4).fill(1);
  const times = choice.quick ? 3 : 15;
  const row = (who: string, measured: number[]): Row => ({
    suite: 'overhead',
    group: `copies of ${copiedMiB} MiB`,
    x: copiedMiB,
    who,
    time: spreadOf(measured),
    bytes: copiedBytes,
  });
  const source = tensor(data, [data.length], { device: 'cpu' });
  const rows = [
    row(
      `${ours}: tensor(), in`,
      await repeat(times, () => {
        const begin = performance.now();
        const copy = tensor(data, [data.length], { device: 'cpu' });
        const taken = seconds(begin);
        copy.dispose();
        return taken;
      }),
    ),
    row(
      `${ours}: data(), out`,
      await repeat(times, async () => {
        const begin = performance.now();
        await source.data();
        return seconds(begin);
      }),
    ),
  ];
  source.dispose();
  rows.push(
    row(
      `${ours}: take(), out`,
      await repeat(times, async () => {
        const once = tensor(data, [data.length], { device: 'cpu' });
        const begin = performance.now();
        await once.take();
        return seconds(begin);
      }),
    ),
  );
  return rows;
}

export const suite: Suite = {
  name: 'overhead',
  summary: 'what a call costs beyond its arithmetic, and copies in and out',
  rank: 5,
  section: {
    title: 'Overhead',
    words: 'What a call costs beyond its arithmetic. The bars are logarithmic.',
    charts: (rows) => groupsOf(rows).map(([name, group]) => durationChart(name, group)),
  },
  cases: (): BenchCase[] => [
    { label: 'overhead: calls', run: calls },
    { label: 'overhead: copies', run: copies },
  ],
};
