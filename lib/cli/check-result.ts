import type { AttentionOptions, AttentionState, Tensor } from '../index.js';
import { type ReferenceProblem, standardAttention } from '../reference/index.js';
import type { FloatDType } from '../tensor/host-tensor.js';
import { withProgress } from './progress.js';

/** Products that the reference computes in about a second. */
const productBudget = 2e8;
/** First, middle and last. */
const minRows = 3;

/** Largest deviation from float64, and the largest allowed. */
export interface Deviation {
  error: number;
  /** Of standard attention in the same dtype. */
  standardError: number;
  allowed: number;
}

export interface CheckResult {
  /** The query rows compared, of every head and sequence. */
  readonly rows: readonly number[];
  /** How many there are. */
  readonly seqlenQ: number;
  readonly out: Deviation;
  readonly lse: Deviation;
  readonly ok: boolean;
}

/** One error at most twice that of standard attention computed in the same dtype, plus 1e-5. */
export function allowedError(standardError: number): number {
  return 2 * standardError + 1e-5;
}

/**
 * Compares a result with standard attention in float64: all rows if that takes about a second, else
 * rows spread evenly from the first to the last, in every head.
 */
export async function checkResult(
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  result: AttentionState,
  options: AttentionOptions,
): Promise<CheckResult> {
  const { layout, scale, causal, window, sinkTokens, softcap } = options;
  const scoring = dropUndefined({ scale, causal, window, sinkTokens, softcap });
  const order = layout === 'bhsd' ? [0, 2, 1, 3] : [0, 1, 2, 3];
  const [query, key, value, out] = [q, k, v, result.out].map((t) => t.transpose(...order));
  const [batch, seqlenQ, heads, headDim] = query.shape;
  const [, seqlenK, kvHeads, headDimV] = value.shape;
  const rows = sampleRows(seqlenQ, batch * heads * seqlenK * (headDim + headDimV));
  const group = heads / kvHeads;
  const shape = { batch: 1, seqlenQ, seqlenK, heads: group, kvHeads: 1, headDim, headDimV };
  const outError = new MaxErrors();
  const lseError = new MaxErrors();

  const check = async (b: number, kvHead: number) => {
    const mine = [kvHead * group, (kvHead + 1) * group] as const;
    const host = (t: Tensor, range: readonly [number, number]) =>
      floats(t.slice([b, b + 1], null, range));
    const problem: ReferenceProblem = {
      ...scoring,
      shape,
      q: await host(query, mine),
      k: await host(key, [kvHead, kvHead + 1]),
      v: await host(value, [kvHead, kvHead + 1]),
      queryRows: rows,
    };
    const exact = standardAttention(problem);
    const standard = standardAttention(problem, { precision: q.dtype as FloatDType });
    const outRows = pickRows(await host(out, mine), [1, seqlenQ, group * headDimV], rows);
    const lse = await floats(result.lse.slice([b, b + 1], mine));
    outError.add(outRows, standard.out, exact.out);
    lseError.add(pickRows(lse, [group, seqlenQ, 1], rows), standard.lse, exact.lse);
  };

  await withProgress('checking', batch * kvHeads, async (progress) => {
    for (let n = 0; n < batch * kvHeads; n++) {
      await check(Math.floor(n / kvHeads), n % kvHeads);
      progress.update(n + 1);
    }
  });
  return {
    rows,
    seqlenQ,
    out: outError.deviation,
    lse: lseError.deviation,
    ok: outError.ok && lseError.ok,
  };
}

function dropUndefined<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

/** The elements of a view, which is disposed. */
async function floats(view: Tensor): Promise<Float32Array> {
  try {
    return await view.toFloat32();
  } finally {
    view.dispose();
  }
}

/**
 * Rows whose reference costs at most the budget, evenly spread; at least first, middle and last.
 */
export function sampleRows(seqlenQ: number, productsPerRow: number): number[] {
  const affordable = Math.floor(productBudget / Math.max(productsPerRow, 1));
  const count = Math.min(seqlenQ, Math.max(affordable, minRows));
  const step = count > 1 ? (seqlenQ - 1) / (count - 1) : 0;
  return Array.from({ length: count }, (_, n) => Math.round(n * step));
}

/** The rows of the middle axis of a row-major [outer, seqlen, inner] array. */
function pickRows(
  data: Float32Array,
  [outer, seqlen, inner]: readonly [number, number, number],
  rows: readonly number[],
): Float32Array {
  const picked = new Float32Array(outer * rows.length * inner);
  for (let o = 0; o < outer; o++) {
    rows.forEach((row, r) => {
      const start = (o * seqlen + row) * inner;
      picked.set(data.subarray(start, start + inner), (o * rows.length + r) * inner);
    });
  }
  return picked;
}

/**
 * Largest deviations of a result and of standard attention from the exact one, over all that is
 * added.
 */
class MaxErrors {
  #error = 0;
  #standardError = 0;

  add(actual: Float32Array, standard: Float64Array, exact: Float64Array): void {
    for (let i = 0; i < exact.length; i++) {
      this.#error = Math.max(this.#error, distance(actual[i], exact[i]));
      this.#standardError = Math.max(this.#standardError, distance(standard[i], exact[i]));
    }
  }

  get deviation(): Deviation {
    const standardError = this.#standardError;
    return { error: this.#error, standardError, allowed: allowedError(standardError) };
  }

  get ok(): boolean {
    return this.#error <= allowedError(this.#standardError);
  }
}

/**
 * |a - b|; equal infinities and two NaN are no distance apart, one of them alone is infinitely far.
 */
function distance(a: number, b: number): number {
  if (Object.is(a, b) || a === b) return 0;
  const difference = Math.abs(a - b);
  return Number.isNaN(difference) ? Infinity : difference;
}
