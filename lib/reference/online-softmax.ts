import { checkList, checkObject } from './check.js';
import type { SoftmaxResult } from './safe-softmax.js';

/**
 * What a softmax has to remember of the inputs it has seen: a set of inputs, summed up in two
 * numbers.
 */
export interface SoftmaxState {
  /** The largest input: max_j x_j. */
  readonly m: number;
  /** Their sum, relative to the largest: sum_j e^(x_j - m). */
  readonly l: number;
}

/** The state of no inputs at all: the neutral element of the merge. */
export const EMPTY_SOFTMAX: SoftmaxState = { m: -Infinity, l: 0 };

/**
 * The state of two sets of inputs together:
 *
 *     (m_a, l_a) + (m_b, l_b) = (m, l_a e^(m_a - m) + l_b e^(m_b - m))   with m = max(m_a, m_b)
 *
 * Equation 4 of Milakov and Gimelshein (arXiv 1805.02867). It is associative and commutative, so
 * inputs may come in any order, in tiles, or be reduced as a tree over threads: everything
 * FlashAttention does rests on this.
 *
 * @throws FlashAttentionError ERR_TYPE, naming the state
 */
export function mergeSoftmax(a: SoftmaxState, b: SoftmaxState): SoftmaxState {
  checkObject('a', a);
  checkObject('b', b);
  const m = Math.max(a.m, b.m);
  if (m === -Infinity) return EMPTY_SOFTMAX; // e^(-inf - -inf) would be NaN
  return { m, l: a.l * Math.exp(a.m - m) + b.l * Math.exp(b.m - m) };
}

/**
 * Softmax in two passes over the input instead of three: maximum and denominator are found
 * together. Whenever a larger input turns up, what was summed so far is corrected by e^(old maximum
 * - new maximum).
 *
 * Algorithm 3 of Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018, arXiv
 * 1805.02867.
 *
 * @param x any length, also 0; -Infinity takes no part
 * @param sink a logit that takes part in the denominator only; -Infinity = none
 * @throws FlashAttentionError ERR_TYPE, naming the argument
 */
export function onlineSoftmax(x: ArrayLike<number>, sink = -Infinity): SoftmaxResult {
  checkList('x', x);
  const n = x.length;
  const p = new Float64Array(n);

  // One input is a state of its own: it is the maximum, and the sum relative to itself is 1.
  let state = mergeSoftmax(EMPTY_SOFTMAX, { m: sink, l: 1 });
  for (let j = 0; j < n; j++) state = mergeSoftmax(state, { m: x[j], l: 1 });
  const { m, l } = state;
  if (m === -Infinity) return { p, lse: -Infinity };

  for (let j = 0; j < n; j++) p[j] = Math.exp(x[j] - m) / l;
  return { p, lse: m + Math.log(l) };
}
