import type { WeightSource } from './graph-builder.js';

/** Numbers that a seed determines (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Normally distributed (Box–Muller), of standard deviation `deviation` around `mean`. */
  normal(length: number, deviation: number, mean = 0): Float32Array {
    const result = new Float32Array(length);
    for (let i = 0; i < length; i += 2) {
      const radius = deviation * Math.sqrt(-2 * Math.log(1 - this.next()));
      const angle = 2 * Math.PI * this.next();
      result[i] = mean + radius * Math.cos(angle);
      if (i + 1 < length) result[i + 1] = mean + radius * Math.sin(angle);
    }
    return result;
  }

  /** Integers in [0, below). */
  integers(length: number, below: number): Int32Array {
    return Int32Array.from({ length }, () => Math.floor(this.next() * below));
  }
}

/** Normally distributed weights of a fixed seed. */
export function randomWeights(seed: number): WeightSource {
  const random = new Random(seed);
  return (_, length, { deviation, mean }) => random.normal(length, deviation, mean);
}
