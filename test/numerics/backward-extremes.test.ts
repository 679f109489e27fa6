/**
 * Gradients of rows whose lse is large: P = exp(s - lse) would inherit its rounding, a factor of
 * 1.03 at 1e6. What such rows share with others, and with the layouts of a batch; what scores of
 * any size give is in extremes.test.ts.
 */
import {
  flashAttention,
  flashAttentionBackward,
  flashAttentionVarlen,
  flashAttentionVarlenBackward,
  type Tensor,
  tensor,
} from '../../lib/index.js';
import { onSimt } from '../support/device.js';
import { compareGradients, flashGradients, type GradientOptions } from '../support/gradients.js';
import {
  type FloatDType,
  maxError,
  normals,
  randomProblem,
  type SharedOptions,
  testedDTypes,
} from '../support/numerics.js';
import { uniform } from '../support/random.js';

const tolerance = { float32: 4e-5, float16: 4e-3, bfloat16: 2.5e-2 };

/** -1, 0 and 1: with a scale of 1/4 every score is exact, and so is one far from zero. */
function smallIntegers(count: number, seed: number): Float32Array {
  const random = uniform(seed);
  return Float32Array.from({ length: count }, () => Math.floor(random() * 3) - 1);
}

/**
 * A constant added to all scores of a row, and to its sink, changes none of its gradients. Every
 * third row gets it, all of them where a sink has to come along.
 */
async function expectUnmoved(
  shift: number,
  { deterministic, ...options }: GradientOptions,
  dtype: FloatDType,
  shape = { batch: 2, seqlenQ: 18, seqlenK: 45, heads: 2, kvHeads: 1, headDim: 40, headDimV: 24 },
): Promise<void> {
  const { batch, seqlenQ, seqlenK, heads, kvHeads, headDim, headDimV } = shape;
  const shared: SharedOptions = { scale: 0.25, ...options };
  const problem = {
    ...randomProblem(shape, shared, 1, dtype),
    q: smallIntegers(batch * seqlenQ * heads * headDim, 1),
    k: smallIntegers(batch * seqlenK * kvHeads * headDim, 2),
  };
  const dOut = normals(batch * seqlenQ * heads * headDimV, 3, dtype);
  const data = Float32Array.from({ length: seqlenQ }, (_, i) =>
    options.sinks || i % 3 === 0 ? shift : 0,
  );
  const moved = {
    ...shared,
    deterministic,
    mask: { data, shape: [seqlenQ, 1] },
    ...(options.sinks && { sinks: Array.from(options.sinks, (sink) => sink + shift) }),
  };
  const actual = await flashGradients(problem, dOut, moved, dtype);
  const rowsOfDOut = Float64Array.from(dOut);
  compareGradients(actual, { problem, rowsOfDOut, whole: (gradients) => gradients }, dtype);
}

const options: Record<string, GradientOptions> = {
  none: {},
  deterministic: { deterministic: true },
  causal: { causal: true },
  'window, sink tokens': { window: [9, 2], sinkTokens: 3 },
  'seqlensK, one empty': { seqlensK: [0, 30] },
  alibi: { alibiSlopes: [0.5, 0.25] },
  'sinks, causal': { causal: true, sinks: [-2, 3] },
  'dropout, layout bhsd': { dropout: { p: 0.25, seed: 7n }, layout: 'bhsd' },
};

