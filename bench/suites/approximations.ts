import { flashAttention, tensor } from '../../lib/index.js';
import {
  emptyLinearState,
  linearAttentionStep,
  linformer,
  type Numbers,
  performer,
  reformer,
  routingTransformer,
  standardAttention,
} from '../../lib/reference/index.js';
import type { Context } from '../context.js';
import { alternate, type Contestant } from '../measure.js';
import type { LineChart } from '../report/chart.js';
import { groupsOf } from '../report/figures.js';
import { seriesOf, timeChart } from '../report/row-charts.js';
import { showLength, showTime } from '../report/units.js';
import { ours, type Row } from '../row.js';
import type { BenchCase, Suite } from '../suite.js';

const headDim = 32;
/** What scores are multiplied by beside 1 / sqrt(headDim). */
const sharpness = { 'scores of size 1': 1, 'scores of size 4': 4 } as const;

/** Standard normal numbers in [N, headDim]: Box-Muller over a linear congruential generator. */
function normals(count: number, seed: number): Float64Array {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 1) / 2 ** 32;
  };
  return Float64Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(uniform()));
    return radius * Math.cos(2 * Math.PI * uniform());
  });
}

interface Entrant extends Contestant {
  readonly result: () => Promise<Numbers> | Numbers;
  /** What it approximates. */
  readonly truth: Float64Array;
}

/** The root mean square of the deviation, in units of that of the truth. */
function relativeError(given: Numbers, truth: Float64Array): number {
  let [off, size] = [0, 0];
  truth.forEach((value, n) => {
    off += (given[n] - value) ** 2;
    size += value ** 2;
  });
  return Math.sqrt(off / size);
}

function entrantsOf(seqlen: number, sharp: number): Entrant[] {
  const shape = { batch: 1, seqlenQ: seqlen, seqlenK: seqlen, heads: 1, headDim };
  const [q, k, v] = [1, 2, 3].map((seed) => normals(seqlen * headDim, seed));
  const scale = sharp / Math.sqrt(headDim);
  const problem = { shape, q, k, v, scale };
  const truth = standardAttention(problem).out;
  const of = (name: string, run: () => Numbers, against = truth): Entrant => {
    return { name, truth: against, result: run, call: async () => run() };
  };
  const row = (x: Float64Array, i: number) => x.subarray(i * headDim, (i + 1) * headDim);
  const recurrence = () => {
    const out = new Float64Array(v.length);
    let state = emptyLinearState(headDim, headDim);
    for (let i = 0; i < seqlen; i++) {
      const next = linearAttentionStep(state, row(q, i), row(k, i), row(v, i));
      out.set(next.out, i * headDim);
      state = next.state;
    }
    return out;
  };
  const tensors = [q, k, v].map((x) => tensor(x, [1, seqlen, 1, headDim], { device: 'cpu' }));
  const native = async () => {
    const [tq, tk, tv] = tensors;
    return flashAttention(tq, tk, tv, { scale }).toFloat32();
  };
  // A Reformer has no keys beside its queries, which are made unit vectors: sharper by that much.
  const shared = { ...problem, scale: sharp };
  const buckets = 2 * Math.max(1, Math.floor(seqlen / 64));
  const clusters = Math.max(2, Math.round(Math.sqrt(seqlen) / 4));
  return [
    { name: `${ours} float32, native`, truth, result: native, call: native },
    of('exact: standard attention', () => standardAttention(problem).out),
    of('Linformer, 64 keys', () => linformer(problem, { projectedLength: 64 })),
    of('Performer, 128 features', () => performer(problem, { features: 128 })),
    of(
      'linear attention, recurrent',
      recurrence,
      standardAttention({ ...problem, causal: true }).out,
    ),
    of(
      'Reformer, 4 rounds',
      () => reformer(shared, { buckets, rounds: 4 }),
      reformer(shared, { buckets: 1 }),
    ),
    of(`Routing Transformer`, () => routingTransformer(problem, { clusters })),
  ];
}

async function run(context: Context, seqlen: number, group: string, sharp: number): Promise<Row[]> {
  const entrants = entrantsOf(seqlen, sharp);
  const errors = new Map<string, number>();
  for (const { name, result, truth } of entrants) {
    errors.set(name, relativeError(await result(), truth));
  }
  const { times, disturbances } = await alternate(entrants, [], context.pace);
  return entrants.map(({ name }) => ({
    suite: 'approximations',
    group,
    x: seqlen,
    who: name,
    time: times.get(name),
    error: errors.get(name),
    disturbance: disturbances.get(name),
  }));
}

/** Without the decimals of a round number. */
const show = (seconds: number): string => showTime(seconds).replace(/\.0+ /, ' ');

/** Error over cost: a line per system, a point per length. Exact is the floor. */
function errorOverCost(name: string, rows: readonly Row[]): LineChart {
  const series = seriesOf(rows, ({ x, who, time, error = 0 }) => {
    if (!time) return undefined;
    const cost = showTime(time.median);
    const tip = `${who}\nseqlen ${showLength(x)}\n${cost}, error ${error.toPrecision(2)}`;
    return { x: time.median, y: error, tip };
  });
  const costs = series.flatMap(({ points }) => points.map(({ x }) => x));
  const decades = [-6, -5, -4, -3, -2, -1, 0, 1, 2].map((power) => 10 ** power);
  const inside = (tick: number) => tick >= Math.min(...costs) && tick <= Math.max(...costs);
  return {
    kind: 'lines',
    title: `${name}: error over cost, a point per length`,
    x: { label: 'median time of a call', scale: 'log', ticks: decades.filter(inside), show },
    y: { label: 'error, of the size of the result', scale: 'linear', show: (y) => y.toFixed(1) },
    series,
  };
}

const lengthsOf = ({ seqlens, quick }: Context['choice']): readonly number[] =>
  seqlens ?? (quick ? [128, 256] : [256, 512, 1024, 2048, 4096]);

export const suite: Suite = {
  name: 'approximations',
  summary: 'approximations of attention: error and cost over N, in TypeScript, one head of 32',
  rank: 9,
  section: {
    title: 'Approximations: the other road',
    words:
      'One head of 32 with normal q, k and v, which no model was trained on: each system as the ' +
      'reference has it, in TypeScript and float64, beside exact attention in the same language ' +
      'and beside the native one. The error is the root mean square of the deviation from exact ' +
      'attention, as a multiple of that of the result. Linear attention is held against causal ' +
      'attention, a Reformer against attention with keys that are its queries.',
    charts: (rows) =>
      groupsOf(rows).flatMap(([name, group]) => [
        errorOverCost(name, group),
        timeChart(name, group),
      ]),
  },
  cases({ choice }): BenchCase[] {
    return Object.entries(sharpness).flatMap(([group, sharp]) =>
      lengthsOf(choice).map((seqlen) => ({
        label: `approximations: ${group}, ${seqlen} tokens`,
        run: (context: Context) => run(context, seqlen, group, sharp),
      })),
    );
  },
};
