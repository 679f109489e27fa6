import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkInteger, checkNumbers } from './check.js';
import { gather, range, scatterAdd } from './layout.js';
import { addScaled, type Matrix, zeros } from './matrix.js';
import type { Numbers } from './problem.js';
import { safeSoftmax } from './safe-softmax.js';

/** The sizes of a convolution. */
export interface ConvolutionShape {
  readonly batch: number;
  readonly seqlen: number;
  /** Groups of channels that share a kernel: H of the paper. */
  readonly heads: number;
  /** Channels of a head: d / H of the paper. */
  readonly headDim: number;
  /** K, the number of taps. */
  readonly kernelSize: number;
}

export interface ConvolutionProblem {
  readonly shape: ConvolutionShape;
  /** [batch, seqlen, heads, headDim] */
  readonly x: Numbers;
  /**
   * Logits of the taps: [heads, kernelSize] of a lightweight convolution, [batch, seqlen, heads,
   * kernelSize] of a dynamic one. The last tap is the token itself.
   */
  readonly weights: Numbers;
  /** `[batch, kernelSize - 1, heads, headDim]`: the inputs before x. Default: zeros. */
  readonly state?: Numbers;
}

export interface ConvolutionResult {
  /** [batch, seqlen, heads, headDim] */
  readonly out: Float64Array;
  /** `[batch, kernelSize - 1, heads, headDim]`: the last inputs, where the next call goes on. */
  readonly state: Float64Array;
}

const SIZES: readonly [keyof ConvolutionShape, number][] = [
  ['batch', 0],
  ['seqlen', 0],
  ['heads', 1],
  ['headDim', 1],
  ['kernelSize', 1],
];

function check(problem: ConvolutionProblem, perToken: boolean): void {
  if (typeof problem !== 'object' || problem === null)
    fail('ERR_TYPE', 'problem', 'an object', show(problem));
  const { shape, x, weights, state } = problem;
  if (typeof shape !== 'object' || shape === null)
    fail('ERR_TYPE', 'shape', 'an object', show(shape));
  for (const [size, least] of SIZES) checkInteger(`shape.${size}`, shape[size], least, 'ERR_SHAPE');
  const { batch, seqlen, heads, headDim, kernelSize } = shape;
  const kernels = perToken ? batch * seqlen : 1;
  const meaning = perToken ? '[batch, seqlen, heads, kernelSize]' : '[heads, kernelSize]';
  checkNumbers('x', x, batch * seqlen * heads * headDim, '[batch, seqlen, heads, headDim]');
  checkNumbers('weights', weights, kernels * heads * kernelSize, meaning);
  if (state === undefined) return;
  const rows = batch * (kernelSize - 1);
  checkNumbers('state', state, rows * heads * headDim, '[batch, kernelSize - 1, heads, headDim]');
}

/**
 * One head: out_i = sum_t softmax(w_i)_t x_(i - (K - 1) + t), where x begins with the state.
 *
 * @param x (K - 1 + N) x d
 * @param kernelAt the K logits of token i
 */
function convolve(x: Matrix, N: number, kernelAt: (i: number) => Float64Array): Matrix {
  const out = zeros(N, x[0]?.length ?? 0);
  for (let i = 0; i < N; i++) {
    const w = kernelAt(i);
    const { p } = safeSoftmax(w);
    for (let t = 0; t < w.length; t++) {
      if (w[t] === -Infinity) continue; // a tap that is not there, not one that is multiplied by 0
      addScaled(out[i], p[t], x[i + t]);
    }
  }
  return out;
}

function solve(problem: ConvolutionProblem, perToken: boolean): ConvolutionResult {
  check(problem, perToken);
  const { batch: batches, seqlen, heads, headDim, kernelSize } = problem.shape;
  const before = kernelSize - 1;
  const start = problem.state ?? new Float64Array(batches * before * heads * headDim);
  const out = new Float64Array(problem.x.length);
  const state = new Float64Array(start.length);
  for (let batch = 0; batch < batches; batch++) {
    for (let head = 0; head < heads; head++) {
      const x = [
        ...gather(start, [before, heads, headDim], batch, head, range(before)),
        ...gather(problem.x, [seqlen, heads, headDim], batch, head, range(seqlen)),
      ];
      const kernels = perToken
        ? gather(problem.weights, [seqlen, heads, kernelSize], batch, head, range(seqlen))
        : gather(problem.weights, [1, heads, kernelSize], 0, head, [0]);
      const rows = convolve(x, seqlen, (i) => kernels[perToken ? i : 0]);
      scatterAdd(out, [seqlen, heads, headDim], batch, head, range(seqlen), rows);
      const last = x.slice(seqlen);
      scatterAdd(state, [before, heads, headDim], batch, head, range(before), last);
    }
  }
  return { out, state };
}

/**
 * Lightweight convolution: depthwise and causal, with one kernel per head that all its channels
 * and all tokens share, normalised by a softmax over its taps:
 *
 *     out_(i, h, c) = sum_(t < K) softmax(w_h)_t x_(i - (K - 1) + t, h, c)
 *
 * Equation 3 of Wu, Fan, Baevski, Dauphin and Auli, "Pay Less Attention with Lightweight and
 * Dynamic Convolutions", ICLR 2019, arXiv 1901.10430. Inputs before the first are 0, and keep their
 * share of the softmax.
 *
 * O(N K d) for a sequence, and K - 1 inputs of memory to go on from. What it gives up: a token sees
 * K - 1 tokens before it and nothing else, with weights that depend on the distance alone.
 *
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE or ERR_DTYPE, naming the field
 */
export function lightweightConvolution(problem: ConvolutionProblem): ConvolutionResult {
  return solve(problem, false);
}

/**
 * Dynamic convolution: a lightweight convolution whose kernel is made anew for every token, from
 * that token, by a linear map `w_i = W x_i` (a matrix product before this function):
 *
 *     out_(i, h, c) = sum_(t < K) softmax(w_(i, h))_t x_(i - (K - 1) + t, h, c)
 *
 * Section 3.2 of Wu et al., arXiv 1901.10430. The weights know the token that looks and the
 * distance, but never what is looked at: that is what it gives up beside all that lies further
 * away than K - 1.
 *
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE or ERR_DTYPE, naming the field
 */
export function dynamicConvolution(problem: ConvolutionProblem): ConvolutionResult {
  return solve(problem, true);
}
