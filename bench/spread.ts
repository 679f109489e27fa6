/** Order statistics of repeated measurements. */
export interface Spread {
  readonly count: number;
  readonly min: number;
  readonly p10: number;
  readonly median: number;
  readonly p90: number;
  readonly max: number;
}

/** Linear between neighbours; `sorted` ascending. */
function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    count: sorted.length,
    min: sorted[0],
    p10: quantile(sorted, 0.1),
    median: quantile(sorted, 0.5),
    p90: quantile(sorted, 0.9),
    max: sorted[sorted.length - 1],
  };
}

export const medianOf = (values: readonly number[]): number => spreadOf(values).median;

/** A median and where it lies, from so many measurements. */
export interface Interval {
  readonly count: number;
  readonly median: number;
  /** The true median lies between these with 95 % confidence; see `intervalOf`. */
  readonly low: number;
  readonly high: number;
}

/**
 * By order statistics: a measurement is below the true median with probability 1/2, whatever its
 * distribution. Fewer than six say less than 95 %: all of them are the interval then.
 */
export function intervalOf(values: readonly number[]): Interval {
  const sorted = [...values].sort((a, b) => a - b);
  const count = sorted.length;
  let below = 0;
  // P(at most `below` of `count` are below the median), a sum of binomial terms.
  for (let term = 0.5 ** count, sum = term; sum <= 0.025; sum += term) {
    below++;
    term *= (count - below + 1) / below;
  }
  const at = Math.max(below - 1, 0);
  return { count, median: medianOf(values), low: sorted[at], high: sorted[count - 1 - at] };
}

/** A limit that moved further than this in a run says nothing about the shares of calls. */
const steadyWithin = 0.15;
export const isSteady = (least: number, most: number): boolean =>
  most > 0 && least >= (1 - steadyWithin) * most;
