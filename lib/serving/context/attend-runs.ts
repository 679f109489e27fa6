// ALiBi (Press et al. 2022) over a part. A bias says how far a query is from a key, and in a part
// tokens of two runs lie closer together than they stand. Within a run they do not: each run is a
// sequence to the kernel, whose queries stand before it, in it or behind it. Runs are disjoint
// keys, so their states are merged by lse.
import { intHandle } from '../../attention/int-vector.js';
import { type AttentionState, mergeAttentionStates } from '../../attention/merge.js';
import type { AttentionResult } from '../../attention/options.js';
import { release, run } from '../../attention/problem.js';
import { raggedProblem } from '../../attention/ragged.js';
import type { FloatDType, HostTensor } from '../../tensor/host-tensor.js';
import type { Tensor } from '../../tensor/tensor.js';
import { tokensOn } from './cut.js';
import { widened, zeroRows } from './host-rows.js';
import { type PartLayer, type RowState, taken } from './part-layer.js';
import type { AttendRequest } from './request.js';

/**
 * The most runs of a call, which are merged at once: memory is so many outs of all rows. A
 * constant, for the bits of a sequence may not depend on what is beside it.
 */
const runsAtOnce = 16;

/** Consecutive runs of a part, of which the first so many tokens each are sink tokens. */
interface Runs {
  readonly first: number;
  readonly count: number;
  readonly sinkTokens: number;
}

/** Attention with ALiBi. All of it is enqueued when this returns. */
export async function attendRuns(
  layer: PartLayer,
  slopes: HostTensor<FloatDType>,
): Promise<RowState> {
  const alibiSlopes = widened(slopes, slopes.shape, layer.memory.shape.device);
  const temporaries: Tensor[] = [alibiSlopes];
  try {
    let merged: AttentionResult<'float32'> | undefined;
    for (const runs of runsOf(layer.request)) {
      const states = attendEach(layer, runs, alibiSlopes, temporaries);
      if (merged) temporaries.push(merged.out, merged.lse);
      merged = mergeAttentionStates(merged ? [merged, ...states] : states);
    }
    return taken(merged as AttentionResult, layer.request);
  } finally {
    release(temporaries);
  }
}

/** Where the first token of a run of the part stands. */
function beginOf({ cut }: AttendRequest, run: number): number {
  return (run * cut.parts + cut.part) * cut.tokensPerRun;
}

/** All runs of the part, one at least, as calls take them. */
function runsOf(request: AttendRequest): Runs[] {
  const { cut, entries, reach } = request;
  const longest = Math.max(...entries.map(({ length, tokens }) => length + tokens));
  const all = Math.max(1, Math.ceil(tokensOn(cut, longest) / cut.tokensPerRun));
  const calls: Runs[] = [];
  for (let run = 0; run < all; run++) {
    const before = Math.max(0, reach.sinkTokens - beginOf(request, run));
    const sinkTokens = Math.min(before, cut.tokensPerRun);
    const last = calls.at(-1);
    if (last === undefined || last.sinkTokens !== sinkTokens || last.count === runsAtOnce) {
      calls.push({ first: run, count: 1, sinkTokens });
    } else calls[calls.length - 1] = { ...last, count: last.count + 1 };
  }
  return calls;
}

/** The state of all rows for each of some runs. */
function attendEach(
  { memory, request, states, q, pages }: PartLayer,
  { first, count, sinkTokens }: Runs,
  alibiSlopes: Tensor,
  temporaries: Tensor[],
): AttentionState<'float32'>[] {
  const { pageSize, device, headDimV } = memory.shape;
  const { cut, entries, reach, options } = request;
  const [rows, heads, dim] = q.shape;
  const repeated = zeroRows(q.dtype, count * q.data.length);
  const cuSeqlensQ = [0];
  const seqlensK: number[] = [];
  const positions: number[] = [];
  const pageTable: Int32Array[] = [];
  const pagesPerRun = cut.tokensPerRun / pageSize;
  const columns = Math.min(pagesPerRun, Math.max(...states.map((state) => state.pages.length)));
  for (let n = 0; n < count; n++) {
    repeated.data.set(q.data, n * q.data.length);
    entries.forEach(({ length, tokens }, i) => {
      const held = tokensOn(cut, length + tokens) - (first + n) * cut.tokensPerRun;
      const table = new Int32Array(columns); // what follows a run's pages is never looked at
      const begin = (first + n) * pagesPerRun;
      table.set(states[i].pages.subarray(begin, begin + columns));
      cuSeqlensQ.push(cuSeqlensQ[cuSeqlensQ.length - 1] + tokens);
      seqlensK.push(Math.max(0, Math.min(held, cut.tokensPerRun)));
      positions.push(length - beginOf(request, first + n));
      pageTable.push(table);
    });
  }
  const rowsOfQ = widened(repeated, [count * rows, heads, dim], device);
  temporaries.push(rowsOfQ);
  const { kPages, vPages, kScales, vScales } = pages;
  const problem = raggedProblem(rowsOfQ, kPages, vPages, {
    ...options,
    cuSeqlensQ,
    pageTable,
    seqlensK,
    window: [reach.left, reach.right],
    sinkTokens,
    alibiSlopes,
    kScales,
    vScales,
    returnLse: true,
  });
  const firstPositions = { data: Int32Array.from(positions), shape: [positions.length] };
  problem.args.firstPositions = intHandle(firstPositions, device, problem.temporaries, {});
  const { out, lse } = run(problem) as AttentionResult<'float32'>;
  const outs = out.reshape([count, rows, heads, headDimV]);
  const lses = lse.reshape([1, heads, count * rows]);
  temporaries.push(out, lse, outs, lses);
  return Array.from({ length: count }, (_, n) => {
    const state = {
      out: outs.slice([n, n + 1]),
      lse: lses.slice(null, null, [n * rows, (n + 1) * rows]),
    };
    temporaries.push(state.out, state.lse);
    return state;
  });
}
