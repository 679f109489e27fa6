// What a query sees of a part, in the part's own numbering. The cut is monotone: a stretch of the
// sequence's keys is a stretch of each part's, so windows, causality and sink tokens stay what they
// are, with other bounds.
import { type CutPart, tokensOn } from './cut.js';

/** Which keys a query may see, in tokens of the whole sequence. */
export interface Reach {
  /** As `window`, right capped at 0: a query sees what was before it. */
  readonly left: number;
  readonly right: number;
  readonly sinkTokens: number;
}

/**
 * Keys `begin` to `end` of a part and, where begin is not 0, also those of its sink tokens that lie
 * before it.
 */
export interface VisibleKeys {
  readonly begin: number;
  readonly end: number;
}

/** What the query at `position` sees of a part. */
export function visibleKeys(cut: CutPart, position: number, reach: Reach): VisibleKeys {
  const end = tokensOn(cut, Math.max(0, position + reach.right + 1));
  const begin = tokensOn(cut, Math.max(0, position - reach.left));
  const sinks = tokensOn(cut, reach.sinkTokens);
  if (begin <= sinks) return { begin: 0, end };
  return begin < end ? { begin, end } : { begin: 0, end: Math.min(sinks, end) };
}

/** Whether one of a sequence's last `tokens` queries sees something of a part. */
export function isReached(cut: CutPart, length: number, tokens: number, reach: Reach): boolean {
  for (let i = tokens - 1; i >= 0; i--) {
    if (visibleKeys(cut, length + i, reach).end > 0) return true;
  }
  return false;
}

/**
 * Consecutive query rows that are one sequence to a kernel: over the first `keys` keys, the last
 * query beside the last of them, with this window.
 */
export interface RowRun {
  readonly row: number;
  readonly rows: number;
  readonly keys: number;
  readonly left: number;
  readonly right: number;
}

/**
 * The fewest runs of rows with these keys. Their ends stand still (all keys are before them) or
 * move on with the rows (causal); their begins are 0, or move on too (a window).
 */
export function rowRuns(visible: readonly VisibleKeys[]): RowRun[] {
  const runs: RowRun[] = [];
  for (let row = 0; row < visible.length; ) {
    const rows = rowsAlike(visible, row);
    const { begin, end } = visible[row];
    const keys = visible[row + rows - 1].end;
    const stands = rows > 1 && keys === end;
    const first = stands ? keys - rows : end - 1; // where the first query stands
    const left = begin === 0 ? Infinity : first - begin;
    runs.push({ row, rows, keys, left, right: stands ? Infinity : 0 });
    row += rows;
  }
  return runs;
}

function rowsAlike(visible: readonly VisibleKeys[], row: number): number {
  const steps = (of: 'begin' | 'end', at: number) => visible[at + 1][of] - visible[at][of];
  const windowed = visible[row].begin > 0;
  let rows = 1;
  for (; row + rows < visible.length; rows++) {
    const at = row + rows - 1;
    const by = steps('end', at);
    if ((by !== 0 && by !== 1) || by !== steps('end', row)) break;
    if (windowed !== visible[at + 1].begin > 0 || steps('begin', at) !== Number(windowed)) break;
  }
  return rows;
}
