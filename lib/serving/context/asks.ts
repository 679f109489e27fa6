// Who is asked what in one layer: the query rows of a sequence go to all parts that they see
// something of, the new keys and values to the part that they lie on.
import type { FloatDType, HostTensor } from '../../tensor/host-tensor.js';
import { type ContextCut, type CutPart, partOf, tokensOn } from './cut.js';
import { type HostRows, zeroRows } from './host-rows.js';
import type { Ask } from './link.js';
import type { RowAxes, Stretch } from './merge-parts.js';
import type { GrowingState } from './sequence.js';
import { isReached, type Reach } from './visible-keys.js';

interface LayerAxes extends RowAxes {
  readonly kvHeads: number;
  readonly headDim: number;
}

/** What all parts of a layer are told. */
interface LayerBody {
  readonly reach: Reach;
}

/** q, k and v. */
type LayerRows = readonly HostRows[];

/** What a part is asked, and for which entries and rows. */
export interface LayerAsk extends Ask {
  readonly entries: readonly GrowingState[];
  readonly stretches: readonly Stretch[];
}

export function asksOf(
  cut: ContextCut,
  entries: readonly GrowingState[],
  rows: LayerRows,
  axes: LayerAxes,
  body: LayerBody,
  alibiSlopes: Float32Array | undefined,
): LayerAsk[] {
  const asks: LayerAsk[] = [];
  for (let part = 0; part < cut.parts; part++) {
    const ask = askOf({ ...cut, part }, entries, rows, axes, body, alibiSlopes);
    if (ask) asks.push(ask);
  }
  return asks;
}

function askOf(
  cut: CutPart,
  entries: readonly GrowingState[],
  [q, k, v]: LayerRows,
  { heads, kvHeads, headDim, headDimV }: LayerAxes,
  body: LayerBody,
  alibiSlopes: Float32Array | undefined,
): LayerAsk | undefined {
  const asked: GrowingState[] = [];
  const stretches: Stretch[] = [];
  const own: Stretch[] = [];
  let begin = 0;
  for (const entry of entries) {
    const { state, tokens } = entry;
    const end = begin + tokens;
    const mine = ownStretches(cut, state.length, tokens, begin);
    if (mine.length > 0 || isReached(cut, state.length, tokens, body.reach)) {
      asked.push(entry);
      addStretch(stretches, { begin, end });
      for (const stretch of mine) addStretch(own, stretch);
    }
    begin = end;
  }
  if (asked.length === 0) return undefined;
  return {
    part: cut.part,
    entries: asked,
    stretches,
    body: {
      ...body,
      entries: asked.map(({ state: { number, length }, tokens }) => ({
        sequence: number,
        length,
        tokens,
      })),
    },
    tensors: {
      q: rowsOf(q, stretches, [heads, headDim]),
      ...(alibiSlopes && {
        alibiSlopes: { dtype: 'float32', shape: [heads], data: alibiSlopes },
      }),
      ...(own.length > 0 && {
        k: rowsOf(k, own, [kvHeads, headDim]),
        v: rowsOf(v, own, [kvHeads, headDimV]),
      }),
    },
  };
}

/** The rows of a sequence's new tokens that lie on a part; its first one is row `row`. */
function ownStretches(cut: CutPart, length: number, tokens: number, row: number): Stretch[] {
  const end = length + tokens;
  if (tokensOn(cut, end) === tokensOn(cut, length)) return [];
  const own: Stretch[] = [];
  for (let at = length; at < end; ) {
    const runEnd = Math.min(end, at - (at % cut.tokensPerRun) + cut.tokensPerRun);
    if (partOf(cut, at) === cut.part) {
      own.push({ begin: row + at - length, end: row + runEnd - length });
    }
    at = runEnd;
  }
  return own;
}

function addStretch(stretches: Stretch[], next: Stretch): void {
  const last = stretches.at(-1);
  if (last?.end === next.begin) stretches[stretches.length - 1] = { ...last, end: next.end };
  else stretches.push(next);
}

/** Rows of all stretches, one behind the other. */
function rowsOf(
  { dtype, data }: HostRows,
  stretches: readonly Stretch[],
  axes: readonly [heads: number, dim: number],
): HostTensor<FloatDType> {
  const row = axes[0] * axes[1];
  const count = stretches.reduce((sum, { begin, end }) => sum + end - begin, 0);
  if (count * row === data.length) return { dtype, shape: [count, ...axes], data };
  const rows = zeroRows(dtype, count * row).data;
  let at = 0;
  for (const { begin, end } of stretches) {
    rows.set(data.subarray(begin * row, end * row), at);
    at += (end - begin) * row;
  }
  return { dtype, shape: [count, ...axes], data: rows };
}
