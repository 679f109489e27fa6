import { freemem } from 'node:os';
import { randn } from '../../lib/index.js';
import {
  backwardInputs,
  backwardNumbers,
  disposeBackwardInputs,
  flashBackwardEntrant,
} from '../backward-contestants.js';
import { dtypeSize, javascriptEntrant, standardEntrant, type Work } from '../contestants.js';
import type { Context, FloatDType } from '../context.js';
import { compete, type Entrant } from '../entrant.js';
import { GradientOracle, type Gradients } from '../gradient-oracle.js';
import { converted, randomInputs, relaid } from '../inputs.js';
import { type MemoryContestant, measureMemory } from '../memory.js';
import { naiveAttentionBackward } from '../peers/javascript.js';
import { nativeStandardBackward } from '../peers/standard.js';
import { groupsOf } from '../report/figures.js';
import { memoryChart, speedupChart, timeAndShare } from '../report/row-charts.js';
import { isStandard, type Row } from '../row.js';
import { type AttentionShape, backwardFlopsOf, inherentBackwardBytes } from '../shape.js';
import type { BenchCase, Suite } from '../suite.js';

/** A longer one would need gigabytes for standard attention's three N x N matrices a head. */
const longestQuadratic = 4096;
/** A gigaflop takes JavaScript a second. */
const mostJavascriptFlops = 6e9;

interface Series {
  readonly causal: boolean;
  readonly headDim: number;
}

const groupOf = ({ causal, headDim }: Series): string =>
  `${causal ? 'causal' : 'full'}, head dim ${headDim}`;

const shapeOf = ({ causal, headDim }: Series, seqlen: number): AttentionShape => ({
  batch: 1,
  heads: 16,
  kvHeads: 16,
  seqlenQ: seqlen,
  seqlenK: seqlen,
  headDim,
  causal,
});

async function entrantsOf(
  { choice, limits }: Context,
  shape: AttentionShape,
): Promise<{ entrants: Entrant<Gradients>[]; oracle: GradientOracle }> {
  const { heads, seqlenQ, headDim } = shape;
  const flops = backwardFlopsOf(shape);
  const work = (dtype: FloatDType): Work => ({
    flops,
    bytes: inherentBackwardBytes(shape, dtypeSize[dtype]),
    limit: { kind: limits.arithmetic(dtype) },
  });
  const inputs = randomInputs(shape, 'bshd');
  const dOut = randn([1, seqlenQ, heads, headDim], { seed: 4n, device: 'cpu' });
  const entrants = choice.dtypes.map((dtype) =>
    flashBackwardEntrant(
      shape,
      backwardInputs(shape, converted(inputs, dtype), dOut),
      work(dtype),
      choice,
    ),
  );
  const swapped = dOut.transpose(0, 2, 1, 3);
  const forward = {
    bshd: backwardInputs(shape, inputs, dOut),
    bhsd: backwardInputs(shape, relaid(inputs), swapped),
  };
  const oracle = new GradientOracle(shape, await backwardNumbers(forward.bshd));
  if (choice.peers) {
    const numbers = await backwardNumbers(forward.bhsd);
    if (shape.seqlenK <= longestQuadratic) {
      const run = nativeStandardBackward(shape, numbers, limits.threads);
      entrants.push(standardEntrant(run, work('float32')));
    }
    if (flops <= mostJavascriptFlops) {
      const run = () => naiveAttentionBackward(shape, numbers);
      entrants.push(javascriptEntrant(run, work('float32')));
    }
  }
  disposeBackwardInputs(forward.bshd);
  disposeBackwardInputs(forward.bhsd);
  for (const tensor of [dOut, swapped]) tensor.dispose();
  return { entrants, oracle };
}

async function time(context: Context, series: Series, seqlen: number): Promise<Row[]> {
  const { entrants, oracle } = await entrantsOf(context, shapeOf(series, seqlen));
  const where = { suite: 'backward', group: groupOf(series), x: seqlen, oracle };
  return compete(context, where, entrants);
}

async function memory({ choice, limits }: Context, series: Series, seqlen: number) {
  const shape = shapeOf(series, seqlen);
  const matrices = 3 * 4 * shape.heads * seqlen ** 2;
  const contestants: MemoryContestant[] = ['flash-attention'];
  if (choice.peers && matrices < 0.6 * freemem()) contestants.push('standard');
  const rows: Row[] = [];
  for (const contestant of contestants) {
    const { who, peakMemory } = await measureMemory(contestant, 'backward', shape, limits.threads);
    rows.push({
      suite: 'backward',
      group: `memory, ${groupOf(series)}`,
      x: seqlen,
      who,
      peakMemory,
      inherentMemory: inherentBackwardBytes(shape, 4),
    });
  }
  return rows;
}

function casesOf({ seqlens, headDims, quick }: Context['choice']): BenchCase[] {
  const timed = [false, true].flatMap((causal) =>
    (headDims ?? [64, 128]).flatMap((headDim) =>
      (seqlens ?? (quick ? [512, 1024] : [1024, 2048])).map((seqlen) => ({
        label: `backward: ${groupOf({ causal, headDim })}, seqlen ${seqlen}`,
        run: (context: Context) => time(context, { causal, headDim }, seqlen),
      })),
    ),
  );
  const series: Series = { causal: true, headDim: headDims?.[0] ?? 64 };
  const weighed = (seqlens ?? (quick ? [512, 1024] : [1024, 2048, 4096, 8192])).map((seqlen) => ({
    label: `backward: memory, ${groupOf(series)}, seqlen ${seqlen}`,
    run: (context: Context) => memory(context, series, seqlen),
  }));
  return [...timed, ...weighed];
}

export const suite: Suite = {
  name: 'backward',
  summary: 'gradients by recomputation, full and causal, 2.5 times the operations of forward',
  rank: 2,
  section: {
    title: 'Gradients',
    words:
      'dQ, dK and dV from q, k, v, out, lse and dOut: five products where the forward pass has two, ' +
      'so 2.5 times its operations. Standard attention computes the same with three N x N matrices ' +
      'a head in memory.',
    charts: (rows) => [
      ...groupsOf(rows).flatMap(([name, group]) =>
        group.some(({ peakMemory }) => peakMemory !== undefined)
          ? [memoryChart(name, group)]
          : timeAndShare(group),
      ),
      speedupChart('Over standard attention, same micro-kernels', rows, isStandard),
    ],
  },
  cases: ({ choice }) => casesOf(choice),
};
