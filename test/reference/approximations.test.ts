import {
  type ApproximationProblem,
  emptyLinearState,
  linearAttention,
  linearAttentionStep,
  linformer,
  performer,
  performerDirections,
  positiveFeatures,
  type ReferenceProblem,
  reformer,
  routingTransformer,
  standardAttention,
} from '../../lib/reference/index.js';
import { maxDifference, normal, randomInputs, shapeOf } from './random-problem.js';

const shape = shapeOf({
  batch: 2,
  seqlenQ: 24,
  seqlenK: 24,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
  headDimV: 5,
});
const problem = randomInputs(shape, 1);
const exact = (more: Partial<ReferenceProblem> = {}) =>
  standardAttention({ ...problem, ...more }).out;

/** The root mean square of a - b, in units of that of b. */
function relativeError(a: Float64Array, b: Float64Array): number {
  const square = (x: Float64Array) => x.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(square(a.map((value, n) => value - b[n])) / square(b));
}

const seeds = Array.from({ length: 12 }, (_, n) => BigInt(n));
/** The mean error over seeds, so that no single draw decides a test. */
const meanError = (run: (seed: bigint) => Float64Array, truth: Float64Array) =>
  seeds.reduce((sum, seed) => sum + relativeError(run(seed), truth), 0) / seeds.length;

describe('linformer', () => {
  const N = shape.seqlenK;
  const identity = Float64Array.from({ length: N * N }, (_, n) => (n % (N + 1) === 0 ? 1 : 0));

  it('with the identity as its projection is exact', () => {
    const out = linformer(problem, { projectedLength: N, projection: identity });
    expect(maxDifference(out, exact())).toBeLessThan(1e-14);
    const scale = { scale: 0.7 };
    const other = linformer({ ...problem, ...scale }, { projectedLength: N, projection: identity });
    expect(maxDifference(other, exact(scale))).toBeLessThan(1e-14);
  });

  it('is attention over mixtures of keys and of values', () => {
    const k = 3;
    const projection = normal(k * N, 2);
    const mix = (x: Float64Array, heads: number, dim: number) => {
      const mixed = new Float64Array(shape.batch * k * heads * dim);
      for (let b = 0; b < shape.batch; b++) {
        for (let r = 0; r < k; r++) {
          for (let j = 0; j < N; j++) {
            for (let c = 0; c < heads * dim; c++) {
              mixed[(b * k + r) * heads * dim + c] +=
                projection[r * N + j] * x[(b * N + j) * heads * dim + c];
            }
          }
        }
      }
      return mixed;
    };
    const mixed = {
      shape: { ...shape, seqlenK: k },
      q: problem.q,
      k: mix(problem.k, 2, 8),
      v: mix(problem.v, 2, 5),
    };
    const out = linformer(problem, { projectedLength: k, projection });
    expect(maxDifference(out, standardAttention(mixed).out)).toBeLessThan(1e-12);
  });

  it('a random projection differs from seed to seed and is the same for one', () => {
    const run = (seed: bigint) => linformer(problem, { projectedLength: 8, seed });
    expect(run(1n)).toEqual(run(1n));
    expect(run(1n)).not.toEqual(run(2n));
  });
});

