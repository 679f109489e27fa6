import { type NativeStep, native } from '../native/addon.js';
import { call } from '../native/errors.js';
import { contiguousStrides } from '../tensor/shape.js';
import type { PageMemory } from './page-memory.js';
import { type Reservation, type Reserved, slotOf } from './reservation.js';
import { type PackedTrees, packTrees } from './trees.js';

/** Where the tables are put together: fresh memory takes longer than to fill it. */
let scratch = new Int32Array(0);

/** A result's axes. */
interface Axes {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** What a layer of so many heads gives. */
interface ResultAxes {
  readonly heads: number;
  readonly out: Axes;
  readonly lse: Axes;
}

/**
 * Where the tokens of a step go, and what they see: built and judged once, for all layers, and
 * brought to the device in one piece, by the first layer that is attended to.
 */
export class PreparedStep {
  readonly handle: NativeStep;
  readonly totalTokens: number;
  readonly #headDimV: number;
  /** Of the layer before: most have as many heads, and what they give may share its axes. */
  #axes: ResultAxes | undefined;

  constructor({ entries }: Reservation, { shape }: PageMemory) {
    const { numPages, pageSize, headDimV, device } = shape;
    const batch = entries.length;
    const total = entries.reduce((sum, { tokens }) => sum + tokens, 0);
    this.totalTokens = total;
    this.#headDimV = headDimV;
    const pagesPerSequence = entries.reduce((most, each) => Math.max(most, pagesOf(each)), 0);
    const trees = entries.some(({ parents }) => parents !== undefined) ? packed(entries) : null;
    const treeWords = trees?.words ?? 0;
    const copies = entries.flatMap(({ copy }) => copy ?? []);

    const lengths = [total, total, batch + 1, batch, batch * pagesPerSequence];
    lengths.push(total * treeWords, 3 * copies.length);
    const all = lengths.reduce((sum, length) => sum + length);
    if (scratch.length < all) scratch = new Int32Array(2 * all);
    let end = 0;
    const cut = (length: number) => {
      end += length;
      return scratch.subarray(end - length, end);
    };
    const [slots, positions, cuSeqlensQ, seqlensK, pageTable, treeMask, copied] = lengths.map(cut);
    cuSeqlensQ[0] = 0;
    entries.forEach((entry, b) => {
      const { state, tail, tokens } = entry;
      const begin = cuSeqlensQ[b];
      for (let i = 0; i < tokens; i++) {
        slots[begin + i] = slotOf(entry, i);
        positions[begin + i] = trees ? trees.positions[begin + i] : state.length + i;
      }
      cuSeqlensQ[b + 1] = begin + tokens;
      seqlensK[b] = state.length + tokens;
      // What follows a sequence's pages is never looked at.
      pageTable.set(state.pages, b * pagesPerSequence);
      pageTable.set(tail, b * pagesPerSequence + state.fullPages);
    });
    if (trees) treeMask.set(trees.mask);
    copied.set(copies.flatMap(({ from, to, rows }) => [from, to, rows]));

    const tables = scratch.subarray(0, all);
    const counts = { batch, total, pagesPerSequence, treeWords, copies: copies.length };
    this.handle = call(() => native().newStep({ device, tables, ...counts, numPages, pageSize }));
  }

  /** Of what a layer of q with so many heads gives. */
  resultAxes(heads: number): ResultAxes {
    if (this.#axes?.heads !== heads) {
      const { totalTokens } = this;
      const out = axesOf([totalTokens, heads, this.#headDimV]);
      this.#axes = { heads, out, lse: axesOf([heads, totalTokens]) };
    }
    return this.#axes;
  }

  /** Layers that were enqueued keep what they need. */
  dispose(): void {
    call(() => native().endStep(this.handle));
  }
}

function axesOf(shape: readonly number[]): Axes {
  return { shape, strides: contiguousStrides(shape) };
}

function pagesOf({ state, tail }: Reserved): number {
  return state.fullPages + tail.length;
}

function packed(entries: readonly Reserved[]): PackedTrees {
  return packTrees(
    entries.map(({ state, tokens, parents }) => ({
      queries: tokens,
      keys: state.length + tokens,
      parents,
    })),
  );
}
