import { flashAttention, flashAttentionVarlen, type Tensor, tensor } from '../../lib/index.js';
import {
  callEntrant,
  dtypeSize,
  type FlashCall,
  flashEntrant,
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
import { type Numbers, Oracle, rowOffset } from '../oracle.js';
import {
  multiHeadAttention,
  onnxAttention,
  paddedMultiHeadAttention,
  paddingMask,
  standardGraph,
} from '../peers/onnx-graphs.js';
import { groupsOf } from '../report/figures.js';
import { durationChart } from '../report/row-charts.js';
import type { Row } from '../row.js';
import { type AttentionShape, flopsOf, inherentBytes } from '../shape.js';
import type { BenchCase, Suite } from '../suite.js';

/** Batch, tokens, heads and head dim of embedding and reranking models. */
type Size = readonly [batch: number, seqlen: number, heads: number, headDim: number];

const sizes: readonly Size[] = [
  [32, 128, 12, 32],
  [32, 128, 12, 64],
  [8, 256, 12, 64],
  [1, 128, 12, 64],
  [1, 256, 16, 64],
  [64, 16, 12, 64],
];
const quickSizes: readonly Size[] = [[1, 128, 12, 64]];
/** Sequences of these many tokens at least, and at most, in one batch. */
const ragged: Size = [32, 512, 12, 64];
const quickRagged: Size = [4, 128, 12, 64];
const shortest = 8;

const shapeOf = ([batch, seqlen, heads, headDim]: Size): AttentionShape => ({
  batch,
  heads,
  kvHeads: heads,
  seqlenQ: seqlen,
  seqlenK: seqlen,
  headDim,
  causal: false,
});

/** One length a sequence, evenly drawn; the same in every run. The first is the longest. */
function drawLengths(batch: number, longest: number): number[] {
  let state = 1;
  const lengths = Array.from({ length: batch }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return shortest + Math.floor((state / 2 ** 32) * (longest - shortest + 1));
  });
  lengths[0] = longest;
  return lengths;
}

/** What a shape is measured with. */
interface Problem {
  readonly shape: AttentionShape;
  readonly inputs: Inputs;
  readonly numbers: Numbers;
  /** Undefined: no padding. */
  readonly lengths?: readonly number[];
}

async function problemOf(size: Size, lengths?: readonly number[]): Promise<Problem> {
  const shape = shapeOf(size);
  const inputs = randomInputs(shape, 'bshd');
  return { shape, inputs, numbers: await numbersOf(inputs), lengths };
}

/** Of the keys that count: what is padding is work for nobody. */
function workOf({ limits }: Context, { shape, lengths }: Problem, packed: boolean) {
  const { batch, heads, seqlenQ, headDim } = shape;
  const rows = (length: number) => (packed ? length : seqlenQ);
  const pairs = lengths?.reduce((sum, length) => sum + rows(length) * length, 0);
  return (dtype: FloatDType): Work => ({
    flops: pairs === undefined ? flopsOf(shape) : 4 * heads * headDim * pairs,
    bytes: inherentBytes({ ...shape, batch }, dtypeSize[dtype]),
    limit: { kind: limits.arithmetic(dtype) },
  });
}

async function peersOf(context: Context, problem: Problem, work: Work): Promise<Entrant[]> {
  const { onnxRuntime } = context;
  if (!onnxRuntime) return [];
  const { shape, inputs, numbers, lengths } = problem;
  const swapped = relaid(inputs);
  const bhsd = await numbersOf(swapped);
  disposeInputs(swapped);
  const multiHead = lengths
    ? paddedMultiHeadAttention(shape, numbers, lengths)
    : multiHeadAttention(shape, numbers);
  const peers = [
    ortEntrant('MultiHeadAttention', onnxRuntime, multiHead, 'bshd', work),
    ortEntrant(
      lengths ? 'MatMul, Add, Softmax, MatMul' : 'MatMul, Softmax, MatMul',
      onnxRuntime,
      standardGraph(shape, bhsd, lengths),
      'bhsd',
      work,
    ),
  ];
  if (!lengths) {
    const attention = onnxAttention(shape, numbers);
    peers.push(ortEntrant('Attention', onnxRuntime, attention, 'bshd', work));
  }
  return Promise.all(peers);
}

async function judged(
  context: Context,
  group: string,
  problem: Problem,
  own: readonly Entrant[],
  work: Work,
): Promise<Row[]> {
  const { shape, inputs, numbers, lengths } = problem;
  const entrants = [...own, ...(await peersOf(context, problem, work))];
  disposeInputs(inputs);
  const oracle = new Oracle(shape, numbers, lengths);
  return compete(context, { suite: 'encoder', group, x: shape.seqlenK, oracle }, entrants);
}

async function whole(context: Context, size: Size): Promise<Row[]> {
  const problem = await problemOf(size);
  const work = workOf(context, problem, false);
  const own = context.choice.dtypes.map((dtype) =>
    flashEntrant(problem.shape, converted(problem.inputs, dtype), work(dtype), context.choice),
  );
  return judged(context, labelOf(size), problem, own, work('float32'));
}