describe('performer', () => {
  it('estimates e^(x . y) without bias', () => {
    const x = normal(6, 1).map((value) => value / 2);
    const y = normal(6, 2).map((value) => value / 2);
    const truth = Math.exp(x.reduce((sum, value, c) => sum + value * y[c], 0));
    for (const orthogonal of [false, true]) {
      const estimates = Array.from({ length: 400 }, (_, seed) => {
        const options = { features: 12, seed: BigInt(seed), orthogonal };
        const directions = performerDirections(options, 6);
        const [a, b] = [x, y].map((row) => positiveFeatures(row, directions));
        return a.reduce((sum, value, r) => sum + value * b[r], 0);
      });
      const mean = estimates.reduce((a, b) => a + b) / estimates.length;
      const variance = estimates.reduce((sum, e) => sum + (e - mean) ** 2, 0) / estimates.length;
      // Four standard errors: the seeds are fixed, so this holds or does not, every time.
      expect(Math.abs(mean - truth)).toBeLessThan(4 * Math.sqrt(variance / estimates.length));
      expect(Math.sqrt(variance / estimates.length)).toBeLessThan(0.1 * truth);
    }
  });

  it('draws directions that are orthogonal in blocks, with the lengths of normal rows', () => {
    const directions = performerDirections({ features: 20, seed: 3n }, 8);
    for (let i = 0; i < 20; i++) {
      for (let j = 0; j < i; j++) {
        const inner = directions[i].reduce((sum, value, c) => sum + value * directions[j][c], 0);
        if (Math.floor(i / 8) === Math.floor(j / 8)) expect(Math.abs(inner)).toBeLessThan(1e-12);
      }
    }
    const many = performerDirections({ features: 4000, seed: 4n }, 8);
    const squares = many.map((row) => row.reduce((sum, value) => sum + value * value, 0));
    const mean = squares.reduce((a, b) => a + b) / squares.length;
    expect(Math.abs(mean - 8)).toBeLessThan(4 * Math.sqrt(16 / 4000)); // chi squared of 8
  });

  it.each([false, true])('comes closer with more features, causal %s', (causal) => {
    // Scores so small that the variance is what it is in the limit: errors fall as 1 / sqrt(m).
    const of = { causal, scale: 0.1 };
    const truth = exact(of);
    const error = (features: number) =>
      meanError((seed) => performer({ ...problem, ...of }, { features, seed }), truth);
    const errors = [8, 64, 512].map(error);
    expect(errors[1]).toBeLessThan(errors[0] / 2);
    expect(errors[2]).toBeLessThan(errors[1] / 2);
  });

  it('is better with orthogonal directions than with independent ones', () => {
    const error = (orthogonal: boolean) =>
      meanError((seed) => performer(problem, { features: 32, seed, orthogonal }), exact());
    expect(error(true)).toBeLessThan(error(false));
  });

  it('a key that comes later changes nothing before it, however long it is', () => {
    const of = randomInputs(shapeOf({ seqlenQ: 4, seqlenK: 4, headDim: 4 }), 8);
    const run = (k: Float64Array) => performer({ ...of, k, causal: true }, { features: 6 });
    // The first key's features are below any float64, and are all that the first query has.
    const long = of.k.map((value, n) => (n < 4 ? 60 + value : value));
    expect([...run(long).slice(0, 4)]).toEqual([...of.v.slice(0, 4)].map((x) => expect.closeTo(x)));
    const last = of.k.map((value, n) => (n >= 12 ? 1e-3 * value : value));
    expect(maxDifference(run(last).slice(0, 12), run(of.k).slice(0, 12))).toBe(0);
  });

  it('is the quotient of its estimates, whichever scale', () => {
    const one = randomInputs(shapeOf({ seqlenQ: 3, seqlenK: 5, headDim: 4 }), 3);
    for (const scale of [0.8, -0.8]) {
      const options = { features: 7, seed: 5n };
      const directions = performerDirections(options, 4);
      const out = performer({ ...one, scale }, options);
      const root = Math.sqrt(0.8);
      const features = (x: Float64Array, at: number, factor: number) =>
        positiveFeatures(
          x.subarray(4 * at, 4 * at + 4).map((value) => factor * value),
          directions,
        );
      for (let i = 0; i < 3; i++) {
        const weights = Array.from({ length: 5 }, (_, j) => {
          const k = features(one.k, j, Math.sign(scale) * root);
          return features(one.q, i, root).reduce((sum, value, r) => sum + value * k[r], 0);
        });
        const sum = weights.reduce((a, b) => a + b);
        for (let c = 0; c < 4; c++) {
          const expected = weights.reduce((total, w, j) => total + (w / sum) * one.v[4 * j + c], 0);
          expect(out[4 * i + c]).toBeCloseTo(expected, 12);
        }
      }
    }
  });
});

