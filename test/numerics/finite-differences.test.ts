/**
 * The gradients against no formula at all: how the loss sum(out * dOut) of standard attention in
 * float64 changes when one element of the inputs does.
 */
import {
  type ReferenceShape,
  standardAttention,
  standardAttentionBackward,
} from '../../lib/reference/index.js';
import { differentiated, flashGradients } from '../support/gradients.js';
import { bound, maxError, randomProblem, type SharedOptions } from '../support/numerics.js';
import { blockMasks, options, shape } from '../support/option-cases.js';
import { uniform } from '../support/random.js';

const elements = 3;
const step = 1e-3;

/** d loss / d x[n] by central differences of fourth order; wrong by about 1e-11 here. */
function difference(x: Float64Array, n: number, loss: () => number): number {
  const x0 = x[n];
  const at = (offset: number) => {
    x[n] = x0 + offset;
    return loss();
  };
  const slope = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step);
  x[n] = x0;
  return slope;
}

/** An element that has a gradient, if there is one to be found. */
function telling(gradients: ArrayLike<number>, random: () => number): number {
  let at = 0;
  for (let tries = 0; tries < 200; tries++) {
    at = Math.floor(random() * gradients.length);
    if (gradients[at] !== 0) break;
  }
  return at;
}

async function expectDifferences(shape: ReferenceShape, options: SharedOptions): Promise<void> {
  const random32 = randomProblem(shape, options, 11);
  const inputs = {
    q: Float64Array.from(random32.q),
    k: Float64Array.from(random32.k),
    v: Float64Array.from(random32.v),
    ...(options.sinks && { sinks: Float64Array.from(options.sinks) }),
  };
  const { problem, rowsOfDOut, dOut, whole } = differentiated(
    { ...random32, ...inputs },
    { dtype: 'float32', seed: 11, mostRows: 12 },
  );
  const actual = await flashGradients(problem, dOut, options);
  const standard = whole(standardAttentionBackward(problem, rowsOfDOut, { precision: 'float32' }));
  const loss = () => {
    const { out } = standardAttention(problem);
    let sum = 0;
    for (let n = 0; n < out.length; n++) sum += out[n] * rowsOfDOut[n];
    return sum;
  };
  const random = uniform(13);
  const names = { q: 'dq', k: 'dk', v: 'dv', sinks: 'dSinks' } as const;
  for (const [input, name] of Object.entries(names)) {
    const x = inputs[input as keyof typeof inputs];
    if (!x) continue;
    const at = Array.from({ length: elements }, () => telling(standard[name] ?? [], random));
    const truth = at.map((n) => difference(x, n, loss));
    const of = (gradients: ArrayLike<number> = []) => at.map((n) => gradients[n]);
    const error = maxError(of(actual[name]), truth);
    const allowed = bound(of(standard[name]), truth);
    expect({ name, error }).toEqual({ name, error: Math.min(error, allowed) });
  }
}

test.each(Object.entries(options))('%s', async (_name, option) => {
  await expectDifferences(shape, option);
});

test.each(Object.entries(blockMasks))('block mask %s', async (_name, make) => {
  const blockMask = make();
  await expectDifferences(shape, { blockMask });
  blockMask.dispose();
});

test.each([
  [1, 1, 64],
  [1, 147, 40],
  [3, 799, 8],
  [64, 128, 128],
  [113, 203, 96],
  [128, 217, 111],
  [200, 33, 256],
])('%i queries, %i keys, head dim %i', async (seqlenQ, seqlenK, headDim) => {
  const shape = { batch: 1, seqlenQ, seqlenK, heads: 2, kvHeads: 1, headDim };
  for (const causal of [false, true]) await expectDifferences(shape, { causal });
});