/** Padding as lengths, and as a float mask. */
async function padded(context: Context, size: Size, how: 'lengths' | 'mask'): Promise<Row[]> {
  const [batch, seqlen] = size;
  const lengths = drawLengths(batch, seqlen);
  const problem = await problemOf(size, lengths);
  const work = workOf(context, problem, false);
  const own = context.choice.dtypes.map((dtype) => {
    const { q, k, v, layout } = converted(problem.inputs, dtype);
    const mask = tensor(paddingMask(seqlen, lengths), [batch, 1, 1, seqlen], { device: 'cpu' });
    const options = how === 'lengths' ? { seqlensK: lengths } : { mask };
    const call: FlashCall = {
      dtype,
      layout,
      attend: () => flashAttention(q, k, v, { layout, ...options }),
      dispose: () => disposeAll([q, k, v, mask]),
    };
    return callEntrant(call, work(dtype), context.choice);
  });
  const name = how === 'lengths' ? 'padding by lengths' : 'padding by a float mask';
  return judged(context, `${labelOf(size)}, ${name}`, problem, own, work('float32'));
}

function disposeAll(tensors: readonly Tensor[]): void {
  for (const each of tensors) each.dispose();
}

/** The tokens of all sequences, one after the other: [1, tokens, heads, headDim]. */
function packed(from: Float32Array, shape: AttentionShape, lengths: readonly number[]): Tensor {
  const { heads, headDim, seqlenK } = shape;
  const token = heads * headDim;
  const parts = lengths.map((n, b) =>
    from.subarray(b * seqlenK * token, (b * seqlenK + n) * token),
  );
  const total = lengths.reduce((sum, n) => sum + n, 0);
  const all = new Float32Array(total * token);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return tensor(all, [total, heads, headDim], { device: 'cpu' });
}

/** Packed rows in the places that they have in a padded batch, which the oracle looks at. */
function unpacked(out: Float32Array, shape: AttentionShape, lengths: readonly number[]) {
  const { batch, heads, headDim, seqlenQ } = shape;
  const all = new Float32Array(batch * seqlenQ * heads * headDim);
  let at = 0;
  lengths.forEach((length, b) => {
    const part = out.subarray(at, at + length * heads * headDim);
    all.set(part, rowOffset('bshd', [seqlenQ, heads, headDim], b, 0, 0));
    at += part.length;
  });
  return all;
}

async function varlen(context: Context, size: Size): Promise<Row[]> {
  const [batch, longest] = size;
  const lengths = drawLengths(batch, longest);
  const problem = await problemOf(size, lengths);
  const { shape, numbers } = problem;
  const work = workOf(context, problem, true);
  const offsets = Int32Array.from([0, ...lengths]);
  for (let b = 1; b <= batch; b++) offsets[b] += offsets[b - 1];
  const own = context.choice.dtypes.map((dtype) => {
    const plain = [numbers.q, numbers.k, numbers.v].map((all) => packed(all, shape, lengths));
    const [q, k, v] = plain.map((each) => each.to(dtype));
    disposeAll(plain);
    const call: FlashCall = {
      dtype,
      layout: 'bshd',
      attend: () => flashAttentionVarlen(q, k, v, { cuSeqlensQ: offsets, cuSeqlensK: offsets }),
      result: async (out) => unpacked(await out.toFloat32(), shape, lengths),
      dispose: () => disposeAll([q, k, v]),
    };
    return callEntrant(call, work(dtype), context.choice);
  });
  const group = `${labelOf(size)} at most, packed; of peers padded`;
  return judged(context, group, problem, own, work('float32'));
}

const labelOf = ([batch, seqlen, heads, headDim]: Size): string =>
  `${batch} x ${seqlen}, ${heads} heads, head dim ${headDim}`;

export const suite: Suite = {
  name: 'encoder',
  summary: 'batches of short sequences, as embedding and reranking servers run them',
  rank: 2,
  section: {
    title: 'Batches of short sequences',
    words:
      'Time of one call with its result in JavaScript. Sequences of several lengths are packed for ' +
      'flashAttentionVarlen and padded for onnxruntime, which has nothing else. The bars are ' +
      'logarithmic.',
    charts: (rows) => groupsOf(rows).map(([name, group]) => durationChart(name, group)),
  },
  cases({ choice: { quick } }): BenchCase[] {
    const mixed = quick ? quickRagged : ragged;
    const runs: [string, (context: Context) => Promise<Row[]>][] = [
      ...(quick ? quickSizes : sizes).map(
        (size): [string, (context: Context) => Promise<Row[]>] => [
          labelOf(size),
          (context) => whole(context, size),
        ],
      ),
      ['padding by lengths', (context) => padded(context, mixed, 'lengths')],
      ['padding by a float mask', (context) => padded(context, mixed, 'mask')],
      ['packed', (context) => varlen(context, mixed)],
    ];
    return runs.map(([name, run]) => ({ label: `encoder: ${name}`, run }));
  },
};
