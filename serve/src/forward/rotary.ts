import { type DeviceName, type Tensor, tensor } from 'flash-attention';
import type { RotaryTables } from '../cutter/rotary-tables.js';
import type { NewTokens } from './packed-tokens.js';

/** Rotary tables on a device: the rows for long sequences lie behind those for short ones. */
export class Rotary {
  /** float32 `[rows, pairs]` */
  readonly cos: Tensor;
  /** Likewise. */
  readonly sin: Tensor;
  readonly #short: number;
  readonly #long: number | undefined;

  constructor({ short, long }: RotaryTables, device: DeviceName) {
    const [cos, sin] = (['cos', 'sin'] as const).map((name) => {
      const rows = long ? joined(short[name], long[name]) : short[name];
      return tensor(rows, [rows.length / short.pairs, short.pairs], { device });
    });
    this.cos = cos;
    this.sin = sin;
    this.#short = short.rows;
    this.#long = long?.rows;
  }

  /**
   * The rows of new tokens, one sequence behind the other. Undefined: where they stand says it.
   *
   * @throws RangeError when a sequence gets longer than its table.
   */
  rowsOf(entries: readonly NewTokens[]): Int32Array | undefined {
    const isLong = ({ longRope }: NewTokens) => longRope && this.#long !== undefined;
    for (const entry of entries) {
      const rows = isLong(entry) ? (this.#long as number) : this.#short;
      const last = entry.first + entry.tokens.length;
      if (last <= rows) continue;
      throw new RangeError(`${last} tokens of a sequence, of ${rows} in its rotary table`);
    }
    if (!entries.some(isLong)) return undefined;
    return Int32Array.from(
      entries.flatMap((entry) => {
        const begin = (isLong(entry) ? this.#short : 0) + entry.first;
        return Array.from(entry.tokens, (_, i) => begin + i);
      }),
    );
  }

  dispose(): void {
    this.cos.dispose();
    this.sin.dispose();
  }
}

function joined(first: Float32Array, second: Float32Array): Float32Array {
  const all = new Float32Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}
