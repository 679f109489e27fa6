/**
 * Finite scores over float32's whole range (docs/architecture.md, "Exact semantics"). Scores are
 * equal or far apart here, so that the float64 reference knows what float32 makes of them.
 */
import { flashAttention, tensor } from '../../lib/index.js';
import {
  type ReferenceMask,
  type ReferenceProblem,
  type ReferenceShape,
  standardAttention,
} from '../../lib/reference/index.js';
import { expectGradientsOf, flashGradients, type GradientOptions } from '../support/gradients.js';
import {
  attentionOptions,
  bound,
  type FloatDType,
  lowestFloat32,
  maxError,
  qkvTensors,
  randomProblem,
  rounding,
  type SharedOptions,
  testedDTypes,
} from '../support/numerics.js';

const rowCounts = [1, 3, 8, 40];

/** Out within the usual tolerance; lse to the last digits of float32. */
async function expectForward(
  problem: ReferenceProblem,
  options: SharedOptions,
  dtype: FloatDType,
): Promise<void> {
  const { q, k, v } = qkvTensors(problem, dtype);
  const given = attentionOptions(options, problem.shape);
  const { out, lse } = flashAttention(q, k, v, { ...given, returnLse: true });
  const truth = standardAttention(problem);
  const standard = standardAttention(problem, { precision: dtype });
  const error = maxError(await out.toFloat32(), truth.out);
  expect(error).toBeLessThanOrEqual(bound(standard.out, truth.out));
  const actual = await lse.toFloat32();
  truth.lse.forEach((want, at) => {
    if (want === -Infinity) expect(actual[at]).toBe(want);
    else expect(Math.abs(actual[at] - want)).toBeLessThanOrEqual(Math.abs(want) * 2 ** -22 + 1e-5);
  });
}

/**
 * Row i of the mask: one of `bases` throughout, with a key far below, and a hidden one, here and
 * there. Rows whose base is not 0 have query 0: then the base is the score.
 */
function rowsAt(
  bases: readonly number[],
  shape: ReferenceShape,
  options: SharedOptions,
  dtype: FloatDType,
): { problem: ReferenceProblem; options: SharedOptions } {
  const { seqlenQ, seqlenK, heads, headDim, batch } = shape;
  const base = (i: number) => bases[i % bases.length];
  const data = Float32Array.from({ length: seqlenQ * seqlenK }, (_, at) => {
    const [i, j] = [Math.floor(at / seqlenK), at % seqlenK];
    if (j % 7 === 3) return -Infinity;
    return j % 5 === 1 && base(i) > -1e38 ? -3e38 : base(i);
  });
  const mask: ReferenceMask = { data, shape: [seqlenQ, seqlenK] };
  const random = randomProblem(shape, { ...options, mask }, 1, dtype);
  const q = Float32Array.from(random.q);
  for (let row = 0; row < batch * seqlenQ; row++) {
    if (base(row % seqlenQ) !== 0) q.fill(0, row * heads * headDim, (row + 1) * heads * headDim);
  }
  return { problem: { ...random, q }, options: { ...options, mask } };
}

const bases = [0, -1e9, lowestFloat32, 1e6, -1e30, 3e38, -2.5e38, 0];