describe.each(testedDTypes)('rows far from zero, %s', (dtype) => {
  test.each(Object.entries(options))('%s', async (_name, option) => {
    await expectUnmoved(-1e6, option, dtype);
  });

  test('a head dim without a multiple, and another for V', async () => {
    const shape = { batch: 1, seqlenQ: 5, seqlenK: 40, heads: 2, kvHeads: 1 };
    for (const shift of [1e6, 4096])
      await expectUnmoved(shift, {}, dtype, { ...shape, headDim: 7, headDimV: 129 });
  });

  test('NaN stays in its row, whatever the others are', async () => {
    const shape = { batch: 1, seqlenQ: 9, seqlenK: 20, heads: 1, headDim: 16 };
    const problem = randomProblem(shape, {}, 5, dtype);
    const dOut = normals(9 * 16, 6, dtype);
    const mask = { data: new Float32Array(9).fill(-1e9, 0, 4), shape: [9, 1] };
    const clean = await flashGradients(problem, dOut, { mask }, dtype);
    const q = new Float32Array(problem.q);
    q[2 * 16 + 3] = Number.NaN;
    const { dq, dk } = await flashGradients({ ...problem, q }, dOut, { mask }, dtype);
    expect(dq.subarray(32, 48).every(Number.isNaN)).toBe(true);
    expect(dk.every(Number.isNaN)).toBe(true);
    expect(dq.subarray(0, 32)).toEqual(clean.dq.subarray(0, 32));
    expect(maxError(dq.subarray(48), clean.dq.subarray(48))).toBeLessThan(tolerance[dtype]);
  });

  test('hidden keys of any content stay hidden', async () => {
    const shape = { batch: 1, seqlenQ: 6, seqlenK: 40, heads: 1, headDim: 16 };
    const problem = randomProblem(shape, {}, 5, dtype);
    const dOut = normals(6 * 16, 6, dtype);
    const options = {
      causal: true,
      mask: { data: Float32Array.of(-1e6, 0, -1e6, 0, -1e6, 0), shape: [6, 1] },
    };
    const clean = await flashGradients(problem, dOut, options, dtype);
    const [k, v] = [new Float32Array(problem.k), new Float32Array(problem.v)];
    for (const x of [k, v]) x.fill(Number.NaN, 39 * 16); // row 5 alone sees it
    const actual = await flashGradients({ ...problem, k, v }, dOut, options, dtype);
    expect(maxError(actual.dq.subarray(0, 80), clean.dq.subarray(0, 80))).toBeLessThan(
      tolerance[dtype],
    );
    expect(actual.dq.subarray(80).every(Number.isNaN)).toBe(true);
  });

  test('two runs give the same bits', async () => {
    const shape = { batch: 1, seqlenQ: 20, seqlenK: 140, heads: 2, kvHeads: 1, headDim: 24 };
    const problem = randomProblem(shape, {}, 3, dtype);
    const dOut = normals(20 * 2 * 24, 4, dtype);
    const mask = {
      data: Float32Array.from({ length: 20 }, (_, i) => (i % 2) * 1e5),
      shape: [20, 1],
    };
    const run = () => flashGradients(problem, dOut, { mask, deterministic: true }, dtype);
    const first = await run();
    for (let i = 0; i < (onSimt ? 1 : 5); i++) expect(await run()).toEqual(first);
  });
});

test.each(testedDTypes)(
  'packed sequences far from zero are the sequences one by one, %s',
  async (dtype) => {
    const [lengthsQ, lengthsK, heads, headDim] = [[3, 0, 12], [40, 5, 9], 2, 16];
    const [cuSeqlensQ, cuSeqlensK] = [
      [0, 3, 3, 15],
      [0, 40, 45, 54],
    ];
    const [totalQ, totalK] = [17, 54]; // two rows of no sequence
    const rows = (seed: number, n: number) => normals(n * heads * headDim, seed, dtype);
    // Of scores around 400 to 800 in absolute value, each row has one that leads by much.
    const [q, k] = [rows(1, totalQ).map((x) => 16 * x), rows(2, totalK).map((x) => 64 * x)];
    const [v, dOut] = [rows(3, totalK), rows(4, totalQ)];
    const make = (data: Float32Array, n: number) => tensor(data, [n, heads, headDim], { dtype });
    const given = { cuSeqlensQ, cuSeqlensK, causal: true, deterministic: true };
    const [tq, tk, tv] = [make(q, totalQ), make(k, totalK), make(v, totalK)];
    const forward = flashAttentionVarlen(tq, tk, tv, { ...given, returnLse: true });
    const saved = { q: tq, k: tk, v: tv, ...forward };
    const packed = flashAttentionVarlenBackward(make(dOut, totalQ), saved, given);
    const [dq, dk, dv] = await Promise.all(
      [packed.dq, packed.dk, packed.dv].map((x: Tensor) => x.toFloat32()),
    );
    for (let b = 0; b < lengthsQ.length; b++) {
      const part = (x: Float32Array, begin: number, n: number) =>
        x.slice(begin * heads * headDim, (begin + n) * heads * headDim);
      const queries = (x: Float32Array) => part(x, cuSeqlensQ[b], lengthsQ[b]);
      const keys = (x: Float32Array) => part(x, cuSeqlensK[b], lengthsK[b]);
      if (lengthsQ[b] === 0) {
        for (const x of [dk, dv]) expect(new Set(keys(x))).toEqual(new Set([0]));
        continue;
      }
      const dense = (x: Float32Array, n: number) => tensor(x, [1, n, heads, headDim], { dtype });
      const [sq, sk, sv, sd] = [
        dense(queries(q), lengthsQ[b]),
        dense(keys(k), lengthsK[b]),
        dense(keys(v), lengthsK[b]),
        dense(queries(dOut), lengthsQ[b]),
      ];
      const one = { causal: true, deterministic: true };
      const result = flashAttention(sq, sk, sv, { ...one, returnLse: true });
      const alone = flashAttentionBackward(sd, { q: sq, k: sk, v: sv, ...result }, one);
      expect(maxError(queries(dq), await alone.dq.toFloat32())).toBeLessThan(tolerance[dtype]);
      expect(maxError(keys(dk), await alone.dk.toFloat32())).toBeLessThan(tolerance[dtype]);
      expect(maxError(keys(dv), await alone.dv.toFloat32())).toBeLessThan(tolerance[dtype]);
    }
    expect(new Set(dq.slice(15 * heads * headDim))).toEqual(new Set([0]));
  },
);
