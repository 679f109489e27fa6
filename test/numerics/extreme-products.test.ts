/**
 * Products of queries and keys from large to float32's greatest, in tiles of many rows: the kernels
 * that keep scores in base 2 do such rows again.
 */
import {
  dequantize,
  devices,
  flashAttention,
  quantize,
  type Tensor,
  tensor,
} from '../../lib/index.js';
import { type ReferenceProblem, standardAttention } from '../../lib/reference/index.js';
import { device, testIf } from '../support/device.js';
import {
  attentionOptions,
  bound,
  type FloatDType,
  maxError,
  normals,
  qkvTensors,
  randomProblem,
  rounding,
  type SharedOptions,
  testedDTypes,
} from '../support/numerics.js';

const [seqlenQ, seqlenK, heads, headDim] = [150, 260, 2, 64];
const sizes = [3e4, 1e6, 3e7, 9e8, 2e9, 1.1e10, 3e15, 1e20, 3e26, 1e30, 2e38, 2.75e38, 3.2e38];

/**
 * Columns of the keys that extreme rows meet: with or without scores of 7/8 of the others, and with
 * the scores of the first or the last half of the keys at 0.
 */
const columns = [
  (j: number) => (j % 3 === 1 ? 0.875 : 1),
  (j: number) => (j < seqlenK / 2 ? 1 : 0),
  (j: number) => (j < seqlenK / 2 ? 0 : 1),
];

/** Of every third row the column and the score that it has where the column is 1. */
function extremeScores(): ReadonlyMap<number, readonly [number, number]> {
  const all = sizes.flatMap((x) =>
    columns.flatMap((_, column) => [[column, x] as const, [column, -x] as const]),
  );
  // Spread: every tile has some of each kind.
  return new Map(all.map((score, n) => [(n * 31) % seqlenQ, score]));
}

/** A problem whose extreme rows meet columns of 0 to `unit`; others have usual scores. */
function problemOf(
  options: SharedOptions,
  dtype: FloatDType,
  unit: number,
  scale: number,
): ReferenceProblem {
  const shape = { batch: 1, seqlenQ, seqlenK, heads, headDim };
  const random = randomProblem(shape, options, 1, dtype);
  const [q, k] = [Float32Array.from(random.q), Float32Array.from(random.k)];
  const extreme = extremeScores();
  for (let row = 0; row < seqlenQ * heads; row++) {
    const [column, x] = extreme.get(Math.floor(row / heads)) ?? [0, 0];
    const of = q.subarray(row * headDim, (row + 1) * headDim);
    if (x !== 0 || scale !== 1) of.fill(0);
    of.fill(0, 0, columns.length);
    const value = rounding[dtype](x / unit / scale);
    if (Number.isFinite(value)) of[column] = value; // what the dtype has not is left out
  }
  for (let row = 0; row < seqlenK * heads; row++) {
    for (const [c, column] of columns.entries()) {
      k[row * headDim + c] = unit * column(Math.floor(row / heads));
    }
  }
  return { ...random, scale, q, k };
}

/** The same weights, of scores that standard attention in any dtype can compute. */
function withUsualScores(problem: ReferenceProblem, unit: number): ReferenceProblem {
  const q = Float32Array.from(problem.q, (x, at) =>
    at % headDim < columns.length ? (Math.sign(x) * 1000) / unit : x,
  );
  return { ...problem, scale: 1, q };
}

/** Lse to the last digits of float32. */
async function expectLse(actual: Tensor, expected: ArrayLike<number>): Promise<void> {
  const sums = await actual.toFloat32();
  Array.from(expected).forEach((want, at) => {
    expect(Math.abs(sums[at] - want)).toBeLessThanOrEqual(Math.abs(want) * 2 ** -21 + 1e-4);
  });
}

/** `usual` has the same weights by scores that standard attention in the dtype can compute. */
async function expectForward(
  problem: ReferenceProblem,
  usual: ReferenceProblem,
  options: SharedOptions,
  dtype: FloatDType,
): Promise<void> {
  const { q, k, v } = qkvTensors(problem, dtype);
  const given = attentionOptions({ ...options, scale: problem.scale }, problem.shape);
  const { out, lse } = flashAttention(q, k, v, { ...given, returnLse: true });
  const truth = standardAttention(problem);
  const standard = standardAttention(usual, { precision: dtype });
  expect(maxError(await out.toFloat32(), truth.out)).toBeLessThanOrEqual(
    bound(standard.out, truth.out),
  );
  await expectLse(lse, truth.lse);
}

const cases: Record<string, SharedOptions> = {
  'all keys': { numSplits: 1 },
  'three splits': { numSplits: 3 },
  causal: { causal: true, numSplits: 1 },
  'causal, four splits': { causal: true, numSplits: 4 },
  'a window': { window: [40, 3], numSplits: 1 },
  'a window, three splits': { window: [40, 3], numSplits: 3 },
};

