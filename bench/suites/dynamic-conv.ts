import { dynamicConv, flashAttention, randn, type Tensor } from '../../lib/index.js';
import { dynamicConvolution } from '../../lib/reference/index.js';
import type { Context, FloatDType } from '../context.js';
import { disposeInputs, randomInputs } from '../inputs.js';
import { alternate, type Contestant } from '../measure.js';
import { groupsOf } from '../report/figures.js';
import { timeChart } from '../report/row-charts.js';
import { ours, type Row } from '../row.js';
import { flopsOf } from '../shape.js';
import type { BenchCase, Suite } from '../suite.js';

const model = { batch: 1, heads: 16, kvHeads: 16, headDim: 64 } as const;
const { heads, headDim } = model;
const kernelSizes = [7, 31] as const;
/** Tokens at the end of a sequence that are compared with float64 before anything is timed. */
const checked = 8;
const tolerance: Readonly<Record<FloatDType, number>> = {
  float32: 1e-5,
  float16: 2e-3,
  bfloat16: 2e-2,
};

interface Entrant extends Contestant {
  readonly flops: number;
  readonly error?: number;
}

/** How far the last tokens are from float64. */
async function deviation(x: Tensor, weights: Tensor, out: Tensor): Promise<number> {
  const [seqlen, kernelSize] = [x.shape[1], weights.shape[3]];
  const end = (of: Tensor, rows: number) => of.slice(null, [seqlen - rows, seqlen]).toFloat32();
  const inputs = await end(x, checked + kernelSize - 1);
  const before = (kernelSize - 1) * heads * headDim;
  const truth = dynamicConvolution({
    shape: { batch: 1, seqlen: checked, heads, headDim, kernelSize },
    x: inputs.subarray(before),
    weights: await end(weights, checked),
    state: inputs.subarray(0, before),
  }).out;
  const given = await end(out, checked);
  return truth.reduce((most, value, n) => Math.max(most, Math.abs(value - given[n])), 0);
}

/** A contestant whose call waits for one tensor. */
async function finish(out: Tensor): Promise<void> {
  await out.take();
  out.dispose();
}

async function compete(
  context: Context,
  where: { group: string; x: number },
  entrants: readonly Entrant[],
): Promise<Row[]> {
  const { times, disturbances } = await alternate(entrants, [], context.pace);
  return entrants.map(({ name, flops, error }) => ({
    suite: 'dynamic-conv',
    ...where,
    who: name,
    time: times.get(name),
    flops,
    error,
    disturbance: disturbances.get(name),
  }));
}

const convFlops = (seqlen: number, kernelSize: number) => 2 * seqlen * heads * headDim * kernelSize;

async function whole(context: Context, seqlen: number): Promise<Row[]> {
  const shape = { ...model, seqlenQ: seqlen, seqlenK: seqlen, causal: true };
  const inputs = randomInputs(shape, 'bshd');
  const { q, k, v } = inputs;
  const made: Tensor[] = [];
  const entrants: Entrant[] = [
    {
      name: `${ours} causal attention, float32`,
      flops: flopsOf(shape),
      call: () => finish(flashAttention(q, k, v, { causal: true })),
    },
  ];
  for (const dtype of context.choice.dtypes) {
    for (const kernelSize of kernelSizes) {
      const x = v.to(dtype);
      const weights = randn([1, seqlen, heads, kernelSize], { seed: 4n, dtype, device: 'cpu' });
      made.push(x, weights);
      const name = `${ours} dynamicConv ${kernelSize}, ${dtype}`;
      const error = await deviation(x, weights, dynamicConv(x, weights));
      if (!(error <= tolerance[dtype])) throw new Error(`${name} is off by ${error} at ${seqlen}`);
      const call = () => finish(dynamicConv(x, weights));
      entrants.push({ name, flops: convFlops(seqlen, kernelSize), error, call });
    }
  }
  const rows = await compete(context, { group: 'a whole sequence', x: seqlen }, entrants);
  disposeInputs(inputs);
  for (const tensor of made) tensor.dispose();
  return rows;
}

/** The token that comes after so many. */
async function step(context: Context, seqlen: number): Promise<Row[]> {
  const shape = { ...model, seqlenQ: 1, seqlenK: seqlen, causal: false };
  const inputs = randomInputs(shape, 'bshd');
  const { q, k, v } = inputs;
  const made: Tensor[] = [];
  const entrants: Entrant[] = [
    {
      name: `${ours} attention, float32`,
      flops: flopsOf(shape),
      call: () => finish(flashAttention(q, k, v)),
    },
  ];
  for (const kernelSize of kernelSizes) {
    const weights = randn([1, 1, heads, kernelSize], { seed: 4n, device: 'cpu' });
    const state = v.slice(null, [seqlen - kernelSize + 1, seqlen]);
    made.push(weights);
    const call = async () => {
      const next = dynamicConv(q, weights, { state, returnState: true });
      await finish(next.out);
      next.state.dispose();
    };
    const name = `${ours} dynamicConv ${kernelSize}, float32`;
    entrants.push({ name, flops: convFlops(1, kernelSize), call });
  }
  const rows = await compete(context, { group: 'one token after so many', x: seqlen }, entrants);
  disposeInputs(inputs);
  for (const tensor of made) tensor.dispose();
  return rows;
}

/** The tokens that are compared, and those before them that they see. */
const shortest = checked + Math.max(...kernelSizes) - 1;

function lengthsOf({ seqlens, quick }: Context['choice']): readonly number[] {
  const short = seqlens?.find((seqlen) => seqlen < shortest);
  if (short !== undefined)
    throw new Error(`dynamic-conv takes --seqlens of at least ${shortest}, not ${short}`);
  return seqlens ?? (quick ? [256, 1024] : [512, 1024, 2048, 4096, 8192]);
}

export const suite: Suite = {
  name: 'dynamic-conv',
  summary: 'dynamic convolutions beside attention at equal length: 16 heads, head dim 64',
  rank: 8,
  section: {
    title: 'Dynamic convolution beside attention',
    words:
      'What a layer costs that sees the last 7 or 31 tokens, with weights that each token brings, ' +
      'beside one that sees all of them and weighs them by what they hold. The matrix product that ' +
      'makes the weights is not in it, nor are those that make q, k and v.',
    charts: (rows) => groupsOf(rows).map(([name, group]) => timeChart(name, group)),
  },
  cases({ choice }): BenchCase[] {
    return lengthsOf(choice).flatMap((seqlen) => [
      {
        label: `dynamic-conv: ${seqlen} tokens`,
        run: (context: Context) => whole(context, seqlen),
      },
      {
        label: `dynamic-conv: one token after ${seqlen}`,
        run: (context: Context) => step(context, seqlen),
      },
    ]);
  },
};
