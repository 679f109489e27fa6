import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import type { Matrix } from './matrix.js';

/** Traffic between the large slow memory (HBM) and the small fast one (SRAM), in elements. */
export interface IoCounter {
  loads: number;
  stores: number;
}

/** Indices `begin` to `end - 1`. */
export type Range = readonly [begin: number, end: number];

/** A block of query-key pairs of one head. */
export interface Tile {
  readonly queries: Range;
  readonly keys: Range;
}

/** Matrices and vectors of an algorithm by the names that its paper gives them. */
export type Named = Readonly<Record<string, Matrix | Float64Array>>;

/**
 * One thing that an algorithm did.
 *
 * - `head`: what follows is about this head.
 * - `load`, `store`: rows `rows` of the named data crossed the border, so many elements of each.
 * - `compute`: a tile was worked on in SRAM, or, if it has no keys, queries were finished. `values`
 *   are copies of what is known after it.
 * - `skip`: no query of the tile sees a key of it, so it was left out.
 * - `free`: nothing in SRAM is needed any more.
 */
export type Step =
  | {
      readonly kind: 'head';
      readonly batch: number;
      readonly head: number;
      readonly kvHead: number;
    }
  | {
      readonly kind: 'load' | 'store';
      readonly rows: Range;
      readonly elements: Readonly<Record<string, number>>;
    }
  | { readonly kind: 'compute'; readonly tile: Tile; readonly values: Named }
  | { readonly kind: 'skip'; readonly tile: Tile }
  | { readonly kind: 'free' };

/** How an algorithm is watched. */
export interface MachineOptions {
  /** Traffic is added to it. */
  readonly io?: IoCounter;
  /** Told of every step, as it is done. */
  readonly trace?: (step: Step) => void;
}

type Data = Matrix | Float64Array;

const elements = (x: Data) =>
  x instanceof Float64Array ? x.length : x.reduce((sum, row) => sum + row.length, 0);

const copy = (x: Data): Data =>
  x instanceof Float64Array ? x.slice() : x.map((row) => row.slice());

function mapNamed<T>(data: Named, map: (x: Data) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(data).map(([name, x]) => [name, map(x)]));
}

/**
 * The two-level model of the FlashAttention paper (arXiv 2205.14135, section 2.1): what crosses the
 * border between HBM and SRAM is counted, what happens in SRAM is free.
 */
export class Machine {
  private readonly io: IoCounter;
  private readonly trace: MachineOptions['trace'];

  /** @throws FlashAttentionError ERR_TYPE, naming `io` or `trace` */
  constructor({ io = { loads: 0, stores: 0 }, trace }: MachineOptions) {
    if (typeof io?.loads !== 'number' || typeof io.stores !== 'number') {
      fail('ERR_TYPE', 'io', 'an object { loads, stores } of numbers', show(io));
    }
    if (trace !== undefined && typeof trace !== 'function') {
      fail('ERR_TYPE', 'trace', 'a function', show(trace));
    }
    this.io = io;
    this.trace = trace;
  }

  head({ batch, head, kvHead }: { batch: number; head: number; kvHead: number }): void {
    this.trace?.({ kind: 'head', batch, head, kvHead });
  }

  /** Rows of HBM, from row `from` on, come into SRAM. All named have as many rows. */
  load(from: number, data: Named): void {
    this.move('load', from, data);
  }

  /** Rows leave SRAM for HBM, from row `from` on. */
  store(from: number, data: Named): void {
    this.move('store', from, data);
  }

  compute(tile: Tile, values: Named): void {
    this.trace?.({ kind: 'compute', tile, values: mapNamed(values, copy) });
  }

  skip(tile: Tile): void {
    this.trace?.({ kind: 'skip', tile });
  }

  free(): void {
    this.trace?.({ kind: 'free' });
  }

  private move(kind: 'load' | 'store', from: number, data: Named): void {
    for (const x of Object.values(data)) this.io[`${kind}s`] += elements(x);
    if (!this.trace) return;
    const rows = Object.values(data)[0].length;
    this.trace({ kind, rows: [from, from + rows], elements: mapNamed(data, elements) });
  }
}