describe('linearAttention', () => {
  const one = randomInputs(shapeOf({ seqlenQ: 30, seqlenK: 30, headDim: 6, headDimV: 4 }), 4);
  const row = (x: Float64Array, i: number, width: number) => x.slice(i * width, (i + 1) * width);

  it('as a recurrence is what it is in parallel', () => {
    const parallel = linearAttention({ ...one, causal: true });
    let state = emptyLinearState(6, 4);
    for (let i = 0; i < 30; i++) {
      const step = linearAttentionStep(state, row(one.q, i, 6), row(one.k, i, 6), row(one.v, i, 4));
      expect(maxDifference(step.out, row(parallel, i, 4))).toBeLessThan(1e-13);
      state = step.state;
    }
  });

  it('a step leaves the state before it as it was', () => {
    const before = emptyLinearState(6, 4);
    linearAttentionStep(before, row(one.q, 0, 6), row(one.k, 0, 6), row(one.v, 0, 4));
    expect(before).toEqual(emptyLinearState(6, 4));
  });

  it('is 0 where the features of all keys are', () => {
    const k = one.k.map(() => -800); // e^-800 is 0
    expect(linearAttention({ ...one, k })).toEqual(new Float64Array(30 * 4));
    const empty = emptyLinearState(6, 4);
    const { out } = linearAttentionStep(empty, row(one.q, 0, 6), row(k, 0, 6), row(one.v, 0, 4));
    expect(out).toEqual(new Float64Array(4));
  });

  it('is a mean of the values, weighted by products of features', () => {
    const phi = (x: number) => (x > 0 ? x : Math.expm1(x)) + 1;
    const out = linearAttention(one);
    const weights = Array.from({ length: 30 }, (_, j) =>
      row(one.q, 2, 6).reduce((sum, value, c) => sum + phi(value) * phi(one.k[6 * j + c]), 0),
    );
    const sum = weights.reduce((a, b) => a + b);
    for (let c = 0; c < 4; c++) {
      const expected = weights.reduce((total, w, j) => total + (w / sum) * one.v[4 * j + c], 0);
      expect(out[8 + c]).toBeCloseTo(expected, 12);
    }
  });

  it('with equal keys is exact: every key weighs the same', () => {
    const k = one.k.map((_, n) => one.k[n % 6]);
    const { out } = standardAttention({ ...one, k });
    expect(maxDifference(linearAttention({ ...one, k }), out)).toBeLessThan(1e-14);
  });
});

describe('reformer', () => {
  /** Shared QK as a problem for standard attention: keys are unit queries, and no self. */
  function sharedQk(of: ApproximationProblem): ReferenceProblem {
    const { shape: sizes, q, causal = false } = of;
    const dim = sizes.headDim;
    const k = Float64Array.from(q, (value, n) => {
      const start = n - (n % dim);
      const length = Math.hypot(...q.subarray(start, start + dim));
      return value / length;
    });
    const alone = (i: number) => (causal && i === 0) || sizes.seqlenQ === 1;
    return { ...of, k, visible: (_b, _h, i, j) => i !== j || alone(i) };
  }
  const plain = randomInputs(
    shapeOf({ batch: 2, seqlenQ: 40, seqlenK: 40, heads: 2, headDim: 8 }),
    5,
  );

  it.each([
    [{}, 1],
    [{ causal: true }, 1],
    [{ causal: true, scale: 3 }, 1],
    [{ causal: true }, 3],
  ])('with one bucket is exact attention with shared QK: %j, %i rounds', (more, rounds) => {
    const of = { ...plain, ...more };
    const expected = standardAttention(sharedQk(of)).out;
    expect(maxDifference(reformer(of, { buckets: 1, rounds }), expected)).toBeLessThan(1e-13);
  });

  it('of a single token is its value', () => {
    const one = randomInputs(shapeOf({ seqlenQ: 1, seqlenK: 1 }), 6);
    expect(maxDifference(reformer(one, { buckets: 4, rounds: 2 }), one.v)).toBeLessThan(1e-15);
  });

  it('comes closer with more rounds', () => {
    const of = { ...plain, scale: 4 };
    const truth = standardAttention(sharedQk(of)).out;
    const errors = [1, 4, 16].map((rounds) =>
      meanError((seed) => reformer(of, { buckets: 8, rounds, seed }), truth),
    );
    expect(errors[1]).toBeLessThan(errors[0]);
    expect(errors[2]).toBeLessThan(errors[1]);
  });

  it('keeps tokens of different buckets apart', () => {
    // Two bundles of queries in opposite directions: no hash puts them together.
    const sizes = shapeOf({ seqlenQ: 16, seqlenK: 16, headDim: 3 });
    const q = Float64Array.from(
      { length: 48 },
      (_, n) => (Math.floor(n / 3) % 2 ? -1 : 1) * (1 + (n % 3)),
    );
    const v = Float64Array.from({ length: 48 }, (_, n) => Math.floor(n / 3) % 2);
    const out = reformer({ shape: sizes, q, k: q, v }, { buckets: 2, rounds: 2, seed: 1n });
    expect(maxDifference(out, v)).toBeLessThan(1e-14);
  });
});