describe.each(testedDTypes)('%s', (dtype) => {
  test("three keys at float32's lowest: their mean, and an exact lse", async () => {
    for (const seqlenQ of rowCounts) {
      const shape = { batch: 1, seqlenQ, seqlenK: 3, heads: 2, headDim: 16 };
      const { q, k, v } = qkvTensors(randomProblem(shape, {}, 1, dtype), dtype);
      const mask = tensor([lowestFloat32], [1, 1]);
      const { out, lse } = flashAttention(q, k, v, { mask, returnLse: true });
      const values = await v.toFloat32();
      (await out.toFloat32()).forEach((x, at) => {
        const mean = [0, 1, 2].reduce((sum, j) => sum + values[j * 32 + (at % 32)] / 3, 0);
        expect(Math.abs(x - mean)).toBeLessThan(dtype === 'float32' ? 1e-6 : 1e-2);
      });
      expect(new Set(await lse.toFloat32())).toEqual(new Set([lowestFloat32]));
    }
  });

  const rows: Record<string, SharedOptions> = {
    'in one part': { numSplits: 1 },
    'in three splits of unequal length': { numSplits: 3 },
    'with a causal window and sink tokens': { window: [60, 0], sinkTokens: 2 },
    'with sinks': { sinks: [1e9, lowestFloat32, Math.fround(3e38), 0], numSplits: 3 },
    'with a softcap': { softcap: 20 },
    'with lengths': { seqlensK: [270, 140] },
  };
  test.each(Object.entries(rows))('rows of any score side by side, %s', async (_, given) => {
    for (const [seqlenQ, first] of [
      [1, 1],
      [1, 2],
      [1, 5],
      [3, 1],
      [4, 4],
      [40, 0],
    ]) {
      const shape = { batch: 2, seqlenQ, seqlenK: 270, heads: 4, kvHeads: 2, headDim: 16 };
      const shifted = [...bases.slice(first), ...bases.slice(0, first)];
      const { problem, options } = rowsAt(shifted, shape, given, dtype);
      await expectForward(problem, options, dtype);
    }
  });

  test.each([2e38, 3e38, -3e38, lowestFloat32, -lowestFloat32])(
    'a score of %d: by a mask, a sink, a scale, a product, a slope',
    async (x) => {
      for (const seqlenQ of rowCounts) {
        const shape = { batch: 1, seqlenQ, seqlenK: 5, heads: 1, headDim: 16 };
        const random = randomProblem(shape, {}, 1, dtype);
        const check = (options: SharedOptions, inputs: Partial<ReferenceProblem> = {}) =>
          expectForward({ ...random, ...options, ...inputs }, options, dtype);
        await check({ mask: { data: Float32Array.of(0, 0, x, 0, 0), shape: [1, 5] } });
        await check({ mask: { data: Float32Array.of(x, x, x, x, x), shape: [1, 5] } });
        await check({ sinks: [x] });
        // Scores of 1/8 to 5/8 of x, and of x or -x throughout.
        const unit = (length: number, value: (row: number) => number) =>
          Float32Array.from({ length }, (_, at) => (at % 16 === 0 ? value(at / 16) : 0));
        const one = unit(seqlenQ * 16, () => 1);
        await check({ scale: x }, { q: one, k: unit(80, (j) => (j + 1) / 8) });
        await check({ scale: x }, { q: one, k: unit(80, () => 1) });
        await check({ scale: x }, { q: one, k: unit(80, () => -1) });
        if (dtype !== 'float16') {
          const [a, b] = [2 ** 62, rounding[dtype](x * 0.75 * 2 ** -62)];
          await check({ scale: 1 }, { q: unit(seqlenQ * 16, () => a), k: unit(80, () => b) });
        }
        await check({ alibiSlopes: [x / 64] }, { q: unit(seqlenQ * 16, () => 0) });
      }
    },
  );

  test('a scale near the greatest number, with ordinary scores', async () => {
    for (const seqlenQ of rowCounts) {
      const shape = { batch: 1, seqlenQ, seqlenK: 50, heads: 2, headDim: 16 };
      const random = randomProblem(shape, {}, 1, dtype);
      const small = dtype === 'float16' ? 2 ** -14 : 2 ** -63;
      const scaled = (x: ArrayLike<number>) => Float32Array.from(x, (e) => Math.sign(e) * small);
      const options = { scale: dtype === 'float16' ? 2 ** 27 : 2 ** 125 };
      const problem = { ...random, ...options, q: scaled(random.q), k: scaled(random.k) };
      await expectForward(problem, options, dtype);
    }
  });
});

