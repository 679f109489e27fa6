import { Random as Numbers } from '../test/models/random.js';

/** Draws that a seed determines. */
export class Random extends Numbers {
  /** An integer from `least` to `most`. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  one<T>(of: readonly T[]): T {
    return of[this.integer(0, of.length - 1)];
  }
}
