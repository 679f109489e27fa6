// A part of a sequence as one sequence to a kernel: where a token stands matters only for what is
// seen, which the cut keeps in order.
import { flashAttentionRagged } from '../../attention/ragged.js';
import type { SequenceState } from '../sequence-state.js';
import { tokensOn } from './cut.js';
import { widened, zeroRows } from './host-rows.js';
import { type PartLayer, type RowState, taken } from './part-layer.js';
import type { AttendRequest } from './request.js';
import { type RowRun, rowRuns, visibleKeys } from './visible-keys.js';

/** Rows that one call of a kernel takes: those with one window. */
interface Group {
  readonly left: number;
  readonly right: number;
  readonly runs: (RowRun & { readonly state: SequenceState })[];
}

/** Attention without ALiBi. All of it is enqueued when this returns. */
export async function attendWhole(layer: PartLayer): Promise<RowState> {
  const { request, states, q } = layer;
  const groups = groupsOf(request, states);
  const done = await Promise.all(groups.map((group) => attendGroup(layer, group)));
  return groups.length === 1 && rowsOf(groups[0]) === q.shape[0]
    ? done[0]
    : joined(groups, done, layer);
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

function attendGroup({ memory, request, q, pages }: PartLayer, group: Group): Promise<RowState> {
  const { pageSize, device } = memory.shape;
  const { left, right, runs } = group;
  const rows = rowsOf(group);
  const [, heads, dim] = q.shape;
  const row = heads * dim;
  const own = rows === q.shape[0] ? q : zeroRows(q.dtype, rows * row);
  const cuSeqlensQ = [0];
  for (const run of runs) {
    const end = cuSeqlensQ[cuSeqlensQ.length - 1];
    if (own !== q)
      own.data.set(q.data.subarray(run.row * row, (run.row + run.rows) * row), end * row);
    cuSeqlensQ.push(end + run.rows);
  }
  const columns = runs.reduce((most, { keys }) => Math.max(most, Math.ceil(keys / pageSize)), 0);
  const pageTable = runs.map(({ state }) => {
    const table = new Int32Array(columns); // what follows a sequence's pages is never looked at
    table.set(state.pages.subarray(0, columns));
    return table;
  });
  const { kPages, vPages, kScales, vScales } = pages;
  const rowsOfQ = widened(own, [rows, heads, dim], device);
  try {
    const result = flashAttentionRagged(rowsOfQ, kPages, vPages, {
      ...request.options,
      sinkTokens: tokensOn(request.cut, request.reach.sinkTokens),
      cuSeqlensQ,
      pageTable,
      seqlensK: runs.map(({ keys }) => keys),
      window: [left, right],
      kScales,
      vScales,
      returnLse: true,
    });
    return taken(result, request);
  } finally {
    rowsOfQ.dispose();
  }
}

/** The results of groups, in the order of all rows. */
function joined(
  groups: readonly Group[],
  states: readonly RowState[],
  { memory, request, q }: PartLayer,
): RowState {
  const [rows, heads] = q.shape;
  const row = heads * memory.shape.headDimV;
  const out = zeroRows(request.replyDType, rows * row).data;
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
