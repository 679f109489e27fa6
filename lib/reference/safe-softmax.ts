import { checkList } from './check.js';

/** A softmax and what its denominator was. */
export interface SoftmaxResult {
  /** Probabilities; they sum to 1 (to less, by the sink's share, where there is a sink). */
  readonly p: Float64Array;
  /** log(sum_j e^(x_j)), natural, the sink included. -Infinity if nothing takes part. */
  readonly lse: number;
}

/**
 * Softmax that cannot overflow, in three passes over the input:
 *
 *     m   = max_j x_j
 *     l   = sum_j e^(x_j - m)
 *     p_j = e^(x_j - m) / l
 *
 * "Safe softmax", algorithm 2 of Milakov and Gimelshein, "Online normalizer calculation for
 * softmax", 2018, arXiv 1805.02867. Every exponent is at most 0, and at least one is 0, so l lies
 * between 1 and the length.
 *
 * An input of -Infinity takes no part; if all are, every probability is 0 (not NaN, and not 1/n).
 *
 * @param x any length, also 0
 * @param sink a logit that takes part in m and l only; -Infinity = none
 * @throws FlashAttentionError ERR_TYPE, naming the argument
 */
export function safeSoftmax(x: ArrayLike<number>, sink = -Infinity): SoftmaxResult {
  checkList('x', x);
  const n = x.length;
  const p = new Float64Array(n);

  let m = sink;
  for (let j = 0; j < n; j++) m = Math.max(m, x[j]);
  if (m === -Infinity) return { p, lse: -Infinity };

  let l = Math.exp(sink - m);
  for (let j = 0; j < n; j++) l += Math.exp(x[j] - m);

  for (let j = 0; j < n; j++) p[j] = Math.exp(x[j] - m) / l;
  return { p, lse: m + Math.log(l) };
}
