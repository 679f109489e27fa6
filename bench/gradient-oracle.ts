import type { Layout } from '../lib/index.js';
import { type Judge, type Numbers, rowOffset, sampled } from './oracle.js';
import type { AttentionShape } from './shape.js';

/** In the shapes and the layout of q, k and v. */
export interface Gradients {
  readonly dq: Float32Array;
  readonly dk: Float32Array;
  readonly dv: Float32Array;
}

/** The inputs of a backward pass as plain numbers, without grouped heads. */
export interface GradientNumbers extends Numbers {
  readonly out: Float32Array;
  /** [batch, heads, seqlenQ] */
  readonly lse: Float32Array;
  readonly dOut: Float32Array;
}

interface ExactRow {
  readonly of: keyof Gradients;
  readonly batch: number;
  readonly head: number;
  readonly row: number;
  readonly values: Float64Array;
}

const sampledRows = 6;

/**
 * A few rows of dQ and a few keys' dK and dV, in float64. A row of dQ is computed from q, k, v and
 * dOut alone. Those of dK and dV need every row's softmax, and take it from the forward call's out
 * and lse: were they wrong, dQ, or the contestants that do not use them, would disagree.
 */
export class GradientOracle implements Judge<Gradients> {
  readonly #shape: AttentionShape;
  readonly #rows: readonly ExactRow[];
  readonly #rms = new Map<keyof Gradients, number>();

  constructor(shape: AttentionShape, numbers: GradientNumbers) {
    const { batch, heads, seqlenQ, seqlenK, headDim } = shape;
    this.#shape = shape;
    this.#rows = Array.from({ length: sampledRows }, (_, n) => {
      const query = sampled(n, batch, heads, seqlenQ);
      const key = sampled(n, batch, heads, seqlenK);
      const dq = exactQueryRow(shape, numbers, query.batch, query.head, query.row);
      const { dk, dv } = exactKeyRows(shape, numbers, key.batch, key.head, key.row);
      return [
        { of: 'dq' as const, ...query, values: dq },
        { of: 'dk' as const, ...key, values: dk },
        { of: 'dv' as const, ...key, values: dv },
      ];
    }).flat();
    for (const name of ['dq', 'dk', 'dv'] as const) {
      const values = this.#rows.flatMap((row) => (row.of === name ? [...row.values] : []));
      const squares = values.reduce((sum, x) => sum + x * x, 0);
      this.#rms.set(name, Math.sqrt(squares / (sampledRows * headDim)));
    }
  }

  deviation(gradients: Gradients, layout: Layout): number {
    const { seqlenQ, seqlenK, heads, headDim } = this.#shape;
    let largest = 0;
    for (const { of, batch, head, row, values } of this.#rows) {
      const seqlen = of === 'dq' ? seqlenQ : seqlenK;
      const at = rowOffset(layout, [seqlen, heads, headDim], batch, head, row);
      const rms = this.#rms.get(of) as number;
      for (let d = 0; d < headDim; d++) {
        // NaN stays, and passes nowhere.
        largest = Math.max(largest, Math.abs(gradients[of][at + d] - values[d]) / rms);
      }
    }
    return largest;
  }
}

function dot(a: Float32Array, at: number, b: Float32Array, bt: number, count: number): number {
  let sum = 0;
  for (let d = 0; d < count; d++) sum += a[at + d] * b[bt + d];
  return sum;
}

const visibleKeys = ({ seqlenQ, seqlenK, causal }: AttentionShape, query: number): number =>
  causal ? query + seqlenK - seqlenQ + 1 : seqlenK;

function exactQueryRow(
  shape: AttentionShape,
  { q, k, v, dOut, layout }: GradientNumbers,
  batch: number,
  head: number,
  query: number,
): Float64Array {
  const { seqlenQ, seqlenK, heads, headDim } = shape;
  const at = rowOffset(layout, [seqlenQ, heads, headDim], batch, head, query);
  const keyAt = (j: number) => rowOffset(layout, [seqlenK, heads, headDim], batch, head, j);
  const scale = 1 / Math.sqrt(headDim);
  const visible = visibleKeys(shape, query);
  const scores = Float64Array.from(
    { length: visible },
    (_, j) => scale * dot(q, at, k, keyAt(j), headDim),
  );
  const maximum = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = scores.map((s) => Math.exp(s - maximum));
  const sum = weights.reduce((a, b) => a + b, 0);
  const p = weights.map((w) => w / sum);
  const dp = p.map((_, j) => dot(dOut, at, v, keyAt(j), headDim));
  const delta = p.reduce((total, x, j) => total + x * dp[j], 0);
  const dq = new Float64Array(headDim);
  for (let j = 0; j < visible; j++) {
    const ds = scale * p[j] * (dp[j] - delta);
    for (let d = 0; d < headDim; d++) dq[d] += ds * k[keyAt(j) + d];
  }
  return dq;
}

function exactKeyRows(
  shape: AttentionShape,
  { q, k, v, out, lse, dOut, layout }: GradientNumbers,
  batch: number,
  head: number,
  key: number,
): { dk: Float64Array; dv: Float64Array } {
  const { seqlenQ, seqlenK, heads, headDim } = shape;
  const keyAt = rowOffset(layout, [seqlenK, heads, headDim], batch, head, key);
  const scale = 1 / Math.sqrt(headDim);
  const dk = new Float64Array(headDim);
  const dv = new Float64Array(headDim);
  for (let i = 0; i < seqlenQ; i++) {
    if (key >= visibleKeys(shape, i)) continue;
    const at = rowOffset(layout, [seqlenQ, heads, headDim], batch, head, i);
    const s = scale * dot(q, at, k, keyAt, headDim);
    const p = Math.exp(s - lse[(batch * heads + head) * seqlenQ + i]);
    const delta = dot(dOut, at, out, at, headDim);
    const ds = scale * p * (dot(dOut, at, v, keyAt, headDim) - delta);
    for (let d = 0; d < headDim; d++) {
      dv[d] += p * dOut[at + d];
      dk[d] += ds * q[at + d];
    }
  }
  return { dk, dv };
}