describe.each(testedDTypes)('%s', (dtype) => {
  // float16 has no large numbers: large keys, and a large scale.
  const units = dtype === 'float16' ? [2 ** 15, 2 ** 15] : [1];
  test.each(Object.entries(cases))('%s', async (_, options) => {
    for (const [n, unit] of units.entries()) {
      const problem = problemOf(options, dtype, unit, 2 ** (66 * n));
      await expectForward(problem, withUsualScores(problem, unit), options, dtype);
    }
  });

  // 8192 in base 2 is 5678.26.
  test.each([1, 2, 3])(
    'scores of a few digits on both sides of the limit, %i splits',
    async (n) => {
      const options = { numSplits: n };
      const bases = [5678, 5679, 30001, 1234];
      const shape = { batch: 1, seqlenQ: 40, seqlenK, heads: 1, headDim };
      const random = randomProblem(shape, options, 1, dtype);
      const ahead = (j: number) => (j < 150 ? 0 : 2);
      const problem = (withBase: boolean) => {
        const [q, k] = [40, seqlenK].map((rows) => new Float32Array(rows * headDim));
        for (let i = 0; i < 40; i++) q.set([256, 1], i * headDim + 2 * (i % bases.length));
        for (let j = 0; j < seqlenK; j++) {
          const digits = bases.flatMap((base) => {
            const score = withBase ? base + ahead(j) - 2 : ahead(j);
            return [Math.floor(score / 256), score % 256];
          });
          k.set(digits, j * headDim);
        }
        return { ...random, scale: 1, q, k };
      };
      await expectForward(problem(true), problem(false), options, dtype);
    },
  );

  // However large its score, the weight of a row's only key is 1. Three products of tf32 make a
  // float32 of 22 bits.
  const step = dtype === 'float32' ? 2 ** -21 : 0;
  test.each([1, 2, 40])('one key is its value, %i rows', async (rows) => {
    for (const score of [90, 1420, 5678, 5679, 20480, 45426, 65000]) {
      for (const sign of [1, -1]) {
        const shape = { batch: 1, seqlenQ: rows, seqlenK: 1, heads: 1, headDim };
        const random = randomProblem(shape, {}, 1, dtype);
        const q = new Float32Array(rows * headDim);
        for (let i = 0; i < rows; i++) q.set([256 * sign, sign], i * headDim);
        const k = new Float32Array(headDim);
        k.set([Math.floor(score / 256), score % 256]);
        const tensors = qkvTensors({ ...random, q, k }, dtype);
        const out = await flashAttention(tensors.q, tensors.k, tensors.v, { scale: 1 }).toFloat32();
        const value = await tensors.v.toFloat32();
        const missed = out.findIndex(
          (x, at) => !(Math.abs(x - value[at % headDim]) <= step * Math.abs(x)),
        );
        expect({ score, sign, missed }).toEqual({ score, sign, missed: -1 });
      }
    }
  });
});

const hasFloat8 = devices().some(
  ({ name, kernels }) => name === device && kernels.includes('sm90.forward.float8'),
);

// A head for each size, since a scale is shared.
testIf(hasFloat8, `${device} has no float8 kernel`).each([
  ['all keys', {}],
  ['causal', { causal: true }],
])('float8, %s', async (_, options) => {
  const shape = { batch: 1, seqlenQ: 70, seqlenK, heads: sizes.length, headDim };
  const [q, k] = [70, seqlenK].map((rows) => new Float32Array(rows * sizes.length * headDim));
  const at = (row: number, head: number) => (row * sizes.length + head) * headDim;
  for (const [h, x] of sizes.entries()) {
    for (let i = 0; i < 70; i++) q[at(i, h) + (i % 3)] = i % 2 === 0 ? x : -x;
    for (let j = 0; j < seqlenK; j++)
      k.set(
        columns.map((column) => column(j)),
        at(j, h),
      );
  }
  const inputs = [q, k, normals(k.length, 5)];
  const quantized = inputs.map((data) =>
    quantize(
      tensor(data, [1, data.length / (sizes.length * headDim), sizes.length, headDim]),
      'float8_e4m3',
      { per: 'head' },
    ),
  );
  const [q8, k8, v8] = quantized;
  const { out, lse } = flashAttention(q8.values, k8.values, v8.values, {
    ...options,
    scale: 1,
    returnLse: true,
    scales: { q: q8.scales, k: k8.scales, v: v8.scales },
  });
  const rounded = await Promise.all(quantized.map((x) => dequantize(x).toFloat32()));
  const truth = standardAttention({
    ...options,
    scale: 1,
    shape,
    q: rounded[0],
    k: rounded[1],
    v: rounded[2],
  });
  expect(maxError(await out.toFloat32(), truth.out)).toBeLessThan(2 ** -6);
  await expectLse(lse, truth.lse);
});
