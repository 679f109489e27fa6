// The three ways to a softmax over one row of scores, step by step, from the reference.
import {
  EMPTY_SOFTMAX,
  memoryEfficientAttention,
  mergeSoftmax,
  onlineSoftmax,
  type Step,
  safeSoftmax,
} from '../../lib/reference/index.js';

/** What is known after a score, or after a chunk of them. */
export interface Moment {
  readonly what: string;
  readonly m: number;
  readonly l: number;
  /** What the sum so far was multiplied by. */
  readonly rescale?: number;
}

export interface Way {
  readonly name: string;
  readonly passes: string;
  readonly source: string;
  readonly moments: readonly Moment[];
  readonly p: Float64Array;
  readonly lse: number;
}

/** Pass one finds m, pass two sums, pass three divides. */
export function safe(x: readonly number[]): Way {
  const { p, lse } = safeSoftmax(x);
  const m = Math.max(...x);
  // The reference sums in this order; its denominator is e^(lse - m).
  let l = 0;
  const sums = x.map((score, j) => {
    l += Math.exp(score - m);
    return { what: `x${subscript(j)}`, m, l };
  });
  return {
    name: 'Safe',
    passes: 'Three passes: maximum, sum, quotient',
    source: 'Milakov and Gimelshein 2018, algorithm 2',
    moments: sums,
    p,
    lse,
  };
}

/** Pass one finds m and l together, pass two divides. */
export function online(x: readonly number[]): Way {
  let state = EMPTY_SOFTMAX;
  const moments = x.map((score, j) => {
    const before = state;
    state = mergeSoftmax(state, { m: score, l: 1 });
    return { what: `x${subscript(j)}`, ...state, rescale: Math.exp(before.m - state.m) };
  });
  const { p, lse } = onlineSoftmax(x);
  return {
    name: 'Online',
    passes: 'Two passes: maximum and sum, quotient',
    source: 'Milakov and Gimelshein 2018, algorithm 3',
    moments,
    p,
    lse,
  };
}

/** One pass over chunks; the division comes last, of the output. With V = I the output is P. */
export function lazy(x: readonly number[], chunk: number): Way {
  const n = x.length;
  const identity = Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0));
  const steps: Step[] = [];
  const { out, lse } = memoryEfficientAttention(
    {
      shape: { batch: 1, seqlenQ: 1, seqlenK: n, heads: 1, headDim: 1, headDimV: n },
      q: Float64Array.of(1),
      k: Float64Array.from(x),
      v: identity,
      scale: 1,
    },
    { keyChunkSize: chunk, trace: (step) => steps.push(step) },
  );
  const moments = steps.flatMap((step) => {
    if (step.kind !== 'compute' || !('weights' in step.values)) return [];
    const { max, weights } = step.values as Record<string, Float64Array>;
    const [begin, end] = step.tile.keys;
    const what =
      end - begin === 1 ? `x${subscript(begin)}` : `x${subscript(begin)} … x${subscript(end - 1)}`;
    return [{ what, m: max[0], l: weights[0] }];
  });
  return {
    name: 'Lazy',
    passes: 'One pass over chunks; the quotient at the very end',
    source: 'Rabe and Staats 2021',
    moments,
    p: out,
    lse: lse[0],
  };
}

/** 12 as ₁₂. */
export const subscript = (n: number): string =>
  String(n).replace(/\d/g, (digit) => String.fromCodePoint(0x2080 + Number(digit)));
