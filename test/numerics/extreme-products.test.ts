/**
 * Products of queries and keys that are finite but have no room in base 2, in tiles of many rows:
 * the kernels that keep scores in base 2 do such rows again.
 */
import { flashAttention } from '../../lib/index.js';
import { standardAttention } from '../../lib/reference/index.js';
import {
  attentionOptions,
  bound,
  type FloatDType,
  maxError,
  qkvTensors,
  randomProblem,
  rounding,
  type SharedOptions,
  testedDTypes,
} from '../support/numerics.js';

const [seqlenQ, seqlenK, heads, headDim] = [150, 260, 2, 64];

/** Rows whose scores are extreme, and the greatest of them. */
const extremeRows: readonly (readonly [number, number])[] = [
  [3, 3e38],
  [64, -3e38],
  [65, 2.75e38],
  [149, -3.2e38],
];

/** Scores of those rows are x or 7/8 of x, those of the others as usual. */
function problemOf(options: SharedOptions, dtype: FloatDType) {
  const shape = { batch: 1, seqlenQ, seqlenK, heads, headDim };
  const random = randomProblem(shape, options, 1, dtype);
  const [q, k] = [Float32Array.from(random.q), Float32Array.from(random.k)];
  for (const [i, x] of extremeRows) {
    q.fill(0, i * heads * headDim, (i + 1) * heads * headDim);
    for (let h = 0; h < heads; h++) q[(i * heads + h) * headDim] = rounding[dtype](x);
  }
  for (let j = 0; j < seqlenK; j++) {
    for (let h = 0; h < heads; h++) k[(j * heads + h) * headDim] = j % 3 === 1 ? 0.875 : 1;
  }
  return { ...random, scale: 1, q, k };
}

const cases: Record<string, SharedOptions> = {
  'all keys': { numSplits: 1 },
  'three splits': { numSplits: 3 },
  causal: { causal: true, numSplits: 1 },
  'causal, four splits': { causal: true, numSplits: 4 },
  'a window': { window: [40, 3], numSplits: 1 },
  'a window, three splits': { window: [40, 3], numSplits: 3 },
};

describe.each(testedDTypes.filter((dtype) => dtype !== 'float16'))('%s', (dtype) => {
  test.each(Object.entries(cases))('%s', async (_, options) => {
    const problem = problemOf(options, dtype);
    const { q, k, v } = qkvTensors(problem, dtype);
    const given = attentionOptions({ ...options, scale: 1 }, problem.shape);
    const { out, lse } = flashAttention(q, k, v, { ...given, returnLse: true });
    const truth = standardAttention(problem);
    const standard = standardAttention(problem, { precision: dtype });
    const values = await out.toFloat32();
    expect(maxError(values, truth.out)).toBeLessThanOrEqual(bound(standard.out, truth.out));
    const sums = await lse.toFloat32();
    truth.lse.forEach((want, at) => {
      expect(Math.abs(sums[at] - want)).toBeLessThanOrEqual(Math.abs(want) * 2 ** -21 + 1e-4);
    });
  });
});
