// One layer of a step on one part.
import { checkInteger } from '../../tensor/check.js';
import { tensor } from '../../tensor/make.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type AppendedPages, appendKv } from '../append.js';
import type { PageMemory } from '../page-memory.js';
import { slotIn } from '../reservation.js';
import type { SequenceState } from '../sequence-state.js';
import { attendRuns } from './attend-runs.js';
import { attendWhole } from './attend-whole.js';
import { tokensOn } from './cut.js';
import { encodeMessage, type Message } from './message.js';
import type { AttendRequest } from './request.js';

/**
 * Appends rows of k and v, which are the part's own new tokens, and attends with q, which has rows
 * of all new tokens. Everything is enqueued when this returns. A row that sees nothing of the part
 * is 0, with lse -Infinity. Sums are those of float32 rows, whatever the dtype of the message.
 */
export async function attend(
  memory: PageMemory,
  request: AttendRequest,
  states: readonly SequenceState[],
  message: Message,
): Promise<Uint8Array<ArrayBuffer>> {
  const { layers, headDim, headDimV } = memory.shape;
  const { layer, entries, replyDType } = request;
  checkInteger(layer, 0, layers - 1, 'layer');
  const rows = entries.reduce((sum, { tokens }) => sum + tokens, 0);
  const q = message.rows('q', [rows, -1, headDim]);
  const [, heads] = q.shape;
  const slopes = message.has('alibiSlopes') ? message.rows('alibiSlopes', [heads]) : undefined;
  const appended = append(memory, request, states, message);
  const of = { memory, request, states, q, pages: appended ?? memory.layer(layer) };
  const pending = slopes ? attendRuns(of, slopes) : attendWhole(of);
  for (const each of Object.values(appended ?? {}) as Tensor[]) each.dispose();
  const { out, lse } = await pending;
  return encodeMessage(
    {},
    {
      out: { dtype: replyDType, shape: [rows, heads, headDimV], data: out },
      lse: { dtype: 'float32', shape: [heads, rows], data: lse },
    },
  );
}

/** Slots of `count` tokens from `begin` on, in the part's own numbering. */
export function slotsOf(
  { pages, pageSize }: SequenceState,
  begin: number,
  count: number,
): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => slotIn(pages, begin + i, pageSize));
}

/** The pages after the new tokens; undefined where none of them is the part's. */
function append(
  memory: PageMemory,
  { cut, layer, entries }: AttendRequest,
  states: readonly SequenceState[],
  message: Message,
): AppendedPages | undefined {
  const slots = entries.flatMap(({ length, tokens }, i) => {
    const before = tokensOn(cut, length);
    return [...slotsOf(states[i], before, tokensOn(cut, length + tokens) - before)];
  });
  if (slots.length === 0) return undefined;
  const { kvHeads, headDim, headDimV, device } = memory.shape;
  const made: Tensor[] = [];
  try {
    for (const [name, dim] of [
      ['k', headDim],
      ['v', headDimV],
    ] as const) {
      const { dtype, data, shape } = message.rows(name, [slots.length, kvHeads, dim]);
      made.push(tensor(data, shape, { dtype, device }));
    }
    const { kPages, vPages, ...scales } = memory.layer(layer);
    return appendKv(made[0], made[1], kPages, vPages, { slots, ...scales });
  } finally {
    for (const each of made) each.dispose();
  }
}
