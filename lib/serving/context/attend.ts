// One layer of a step on one part.
import { flashAttentionRagged } from '../../attention/ragged.js';
import { checkInteger } from '../../tensor/check.js';
import type { HostTensor } from '../../tensor/host-tensor.js';
import { tensor } from '../../tensor/make.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type AppendedPages, appendKv } from '../append.js';
import type { PageMemory } from '../page-memory.js';
import { slotIn } from '../reservation.js';
import type { SequenceState } from '../sequence-state.js';
import { tokensOn } from './cut.js';
import { encodeMessage, type Message } from './message.js';
import type { AttendRequest, PartOptions } from './request.js';
import { type RowRun, rowRuns, visibleKeys } from './visible-keys.js';

/** Rows that one call of a kernel takes: those with one window. */
interface Group {
  readonly left: number;
  readonly right: number;
  readonly runs: (RowRun & { readonly state: SequenceState })[];
}

/** The results of rows. */
interface State {
  /** `[rows, heads, headDimV]` */
  readonly out: Float32Array;
  /** `[heads, rows]` */
  readonly lse: Float32Array;
}

/**
 * Appends rows of k and v, which are the part's own new tokens, and attends with q, which has rows
 * of all new tokens. Everything is enqueued when this returns. A row that sees nothing of the part
 * is 0, with lse -Infinity.
 */
export async function attend(
  memory: PageMemory,
  request: AttendRequest,
  states: readonly SequenceState[],
  message: Message,
): Promise<Uint8Array<ArrayBuffer>> {
  const { layers, headDim, headDimV } = memory.shape;
  const { cut, layer, entries, reach } = request;
  checkInteger(layer, 0, layers - 1, 'layer');
  const rows = entries.reduce((sum, { tokens }) => sum + tokens, 0);
  const q = message.rows('q', [rows, -1, headDim]);
  const pages = append(memory, request, states, message);
  const groups = groupsOf(request, states);
  const sinkTokens = tokensOn(cut, reach.sinkTokens);
  let pending: Promise<State>[];
  try {
    const options = { ...request.options, sinkTokens };
    pending = groups.map((group) =>
      attendGroup(memory, group, q, pages ?? memory.layer(layer), options),
    );
  } finally {
    for (const each of Object.values(pages ?? {}) as Tensor[]) each.dispose();
  }
  const done = await Promise.all(pending);
  const axes = { rows, heads: q.shape[1], headDimV };
  const { out, lse } = isWhole(groups, rows) ? done[0] : joined(groups, done, axes);
  return encodeMessage(
    {},
    {
      out: { dtype: 'float32', shape: [rows, axes.heads, headDimV], data: out },
      lse: { dtype: 'float32', shape: [axes.heads, rows], data: lse },
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
      const { data, shape } = message.rows(name, [slots.length, kvHeads, dim]);
      made.push(tensor(data, shape, { dtype: 'float32', device }));
    }
    const { kPages, vPages, ...scales } = memory.layer(layer);
    return appendKv(made[0], made[1], kPages, vPages, { slots, ...scales });
  } finally {
    for (const each of made) each.dispose();
  }
}

/** Rows that see something, by their windows. */
function groupsOf(
  { cut, entries, reach }: AttendRequest,
  states: readonly SequenceState[],
): Group[] {
  const groups = new Map<string, Group>();
  let first = 0;
  entries.forEach(({ length, tokens }, i) => {
    const visible = Array.from({ length: tokens }, (_, n) => visibleKeys(cut, length + n, reach));
    for (const run of rowRuns(visible)) {
      if (run.keys === 0) continue;
      const { left, right } = run;
      const group = groups.get(`${left} ${right}`) ?? { left, right, runs: [] };
      groups.set(`${left} ${right}`, group);
      group.runs.push({ ...run, row: first + run.row, state: states[i] });
    }
    first += tokens;
  });
  return [...groups.values()];
}

const rowsOf = ({ runs }: Group) => runs.reduce((sum, { rows }) => sum + rows, 0);

const isWhole = (groups: readonly Group[], rows: number) =>
  groups.length === 1 && rowsOf(groups[0]) === rows;

function attendGroup(
  memory: PageMemory,
  group: Group,
  q: HostTensor<'float32'>,
  { kPages, vPages, kScales, vScales }: AppendedPages,
  options: PartOptions & { readonly sinkTokens: number },
): Promise<State> {
  const { pageSize, device } = memory.shape;
  const { left, right, runs } = group;
  const rows = rowsOf(group);
  const [, heads, dim] = q.shape;
  const row = heads * dim;
  const data = rows === q.shape[0] ? q.data : new Float32Array(rows * row);
  const cuSeqlensQ = [0];
  for (const run of runs) {
    const end = cuSeqlensQ[cuSeqlensQ.length - 1];
    if (data !== q.data)
      data.set(q.data.subarray(run.row * row, (run.row + run.rows) * row), end * row);
    cuSeqlensQ.push(end + run.rows);
  }
  const columns = runs.reduce((most, { keys }) => Math.max(most, Math.ceil(keys / pageSize)), 0);
  const pageTable = runs.map(({ state }) => {
    const pages = new Int32Array(columns); // what follows a sequence's pages is never looked at
    pages.set(state.pages.subarray(0, columns));
    return pages;
  });
  const rowsOfQ = tensor(data, [rows, heads, dim], { dtype: 'float32', device });
  try {
    const { out, lse } = flashAttentionRagged(rowsOfQ, kPages, vPages, {
      ...options,
      cuSeqlensQ,
      pageTable,
      seqlensK: runs.map(({ keys }) => keys),
      window: [left, right],
      kScales,
      vScales,
      returnLse: true,
    });
    return Promise.all([out.take(), lse.take()]).then(([out, lse]) => ({ out, lse }));
  } finally {
    rowsOfQ.dispose();
  }
}

/** The results of groups, in the order of all rows. */
function joined(
  groups: readonly Group[],
  states: readonly State[],
  {
    rows,
    heads,
    headDimV,
  }: { readonly rows: number; readonly heads: number; readonly headDimV: number },
): State {
  const row = heads * headDimV;
  const out = new Float32Array(rows * row);
  const lse = new Float32Array(heads * rows).fill(-Infinity);
  groups.forEach((group, g) => {
    const state = states[g];
    const count = rowsOf(group);
    let from = 0;
    for (const run of group.runs) {
      out.set(state.out.subarray(from * row, (from + run.rows) * row), run.row * row);
      for (let h = 0; h < heads; h++) {
        const begin = h * count + from;
        lse.set(state.lse.subarray(begin, begin + run.rows), h * rows + run.row);
      }
      from += run.rows;
    }
  });
  return { out, lse };
}
