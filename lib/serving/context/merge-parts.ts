// Tree attention's reduction (Shyam et al. 2024, arXiv 2408.04093) with one level: attention over
// disjoint keys is merged by lse, in the order of the parts and not of their arrival.
import { type AttentionState, mergeAttentionStates } from '../../attention/merge.js';
import type { DeviceName } from '../../native/device.js';
import { tensor } from '../../tensor/make.js';
import { type HostRows, widened, zeroRows } from './host-rows.js';
import type { Message } from './message.js';

/** Rows of all new tokens. */
export interface RowAxes {
  readonly total: number;
  readonly heads: number;
  readonly headDimV: number;
}

/** Attention of the rows over their keys. */
export interface PartState {
  /** `[total, heads, headDimV]` */
  readonly out: Float32Array;
  /** `[heads, total]` */
  readonly lse: Float32Array;
}

/** Attention of the rows over the keys of a part. */
export interface ReplyState {
  /** `[total, heads, headDimV]`, of the dtype of the reply. */
  readonly out: HostRows;
  /** `[heads, total]` */
  readonly lse: Float32Array;
}

/** A stretch of rows. */
export interface Stretch {
  readonly begin: number;
  readonly end: number;
}

/** A reply over all rows: those that the part was not asked for saw nothing of it. */
export function stateOfReply(
  reply: Message,
  stretches: readonly Stretch[],
  { total, heads, headDimV }: RowAxes,
): ReplyState {
  const rows = stretches.reduce((sum, { begin, end }) => sum + end - begin, 0);
  const out = reply.rows('out', [rows, heads, headDimV]);
  const lse = reply.rows('lse', [heads, rows]).data as Float32Array;
  if (rows === total) return { out, lse };
  const row = heads * headDimV;
  const all = {
    out: zeroRows(out.dtype, total * row),
    lse: new Float32Array(heads * total).fill(-Infinity),
  };
  let from = 0;
  for (const { begin, end } of stretches) {
    const count = end - begin;
    all.out.data.set(out.data.subarray(from * row, (from + count) * row), begin * row);
    for (let h = 0; h < heads; h++) {
      const at = h * rows + from;
      all.lse.set(lse.subarray(at, at + count), h * total + begin);
    }
    from += count;
  }
  return all;
}

/** Sinks as a state of their own: they join the softmax once, with no value. */
export function stateOfSinks(sinks: Float32Array, { total, heads, headDimV }: RowAxes): ReplyState {
  const lse = new Float32Array(heads * total);
  for (let h = 0; h < heads; h++) lse.fill(sinks[h], h * total, (h + 1) * total);
  return { out: zeroRows('float32', total * heads * headDimV), lse };
}

/** The attention over all keys. */
export async function mergeParts(
  states: readonly ReplyState[],
  axes: RowAxes,
  device: DeviceName,
): Promise<PartState> {
  const { total, heads, headDimV } = axes;
  const [{ out: first, lse: sums }] = states;
  if (states.length === 1 && first.dtype === 'float32') {
    return { out: first.data as Float32Array, lse: sums };
  }
  const made: AttentionState<'float32'>[] = [];
  try {
    for (const { out, lse } of states) {
      made.push({
        out: widened(out, [1, total, heads, headDimV], device),
        lse: tensor(lse, [1, heads, total], { dtype: 'float32', device }),
      });
    }
    const merged = mergeAttentionStates(made);
    const [out, lse] = await Promise.all([merged.out.take(), merged.lse.take()]);
    return { out, lse };
  } finally {
    for (const { out, lse } of made) {
      out.dispose();
      lse.dispose();
    }
  }
}
