import { attendExactly, type Judge } from '../oracle.js';
import { model, type rowAt } from './filled-cache.js';

/** What a row of a step sees: so many keys, and which. */
export interface Seen {
  readonly keys: number;
  rowsOf(key: number, kvHead: number): ReturnType<typeof rowAt>;
}

const sampledRows = 12;

/**
 * Some rows of the right answer of a step, in float64, that every contestant must agree with before
 * it is timed.
 */
export class TokensOracle implements Judge<Float32Array> {
  readonly #rows: readonly { at: number; out: Float64Array }[];
  readonly #rms: number;

  /** q is `[tokens, heads, headDim]`. */
  constructor(q: Float32Array, seenBy: (token: number) => Seen) {
    const { heads, kvHeads, headDim } = model;
    const tokens = q.length / (heads * headDim);
    this.#rows = Array.from({ length: sampledRows }, (_, n) => {
      const token = n === 0 ? tokens - 1 : Math.floor((n * 0.381966 * tokens) % tokens);
      const head = (n * 7) % heads;
      const at = (token * heads + head) * headDim;
      const { keys, rowsOf } = seenBy(token);
      const kvHead = Math.floor(head / (heads / kvHeads));
      const query = q.subarray(at, at + headDim);
      return { at, out: attendExactly(query, keys, (key) => rowsOf(key, kvHead)) };
    });
    const squares = this.#rows.flatMap(({ out }) => [...out]).reduce((sum, x) => sum + x * x, 0);
    this.#rms = Math.sqrt(squares / (sampledRows * headDim));
  }

  deviation(result: Float32Array): number {
    let largest = 0;
    for (const { at, out } of this.#rows) {
      out.forEach((x, d) => {
        // NaN stays, and passes nowhere.
        largest = Math.max(largest, Math.abs(result[at + d] - x));
      });
    }
    return largest / this.#rms;
  }
}
