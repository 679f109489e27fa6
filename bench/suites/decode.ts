import {
  dtypeSize,
  flashEntrant,
  javascriptEntrant,
  ortEntrant,
  type Work,
} from '../contestants.js';
import type { Context, FloatDType } from '../context.js';
import { compete, type Entrant } from '../entrant.js';
import {
  converted,
  disposeInputs,
  type Inputs,
  numbersOf,
  randomInputs,
  relaid,
} from '../inputs.js';
import { benchAddon } from '../native.js';
import { type Numbers, Oracle } from '../oracle.js';
import { naiveAttention } from '../peers/javascript.js';
import { groupQueryDecode, type OrtProblem, standardGraph } from '../peers/onnx-graphs.js';
import { distinct, groupsOf } from '../report/figures.js';
import { bandwidthChart } from '../report/row-charts.js';
import { showLength } from '../report/units.js';
import type { Row } from '../row.js';
import { type AttentionShape, flopsOf, keyBytes } from '../shape.js';
import type { BenchCase, Suite } from '../suite.js';

/** One new token of Llama 3 8B. */
const model = { heads: 32, kvHeads: 8, headDim: 128, seqlenQ: 1, causal: false } as const;

const longestJavascript = 4096;

interface Cache {
  readonly batch: number;
  readonly seqlenK: number;
}

function cachesOf({ seqlens, quick }: Context['choice']): readonly Cache[] {
  if (seqlens) return seqlens.map((seqlenK) => ({ batch: 1, seqlenK }));
  if (quick) return [{ batch: 1, seqlenK: 4096 }];
  return [
    { batch: 1, seqlenK: 4096 },
    { batch: 1, seqlenK: 16384 },
    { batch: 1, seqlenK: 65536 },
    { batch: 8, seqlenK: 4096 },
  ];
}

const groupOf = ({ batch }: Cache): string => `one token, batch ${batch}`;

/** The newest key and value apart from the older ones, as GroupQueryAttention wants them. */
function splitNewest(shape: AttentionShape, { q, k, v }: Numbers): OrtProblem {
  const { batch, kvHeads, seqlenK, headDim } = shape;
  const heads = batch * kvHeads;
  const old = (seqlenK - 1) * headDim;
  const split = (all: Float32Array) => {
    const past = new Float32Array(heads * old);
    const newest = new Float32Array(heads * headDim);
    for (let head = 0; head < heads; head++) {
      const from = head * seqlenK * headDim;
      past.set(all.subarray(from, from + old), head * old);
      newest.set(all.subarray(from + old, from + old + headDim), head * headDim);
    }
    return { past, newest };
  };
  const keys = split(k);
  const values = split(v);
  return groupQueryDecode(shape, { q, k: keys.past, v: values.past }, keys.newest, values.newest);
}

async function run(context: Context, cache: Cache): Promise<Row[]> {
  const { choice, onnxRuntime } = context;
  const shape: AttentionShape = { ...model, ...cache };
  const work = (dtype: FloatDType): Work => {
    const bytes = keyBytes(shape, dtypeSize[dtype]);
    return { flops: flopsOf(shape), bytes, limit: { kind: 'read', readBytes: bytes } };
  };
  const inputs = randomInputs(shape, 'bhsd');
  const numbers = await numbersOf(inputs);
  const flash = (of: Inputs, dtype: FloatDType, note?: string) =>
    flashEntrant(shape, of, work(dtype), { ...choice, note });
  const entrants: Entrant[] = choice.dtypes.map((dtype) => flash(converted(inputs, dtype), dtype));
  // The order of axes in which tokens arrive: a head's keys lie kvHeads rows apart.
  if (choice.dtypes.includes('float32')) entrants.push(flash(relaid(inputs), 'float32', ', bshd'));
  disposeInputs(inputs);
  if (onnxRuntime) {
    const ort = (name: string, problem: OrtProblem) =>
      ortEntrant(name, onnxRuntime, problem, 'bhsd', work('float32'));
    entrants.push(await ort('MatMul, Softmax, MatMul', standardGraph(shape, numbers)));
    entrants.push(await ort('GroupQueryAttention', splitNewest(shape, numbers)));
  }
  if (choice.peers && shape.batch * shape.seqlenK <= longestJavascript) {
    const run = () => naiveAttention(shape, numbers);
    entrants.push(javascriptEntrant(run, work('float32')));
  }
  const oracle = new Oracle(shape, numbers);
  const where = { suite: 'decode', group: groupOf(cache), x: cache.seqlenK, oracle };
  try {
    return await compete(context, where, entrants);
  } finally {
    benchAddon.releaseReadBuffer();
  }
}

export const suite: Suite = {
  name: 'decode',
  summary: 'one query row over a long key-value cache: 32 heads on 8, head dim 128',
  rank: 3,
  section: {
    title: 'One token at a time',
    words:
      'A decoding step is bound by reading the key-value cache. Bars are bytes of keys and values per ' +
      'second, the mark is the bandwidth at which a plain loop reads as many bytes, measured in turns ' +
      'with the calls.',
    charts: (rows) =>
      groupsOf(rows).flatMap(([name, group]) =>
        distinct(group.map(({ x }) => x)).map((x) => {
          const here = group.filter((row) => row.x === x);
          return bandwidthChart(`${name}, ${showLength(x)} keys`, here);
        }),
      ),
  },
  cases({ choice }): BenchCase[] {
    return cachesOf(choice).map((cache) => ({
      label: `decode: ${groupOf(cache)}, ${cache.seqlenK} keys`,
      run: (context: Context) => run(context, cache),
    }));
  },
};
