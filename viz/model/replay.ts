// The state of the machine after any number of steps: what is where, and what has moved.
import type { IoCounter, Named, Range, Step, Tile } from '../../lib/reference/index.js';
import { alongKeys } from './names.js';

/** A stop of the player is a step that one can see. */
const isStop = ({ kind }: Step): boolean => kind !== 'head' && kind !== 'free';

/** What of the named data is in SRAM. */
export interface Resident {
  readonly rows: Range;
  readonly elements: number;
}

/** What is known of one query after a step. */
export interface RowMoment {
  readonly keys: Range;
  readonly m?: number;
  readonly l?: number;
  readonly lse?: number;
  readonly delta?: number;
  readonly rescale?: number;
  /** O, or dQ in the backward pass. */
  readonly result?: Float64Array;
}

export interface MachineState {
  readonly head: number;
  readonly io: IoCounter;
  readonly sram: ReadonlyMap<string, Resident>;
  /** Tiles of this head that were worked on, in order; the last may be at work. */
  readonly tiles: readonly (Tile & { readonly isSkipped: boolean })[];
  /** The tile that is at work, with what was computed of it. */
  readonly active?: { readonly tile: Tile; readonly values: Named };
  /** Rows of S and P that are in HBM; only standard attention puts them there. */
  readonly kept: ReadonlyMap<string, readonly Float64Array[]>;
  /** Rows of results, as they are known. */
  readonly results: ReadonlyMap<string, readonly (Float64Array | number)[]>;
  /** What became of the chosen query, tile by tile. */
  readonly moments: readonly RowMoment[];
  /** Whether queries of this head were finished; in decoding, the splits merged. */
  readonly hasFinished: boolean;
  /** The step that led here. */
  readonly last?: Step;
}

const within = (at: number, [begin, end]: Range) => at >= begin && at < end;

const matrices = new Set(['S', 'P']);

class Replay {
  head = 0;
  io = { loads: 0, stores: 0 };
  sram = new Map<string, Resident>();
  tiles: (Tile & { isSkipped: boolean })[] = [];
  active?: { tile: Tile; values: Named };
  kept = new Map<string, Float64Array[]>();
  results = new Map<string, (Float64Array | number)[]>();
  moments: RowMoment[] = [];
  hasFinished = false;
  last?: Step;
  /** The most elements that SRAM held after any step. */
  peak = 0;

  constructor(private readonly row: number) {}

  take(step: Step): void {
    switch (step.kind) {
      case 'head':
        this.head = step.head;
        this.tiles = [];
        this.kept = new Map();
        this.results = new Map();
        this.moments = [];
        this.hasFinished = false;
        break;
      case 'free':
        this.sram.clear();
        break;
      case 'skip':
        this.tiles.push({ ...step.tile, isSkipped: true });
        break;
      case 'compute':
        this.compute(step.tile, step.values);
        break;
      default:
        this.move(step);
    }
    if (step.kind !== 'compute') {
      this.leaveTile();
      if (step.kind === 'free' || step.kind === 'head') return;
    }
    this.last = step;
    let held = 0;
    for (const { elements } of this.sram.values()) held += elements;
    this.peak = Math.max(this.peak, held);
  }

  private move(step: Step & { kind: 'load' | 'store' }): void {
    for (const [name, elements] of Object.entries(step.elements)) {
      this.io[`${step.kind}s`] += elements;
      if (step.kind === 'load') this.sram.set(name, { rows: step.rows, elements });
      else this.store(name, step.rows);
    }
  }

  private store(name: string, rows: Range): void {
    const values = this.active?.values[name];
    this.sram.delete(name);
    if (!matrices.has(name) || !values) return;
    const kept = this.kept.get(name) ?? [];
    kept[rows[0]] = values[0] as Float64Array;
    this.kept.set(name, kept);
  }

  /** The scores of a tile last no longer than the work on it. */
  private leaveTile(): void {
    for (const name of Object.keys(this.active?.values ?? {})) {
      if (matrices.has(name)) this.sram.delete(name);
    }
    this.active = undefined;
  }

  private compute(tile: Tile, values: Named): void {
    if (tile.keys[1] > tile.keys[0]) this.tiles.push({ ...tile, isSkipped: false });
    else if ('lse' in values) this.hasFinished = true;
    this.active = { tile, values };
    for (const [name, value] of Object.entries(values)) {
      const rows = alongKeys.has(name) ? tile.keys : tile.queries;
      const elements = value instanceof Float64Array ? value.length : countElements(value);
      if (name !== 'rescale') this.sram.set(name, { rows, elements });
      if (matrices.has(name) || name === 'rescale') continue;
      const known = this.results.get(name) ?? [];
      value.forEach((x, r) => {
        known[rows[0] + r] = x;
      });
      this.results.set(name, known);
    }
    if (within(this.row, tile.queries)) this.moments.push(this.momentOf(tile, values));
  }

  private momentOf({ keys, queries }: Tile, values: Named): RowMoment {
    const at = this.row - queries[0];
    const number = (name: string) => (values[name] as Float64Array | undefined)?.[at];
    const result = (values.dQ ?? values.O)?.[at] as Float64Array | undefined;
    const [m, l, lse, delta, rescale] = ['m', 'l', 'lse', 'delta', 'rescale'].map(number);
    return { keys, m, l, lse, delta, rescale, result };
  }
}

const countElements = (rows: readonly Float64Array[]) =>
  rows.reduce((sum, row) => sum + row.length, 0);

/** The state after `stops` visible steps; all of them lead to the end, where SRAM is empty. */
export function stateAfter(steps: readonly Step[], stops: number, row: number): MachineState {
  const replay = new Replay(row);
  let seen = 0;
  for (const step of steps) {
    if (isStop(step) && ++seen > stops) break;
    // What is freed, and which head comes next, shows with the next step.
    if (isStop(step) || seen < stops || isLastStop(steps, stops)) replay.take(step);
  }
  return replay;
}

const totals = new WeakMap<readonly Step[], number>();

/** How many steps there are to see. */
export function countStops(steps: readonly Step[]): number {
  const known = totals.get(steps) ?? steps.filter(isStop).length;
  totals.set(steps, known);
  return known;
}

const isLastStop = (steps: readonly Step[], stops: number) => stops >= countStops(steps);

/** The most elements that SRAM held at a time. */
export function peakSram(steps: readonly Step[]): number {
  const replay = new Replay(0);
  for (const step of steps) replay.take(step);
  return replay.peak;
}
