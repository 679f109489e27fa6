import type { Layout } from '../lib/index.js';
import type { AttentionShape } from './shape.js';

/** Knows some of the right result. */
export interface Judge<Result> {
  /** The largest deviation from it, in units of the right numbers' root mean square. */
  deviation(result: Result, layout: Layout): number;
}

/** q, k and v as plain numbers. */
export interface Numbers {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly layout: Layout;
}

interface SampledRow {
  readonly batch: number;
  readonly head: number;
  readonly query: number;
  readonly out: Float64Array;
}

const sampledRows = 12;

/** One of the sampled rows: the first and the last, and some between, all over batch and heads. */
export const sampled = (n: number, batch: number, heads: number, seqlen: number) => ({
  batch: n % batch,
  head: (n * 7) % heads,
  row: n === 1 ? seqlen - 1 : Math.floor((n * 0.381966 * seqlen) % seqlen),
});

/** Where row `i` of a head begins. */
export function rowOffset(
  layout: Layout,
  [seqlen, heads, headDim]: readonly [number, number, number],
  batch: number,
  head: number,
  i: number,
): number {
  return layout === 'bshd'
    ? ((batch * seqlen + i) * heads + head) * headDim
    : ((batch * heads + head) * seqlen + i) * headDim;
}

/**
 * A few rows of the right answer, in float64, that every contestant must agree with before it is
 * timed.
 */
export class Oracle implements Judge<Float32Array> {
  readonly #shape: AttentionShape;
  readonly #rows: readonly SampledRow[];
  readonly #rms: number;

  /** With `lengths`, of the batch, keys and queries from there on are padding. */
  constructor(shape: AttentionShape, numbers: Numbers, lengths?: readonly number[]) {
    const { batch, heads, seqlenQ, seqlenK, causal, headDim } = shape;
    this.#shape = shape;
    this.#rows = Array.from({ length: sampledRows }, (_, n) => {
      const of = n % batch;
      const { row: query, ...place } = sampled(n, batch, heads, lengths?.[of] ?? seqlenQ);
      const keys = lengths?.[of] ?? (causal ? query + seqlenK - seqlenQ + 1 : seqlenK);
      const out = exactRow(shape, numbers, place.batch, place.head, query, keys);
      return { ...place, query, out };
    });
    const squares = this.#rows.flatMap(({ out }) => [...out]).reduce((sum, x) => sum + x * x, 0);
    this.#rms = Math.sqrt(squares / (sampledRows * headDim));
  }

  deviation(out: Float32Array, layout: Layout): number {
    const { seqlenQ, heads, headDim } = this.#shape;
    let largest = 0;
    for (const row of this.#rows) {
      const sizes = [seqlenQ, heads, headDim] as const;
      const at = rowOffset(layout, sizes, row.batch, row.head, row.query);
      for (let d = 0; d < headDim; d++) {
        // NaN stays, and passes nowhere.
        largest = Math.max(largest, Math.abs(out[at + d] - row.out[d]));
      }
    }
    return largest / this.#rms;
  }
}

function exactRow(
  { seqlenQ, seqlenK, heads, kvHeads, headDim }: AttentionShape,
  { q, k, v, layout }: Numbers,
  batch: number,
  head: number,
  query: number,
  keys: number,
): Float64Array {
  const kvHead = Math.floor(head / (heads / kvHeads));
  const qAt = rowOffset(layout, [seqlenQ, heads, headDim], batch, head, query);
  return attendExactly(q.subarray(qAt, qAt + headDim), keys, (j) => {
    const at = rowOffset(layout, [seqlenK, kvHeads, headDim], batch, kvHead, j);
    return [k.subarray(at, at + headDim), v.subarray(at, at + headDim)];
  });
}

/** One row of attention over so many keys, in float64. */
export function attendExactly(
  q: Float32Array,
  keys: number,
  rowsOf: (key: number) => readonly [k: Float32Array, v: Float32Array],
): Float64Array {
  const headDim = q.length;
  const scores = new Float64Array(keys);
  for (let j = 0; j < keys; j++) {
    const [k] = rowsOf(j);
    for (let d = 0; d < headDim; d++) scores[j] += q[d] * k[d];
    scores[j] /= Math.sqrt(headDim);
  }
  const maximum = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const out = new Float64Array(headDim);
  let sum = 0;
  for (let j = 0; j < keys; j++) {
    const p = Math.exp(scores[j] - maximum);
    const [, v] = rowsOf(j);
    sum += p;
    for (let d = 0; d < headDim; d++) out[d] += p * v[d];
  }
  return out.map((x) => x / sum);
}
