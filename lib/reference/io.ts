import type { Matrix } from './matrix.js';

/** Traffic between the large slow memory (HBM) and the small fast one (SRAM), in elements. */
export interface IoCounter {
  loads: number;
  stores: number;
}

function elements(x: Matrix | Float64Array): number {
  return x instanceof Float64Array ? x.length : x.reduce((sum, row) => sum + row.length, 0);
}

/**
 * The border of the slow memory in the two-level model of the FlashAttention paper (arXiv
 * 2205.14135, section 2.1): what crosses it is counted, what happens in SRAM is free.
 */
export class Hbm {
  constructor(private readonly counter: IoCounter = { loads: 0, stores: 0 }) {}

  load(...data: (Matrix | Float64Array)[]): void {
    for (const x of data) this.counter.loads += elements(x);
  }

  store(...data: (Matrix | Float64Array)[]): void {
    for (const x of data) this.counter.stores += elements(x);
  }
}
