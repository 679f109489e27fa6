import {
  dtypeSize,
  flashEntrant,
  javascriptEntrant,
  ortEntrant,
  standardEntrant,
  type Work,
} from '../contestants.js';
import type { Context, FloatDType } from '../context.js';
import { compete, type Entrant } from '../entrant.js';
import { converted, disposeInputs, numbersOf, randomInputs, relaid } from '../inputs.js';
import { Oracle } from '../oracle.js';
import { naiveAttention } from '../peers/javascript.js';
import {
  groupQueryAttention,
  multiHeadAttention,
  onnxAttention,
  standardGraph,
} from '../peers/onnx-graphs.js';
import { nativeStandard } from '../peers/standard.js';
import { speedupChart, timeAndShare } from '../report/row-charts.js';
import { isOnnxRuntime, isStandard, type Row } from '../row.js';
import { type AttentionShape, flopsOf, inherentBytes } from '../shape.js';
import type { BenchCase, Suite } from '../suite.js';

/** Longer ones would need gigabytes for the matrices of the quadratic contestants. */
const longestQuadratic = 4096;
const longestJavascript = 512;

interface Series {
  readonly group: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal: boolean;
}

function seriesOf({ headDims = [64, 128] }: Context['choice']): Series[] {
  const plain = [false, true].flatMap((causal) =>
    headDims.map((headDim) => ({
      group: `${causal ? 'causal' : 'full'}, head dim ${headDim}`,
      heads: 16,
      kvHeads: 16,
      headDim,
      causal,
    })),
  );
  const grouped = { group: 'causal, 32 heads on 8, head dim 128', heads: 32, kvHeads: 8 };
  return [...plain, { ...grouped, headDim: 128, causal: true }];
}

function seqlensOf({ seqlens, quick }: Context['choice'], grouped: boolean): readonly number[] {
  if (seqlens) return seqlens;
  if (quick) return [512, 1024];
  return grouped ? [1024, 4096] : [512, 1024, 2048, 4096, 8192];
}

async function entrantsOf(
  context: Context,
  shape: AttentionShape,
): Promise<{ entrants: Entrant[]; oracle: Oracle }> {
  const { choice, limits, onnxRuntime } = context;
  const work = (dtype: FloatDType): Work => ({
    flops: flopsOf(shape),
    bytes: inherentBytes(shape, dtypeSize[dtype]),
    limit: { kind: limits.arithmetic(dtype) },
  });
  const inputs = randomInputs(shape, 'bshd');
  const numbers = await numbersOf(inputs);
  const entrants = choice.dtypes.map((dtype) =>
    flashEntrant(shape, converted(inputs, dtype), work(dtype), choice),
  );
  const isMultiHead = shape.heads === shape.kvHeads;
  const isShort = shape.seqlenK <= longestQuadratic;
  const add = async (...entrant: (Entrant | Promise<Entrant>)[]) => {
    entrants.push(...(await Promise.all(entrant)));
  };
  if (onnxRuntime) {
    const ort = (name: string, make: typeof onnxAttention) =>
      ortEntrant(name, onnxRuntime, make(shape, numbers), 'bshd', work('float32'));
    if (shape.causal) await add(ort('GroupQueryAttention', groupQueryAttention));
    else await add(ort('MultiHeadAttention', multiHeadAttention));
    if (isShort) await add(ort('Attention', onnxAttention));
  }
  if (isShort && isMultiHead && choice.peers) {
    const swapped = relaid(inputs);
    const bhsd = await numbersOf(swapped);
    disposeInputs(swapped);
    if (onnxRuntime && !shape.causal) {
      const problem = standardGraph(shape, bhsd);
      const name = 'MatMul, Softmax, MatMul';
      await add(ortEntrant(name, onnxRuntime, problem, 'bhsd', work('float32')));
    }
    const standard = nativeStandard(shape, bhsd, limits.threads);
    await add(standardEntrant(standard, work('float32')));
    if (shape.seqlenK <= longestJavascript)
      await add(javascriptEntrant(() => naiveAttention(shape, bhsd), work('float32')));
  }
  disposeInputs(inputs);
  return { entrants, oracle: new Oracle(shape, numbers) };
}

async function run(context: Context, series: Series, seqlen: number): Promise<Row[]> {
  const shape: AttentionShape = { ...series, batch: 1, seqlenQ: seqlen, seqlenK: seqlen };
  const { entrants, oracle } = await entrantsOf(context, shape);
  return compete(context, { suite: 'forward', group: series.group, x: seqlen, oracle }, entrants);
}

export const suite: Suite = {
  name: 'forward',
  summary: 'attention over whole sequences, full and causal, against every peer',
  rank: 1,
  section: {
    title: 'Whole sequences',
    words:
      'Time of one call with its result in JavaScript: medians, and bars from the 10th to the 90th ' +
      'percentile. Causal attention counts half the operations. Below, our float32 against whichever ' +
      'onnxruntime operator is fastest at each length, and against standard attention made of the ' +
      'same micro-kernels, which writes and reads the N x N matrices. All take turns in one process.',
    charts: (rows) => [
      ...timeAndShare(rows),
      speedupChart('Over the best onnxruntime operator', rows, isOnnxRuntime),
      speedupChart('Over standard attention, same micro-kernels', rows, isStandard),
    ],
  },
  cases({ choice }): BenchCase[] {
    return seriesOf(choice).flatMap((series) =>
      seqlensOf(choice, series.heads !== series.kvHeads).map((seqlen) => ({
        label: `forward: ${series.group}, seqlen ${seqlen}`,
        run: (context: Context) => run(context, series, seqlen),
      })),
    );
  },
};
