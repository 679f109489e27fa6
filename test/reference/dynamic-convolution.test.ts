import {
  type ConvolutionProblem,
  dynamicConvolution,
  lightweightConvolution,
  safeSoftmax,
  standardAttention,
} from '../../lib/reference/index.js';
import { maxDifference, normal } from './random-problem.js';

const shape = { batch: 2, seqlen: 11, heads: 3, headDim: 5, kernelSize: 4 };
const { batch, seqlen, heads, headDim, kernelSize } = shape;
const x = normal(batch * seqlen * heads * headDim, 1);
const weights = normal(batch * seqlen * heads * kernelSize, 2);
const problem: ConvolutionProblem = { shape, x, weights };

/** Rows `from` to `to` of every sequence. */
const rows = (data: Float64Array, width: number, from: number, to: number, length = seqlen) =>
  Float64Array.from(
    Array.from({ length: batch }, (_, b) => [
      ...data.subarray((b * length + from) * width, (b * length + to) * width),
    ]).flat(),
  );

const piece = (from: number, to: number, state?: Float64Array): ConvolutionProblem => ({
  shape: { ...shape, seqlen: to - from },
  x: rows(x, heads * headDim, from, to),
  weights: rows(weights, heads * kernelSize, from, to),
  ...(state && { state }),
});

describe('dynamicConvolution', () => {
  it('is the sum over taps, one element at a time', () => {
    const { out } = dynamicConvolution(problem);
    for (let b = 0; b < batch; b++) {
      for (let i = 0; i < seqlen; i++) {
        for (let h = 0; h < heads; h++) {
          const at = ((b * seqlen + i) * heads + h) * kernelSize;
          const { p } = safeSoftmax(weights.subarray(at, at + kernelSize));
          for (let c = 0; c < headDim; c++) {
            let sum = 0;
            for (let t = 0; t < kernelSize; t++) {
              const from = i - (kernelSize - 1) + t;
              if (from >= 0) sum += p[t] * x[((b * seqlen + from) * heads + h) * headDim + c];
            }
            expect(out[((b * seqlen + i) * heads + h) * headDim + c]).toBeCloseTo(sum, 14);
          }
        }
      }
    }
  });

  it('gives in pieces, also of one token, what it gives in one call', () => {
    const whole = dynamicConvolution(problem);
    const pieces: Float64Array[] = [];
    let state: Float64Array | undefined;
    const cuts = [0, 1, 2, 2, 7, 8, 11];
    for (let n = 1; n < cuts.length; n++) {
      const part = dynamicConvolution(piece(cuts[n - 1], cuts[n], state));
      pieces.push(part.out);
      state = part.state;
    }
    expect(state).toEqual(whole.state);
    cuts.slice(1).forEach((to, n) => {
      expect(pieces[n]).toEqual(rows(whole.out, heads * headDim, cuts[n], to));
    });
  });

  it('keeps the last inputs as its state, and zeros before the first', () => {
    expect(dynamicConvolution(problem).state).toEqual(rows(x, heads * headDim, 8, 11));
    const { state } = dynamicConvolution(piece(0, 1));
    expect(rows(state, heads * headDim, 0, 2, 3)).toEqual(new Float64Array(60));
    expect(rows(state, heads * headDim, 2, 3, 3)).toEqual(rows(x, heads * headDim, 0, 1));
  });

  it('is attention in a window whose scores are given instead of computed', () => {
    // The scores of a bias alone: q = 0. The state fills the window of the first tokens.
    const long = { batch: 1, seqlenQ: seqlen, seqlenK: seqlen + kernelSize - 1, heads: 1, headDim };
    const v = normal(long.seqlenK * headDim, 3);
    const mask = new Float64Array(seqlen * long.seqlenK).fill(-Infinity);
    const w = normal(seqlen * kernelSize, 4);
    for (let i = 0; i < seqlen; i++) {
      for (let t = 0; t < kernelSize; t++) mask[i * long.seqlenK + i + t] = w[i * kernelSize + t];
    }
    const attention = standardAttention({
      shape: long,
      q: new Float64Array(seqlen * headDim),
      k: new Float64Array(v.length),
      v,
      mask: { data: mask, shape: [seqlen, long.seqlenK] },
    });
    const { out } = dynamicConvolution({
      shape: { ...shape, batch: 1, heads: 1 },
      x: v.slice((kernelSize - 1) * headDim),
      weights: w,
      state: v.slice(0, (kernelSize - 1) * headDim),
    });
    expect(maxDifference(out, attention.out)).toBeLessThan(1e-14);
  });

  it('leaves out taps whose logit is -Infinity', () => {
    const spoilt = { ...piece(0, 2), x: rows(x, heads * headDim, 0, 2) };
    spoilt.x[0] = NaN;
    const w = rows(weights, heads * kernelSize, 0, 2);
    w[heads * kernelSize + kernelSize - 2] = -Infinity; // token 1 does not look at token 0
    w.fill(-Infinity, 0, kernelSize); //                   and token 0 looks at nothing
    const { out } = dynamicConvolution({ ...spoilt, weights: w });
    expect(out.some(Number.isNaN)).toBe(false);
    expect([...out.subarray(0, headDim)]).toEqual([0, 0, 0, 0, 0]);
  });
});

it('lightweightConvolution is a dynamic one with the same kernel for every token', () => {
  const kernels = normal(heads * kernelSize, 5);
  const repeated = Float64Array.from(
    { length: batch * seqlen * kernels.length },
    (_, n) => kernels[n % kernels.length],
  );
  expect(lightweightConvolution({ ...problem, weights: kernels })).toEqual(
    dynamicConvolution({ ...problem, weights: repeated }),
  );
});

it('a kernel of one tap changes nothing', () => {
  const one = { ...shape, kernelSize: 1 };
  const { out, state } = lightweightConvolution({ shape: one, x, weights: normal(heads, 6) });
  expect(out).toEqual(x);
  expect(state).toEqual(new Float64Array(0));
});

it.each([
  ['shape', 'ERR_TYPE', { shape: 5 }],
  ['shape.kernelSize', 'ERR_SHAPE', { shape: { ...shape, kernelSize: 0 } }],
  ['shape.seqlen', 'ERR_SHAPE', { shape: { ...shape, seqlen: 1.5 } }],
  ['x', 'ERR_SHAPE', { x: normal(5, 1) }],
  ['x', 'ERR_DTYPE', { x: new Int32Array(x.length) }],
  ['weights', 'ERR_SHAPE', { weights: normal(heads * kernelSize, 1) }],
  ['state', 'ERR_SHAPE', { state: normal(4, 1) }],
])('names %s when that is wrong: %s', (argument, code, wrong) => {
  const spoilt = { ...problem, ...wrong } as ConvolutionProblem;
  expect(() => dynamicConvolution(spoilt)).toThrow(expect.objectContaining({ argument, code }));
});