describe('routingTransformer', () => {
  it.each([{}, { causal: true }, { scale: 0.3 }])('with one cluster is exact: %j', (more) => {
    const out = routingTransformer({ ...problem, ...more }, { clusters: 1 });
    expect(maxDifference(out, exact(more))).toBeLessThan(1e-13);
  });

  it('finds clusters that lie apart, and attends within them', () => {
    // Three directions with a little noise; values say which one a key belongs to.
    const sizes = shapeOf({ seqlenQ: 30, seqlenK: 30, headDim: 4, headDimV: 3 });
    const noise = normal(120, 7);
    const x = noise.map((e, n) => (n % 4 === Math.floor(n / 4) % 3 ? 5 : 0) + e / 10);
    const v = Float64Array.from({ length: 90 }, (_, n) =>
      n % 3 === Math.floor(n / 3) % 3 ? 1 : 0,
    );
    const of = { shape: sizes, q: x, k: x, v, scale: 0 };
    for (const seed of seeds) {
      const out = routingTransformer(of, { clusters: 3, seed });
      expect(maxDifference(out, v)).toBeLessThan(1e-12);
    }
  });

  it('costs exactness: the error grows with the clusters', () => {
    const error = (clusters: number) =>
      meanError((seed) => routingTransformer(problem, { clusters, seed }), exact());
    expect(error(4)).toBeGreaterThan(error(2));
    expect(error(2)).toBeGreaterThan(0.01);
  });
});

describe('what they do not know is refused, not left out', () => {
  const run: Record<string, (of: ApproximationProblem) => unknown> = {
    linformer: (of) => linformer(of, { projectedLength: 4 }),
    performer: (of) => performer(of, { features: 4 }),
    linearAttention: (of) => linearAttention(of),
    reformer: (of) => reformer(of, { buckets: 2 }),
    routingTransformer: (of) => routingTransformer(of, { clusters: 2 }),
  };
  const error = (argument: string, code: string) => expect.objectContaining({ argument, code });

  it.each(Object.keys(run))('%s', (name) => {
    const withField = (field: object) => () => run[name]({ ...problem, ...field });
    expect(withField({ softcap: 3 })).toThrow(error('softcap', 'ERR_OPTION'));
    expect(withField({ window: [1, 0] })).toThrow(error('window', 'ERR_OPTION'));
    expect(withField({ q: new Float64Array(3) })).toThrow(error('q', 'ERR_SHAPE'));
    expect(withField({ shape: 4 })).toThrow(error('shape', 'ERR_TYPE'));
    const negative = { shape: { ...shape, seqlenQ: -1, seqlenK: -1 } };
    expect(withField(negative)).toThrow(error('shape.seqlenQ', 'ERR_SHAPE'));
  });

  it.each([linformer, performer, reformer, routingTransformer])('%p without options', (of) => {
    const call = of as (problem: ApproximationProblem) => unknown;
    expect(() => call(problem)).toThrow(error('options', 'ERR_TYPE'));
  });

  it.each([linformer, performer, reformer, routingTransformer])('%p, misspelt', (of) => {
    const call = of as (problem: ApproximationProblem, options: object) => unknown;
    expect(() => call(problem, { sed: 1n })).toThrow(error('sed', 'ERR_OPTION'));
  });

  it.each([
    ['scale', 'ERR_OPTION', () => linearAttention({ ...problem, scale: 1 })],
    ['causal', 'ERR_OPTION', () => linformer({ ...problem, causal: true }, { projectedLength: 2 })],
    ['projectedLength', 'ERR_OPTION', () => linformer(problem, { projectedLength: 0 })],
    [
      'projection',
      'ERR_SHAPE',
      () => linformer(problem, { projectedLength: 2, projection: problem.q }),
    ],
    ['headDim', 'ERR_SHAPE', () => performerDirections({ features: 2 }, 0)],
    ['headDimV', 'ERR_SHAPE', () => emptyLinearState(2, -1)],
    ['features', 'ERR_OPTION', () => performer(problem, { features: 1.5 })],
    ['seed', 'ERR_OPTION', () => performer(problem, { features: 2, seed: -1n })],
    ['buckets', 'ERR_OPTION', () => reformer(problem, { buckets: 3 })],
    ['chunkSize', 'ERR_OPTION', () => reformer(problem, { buckets: 2, chunkSize: 0 })],
    [
      'shape.seqlenK',
      'ERR_SHAPE',
      () => reformer(randomInputs(shapeOf({ seqlenQ: 3, seqlenK: 4 }), 1), { buckets: 2 }),
    ],
    ['clusters', 'ERR_OPTION', () => routingTransformer(problem, { clusters: 0 })],
    [
      'k',
      'ERR_SHAPE',
      () => linearAttentionStep(emptyLinearState(2, 2), normal(2, 1), normal(3, 1), normal(2, 1)),
    ],
  ])('%s: %s', (argument, code, call) => {
    expect(call).toThrow(error(argument, code));
  });
});