describe.each(testedDTypes)('gradients, %s', (dtype) => {
  test.each([1e3, 1e4, 1e5, 1e6, 3e7])('two keys, one ahead by a logit of %d', async (logit) => {
    for (const seqlenQ of [1, 3, 65]) {
      const shape = { batch: 1, seqlenQ, seqlenK: 2, heads: 1, headDim: 64 };
      const random = randomProblem(shape, {}, 1, dtype);
      const first = Float32Array.from(random.q).subarray(0, 64);
      const q = Float32Array.from({ length: seqlenQ * 64 }, (_, at) => first[at % 64]);
      const size = first.reduce((sum, x) => sum + x * x, 0);
      const round = rounding[dtype];
      const k = Float32Array.from({ length: 128 }, (_, at) =>
        round((first[at % 64] * logit * 8) / size / (at < 64 ? 1 : 2)),
      );
      if (k.some((x) => !Number.isFinite(x))) continue; // beyond float16
      const dOut = new Float32Array(seqlenQ * 64).fill(1);
      const { dv } = await flashGradients({ ...random, q, k }, dOut, {}, dtype);
      const want = Float32Array.from({ length: 128 }, (_, at) => (at < 64 ? seqlenQ : 0));
      expect(maxError(dv, want)).toBeLessThanOrEqual(seqlenQ * 1e-5);
    }
  });

  test.each([-1e9, lowestFloat32, 1e9, -lowestFloat32])(
    'a row at %d throughout: a third each',
    async (low) => {
      for (const seqlenQ of [1, 3, 20]) {
        const shape = { batch: 1, seqlenQ, seqlenK: 3, heads: 1, headDim: 8 };
        const mask = { data: Float32Array.of(low), shape: [1, 1] };
        const problem = randomProblem(shape, { mask }, 1, dtype);
        const dOut = new Float32Array(seqlenQ * 8).fill(1);
        const { dv } = await flashGradients(problem, dOut, { mask }, dtype);
        const tolerance = dtype === 'float32' ? 1e-5 : 3e-2;
        const third = new Float32Array(24).fill(seqlenQ / 3);
        expect(maxError(dv, third)).toBeLessThanOrEqual(tolerance);
        const sinks = [low];
        const shared = await flashGradients({ ...problem, sinks }, dOut, { mask, sinks }, dtype);
        const quarter = new Float32Array(24).fill(seqlenQ / 4);
        expect(maxError(shared.dv, quarter)).toBeLessThanOrEqual(tolerance);
        // -P(sink) dO . out, and out is a quarter of the sum of the values.
        const sum = Array.from(problem.v).reduce((all, x) => all + x, 0);
        expect(maxError(shared.dSinks ?? [], [(-seqlenQ * sum) / 16])).toBeLessThan(tolerance * 4);
      }
    },
  );

  const rows: Record<string, GradientOptions> = {
    alone: {},
    'with a causal window and sink tokens': { window: [60, 0], sinkTokens: 2 },
    // Without ties beyond float64: the reference takes a sink's share from its lse.
    'with sinks': { sinks: [1e6, -1e9, 2e38, 0] },
    'with a softcap': { softcap: 20 },
    'with dropout': { dropout: { p: 0.25, seed: 7n } },
    'with lengths': { seqlensK: [110, 60] },
    deterministic: { deterministic: true },
  };
  test.each(Object.entries(rows))('rows of any score side by side, %s', async (_, given) => {
    for (const [seqlenQ, all] of [
      [3, [0, 1e4, -1e9]],
      [3, [1e6, lowestFloat32, 3e38]],
      [40, bases],
    ] as const) {
      const shape = { batch: 2, seqlenQ, seqlenK: 110, heads: 4, kvHeads: 2, headDim: 16 };
      const { deterministic, ...shared } = given;
      const { problem, options } = rowsAt(all, shape, shared, dtype);
      await expectGradientsOf(problem, { ...options, deterministic }, { dtype });
    }
  });
});
