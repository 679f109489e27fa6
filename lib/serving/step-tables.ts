import { tensor } from '../tensor/make.js';
import type { Tensor } from '../tensor/tensor.js';
import type { PageMemory } from './page-memory.js';
import { type Reservation, type Reserved, slotOf } from './reservation.js';
import { type PackedTrees, packTrees } from './trees.js';

/** Where the tokens of a step go, and what they see: built once, for all layers. */
export interface StepTables {
  readonly slots: Tensor<'int32'>;
  readonly positions: Tensor<'int32'>;
  readonly cuSeqlensQ: Tensor<'int32'>;
  readonly pageTable: Tensor<'int32'>;
  readonly seqlensK: Tensor<'int32'>;
  /** Where sequences are trees: which of its own tokens each one sees. */
  readonly treeMask: Tensor<'int32'> | undefined;
}

/** For page tables, which are long: fresh memory takes longer than to fill it. */
let scratch = new Int32Array(0);

function scratchOf(length: number): Int32Array {
  if (scratch.length < length) scratch = new Int32Array(2 * length);
  return scratch.subarray(0, length);
}

/** The caller disposes them. */
export function stepTables({ entries }: Reservation, { shape }: PageMemory): StepTables {
  const { device } = shape;
  const total = entries.reduce((sum, { tokens }) => sum + tokens, 0);
  const width = Math.max(...entries.map(({ state, tail }) => state.fullPages + tail.length));
  const slots = new Int32Array(total);
  const trees = entries.some(({ parents }) => parents !== undefined) && packed(entries);
  const positions = trees ? trees.positions : new Int32Array(total);
  const cuSeqlensQ = new Int32Array(entries.length + 1);
  const seqlensK = new Int32Array(entries.length);
  const pageTable = scratchOf(entries.length * width);
  entries.forEach((entry, b) => {
    const { state, tail, tokens } = entry;
    const begin = cuSeqlensQ[b];
    for (let i = 0; i < tokens; i++) {
      slots[begin + i] = slotOf(entry, i);
      if (!trees) positions[begin + i] = state.length + i;
    }
    cuSeqlensQ[b + 1] = begin + tokens;
    seqlensK[b] = state.length + tokens;
    pageTable.set(state.pages, b * width);
    pageTable.set(tail, b * width + state.fullPages);
  });
  const made: Tensor[] = [];
  const ints = (data: Int32Array, lengths: number[] = [data.length]) => {
    const one = tensor(data, lengths, { dtype: 'int32', device });
    made.push(one);
    return one;
  };
  try {
    return {
      slots: ints(slots),
      positions: ints(positions),
      cuSeqlensQ: ints(cuSeqlensQ),
      pageTable: ints(pageTable, [entries.length, width]),
      seqlensK: ints(seqlensK),
      treeMask: trees ? ints(trees.mask, [total, trees.words]) : undefined,
    };
  } catch (error) {
    for (const each of made) each.dispose();
    throw error;
  }
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
