/** Numbers to positions. */
export interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

/** Position of `value` between the ends of a range, by its place in the domain. */
const between = (place: number, [from, to]: readonly [number, number]): number =>
  from + (to - from) * place;

/** From 0 to `maximum`, with round steps. */
export function linearScale(maximum: number, range: readonly [number, number]): Scale {
  const rough = maximum / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((s) => s >= rough) as number;
  const ticks = Array.from({ length: Math.floor(maximum / step + 1e-9) + 1 }, (_, i) => i * step);
  return { at: (value) => between(value / maximum, range), ticks };
}

/**
 * Around all `values`, with ticks at 1, 2, 5 of each decade, or at its 1 alone where there are
 * many.
 */
export function logScale(values: readonly number[], range: readonly [number, number]): Scale {
  const low = Math.log10(Math.min(...values));
  const high = Math.log10(Math.max(...values));
  const margin = Math.max((high - low) * 0.06, 0.08);
  const [from, to] = [low - margin, high + margin];
  const factors = to - from > 3.5 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let decade = Math.floor(from); decade <= to; decade++) {
    for (const factor of factors) {
      const tick = factor * 10 ** decade;
      if (Math.log10(tick) >= from && Math.log10(tick) <= to) ticks.push(tick);
    }
  }
  return { at: (value) => between((Math.log10(value) - from) / (to - from), range), ticks };
}

/** Around all `values`, with ticks at powers of two: bytes. */
export function binaryScale(values: readonly number[], range: readonly [number, number]): Scale {
  const { at } = logScale(values, range);
  const low = Math.ceil(Math.log2(Math.min(...values)));
  const high = Math.floor(Math.log2(Math.max(...values)));
  const step = Math.max(1, Math.ceil((high - low) / 6));
  const ticks = Array.from(
    { length: Math.max(0, Math.floor((high - low) / step) + 1) },
    (_, i) => 2 ** (low + i * step),
  );
  return { at, ticks };
}

/** Logarithmic with the given values as its ticks: lengths that double. */
export function lengthScale(lengths: readonly number[], range: readonly [number, number]): Scale {
  const ticks = [...new Set(lengths)].sort((a, b) => a - b);
  return { at: logScale(ticks, range).at, ticks };
}
