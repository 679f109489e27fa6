// A trace of the CPU in Chrome's format, as `--trace` of explain and run writes it.
import type { ChromeTraceEvent } from '../../lib/native/chrome-trace.js';

/** One work item; times are microseconds since the first one began. */
export interface TraceItem {
  readonly kind: string;
  readonly item: number;
  readonly begin: number;
  readonly end: number;
}

export interface TraceThread {
  readonly name: string;
  /** In the order of time. */
  readonly items: readonly TraceItem[];
  /** Microseconds with an item. */
  readonly busy: number;
}

export interface Timeline {
  readonly threads: readonly TraceThread[];
  /** In the order in which they first appear. */
  readonly kinds: readonly string[];
  /** Microseconds from the first begin to the last end. */
  readonly duration: number;
}

/** The order of the pool, callers first. */
const byName = (a: TraceThread, b: TraceThread) =>
  a.name.localeCompare(b.name, 'en', { numeric: true });

/** Reads the text of a file. Throws an Error that says what was expected. */
export function readTrace(text: string): Timeline {
  let events: unknown;
  try {
    events = JSON.parse(text);
  } catch (error) {
    throw new Error(`The trace is no JSON: ${(error as Error).message}`);
  }
  if (!Array.isArray(events)) throw new Error('Expected an array of events, as --trace writes it.');
  events.forEach(check);
  const known = events as ChromeTraceEvent[];
  const items = known.filter((event) => event.ph === 'X');
  if (items.length === 0) throw new Error('There is no event of the phase X in the trace.');
  const first = items.reduce((least, { ts }) => Math.min(least, ts), Infinity);
  const names = new Map(
    known.flatMap((event) => (event.ph === 'M' ? [[event.tid, event.args.name] as const] : [])),
  );
  const threads = [...new Set(items.map(({ tid }) => tid))].map((tid): TraceThread => {
    const own = items
      .filter((event) => event.tid === tid)
      .map(({ name, args, ts, dur }) => {
        return { kind: name, item: args.item, begin: ts - first, end: ts - first + dur };
      })
      .sort((a, b) => a.begin - b.begin);
    const busy = own.reduce((sum, { begin, end }) => sum + end - begin, 0);
    return { name: names.get(tid) ?? `thread ${tid}`, items: own, busy };
  });
  const ends = threads.flatMap((thread) => thread.items.map(({ end }) => end));
  return {
    threads: threads.sort(byName),
    kinds: [...new Set(items.map(({ name }) => name))],
    duration: ends.reduce((a, b) => Math.max(a, b), 0),
  };
}

function check(event: unknown, at: number): void {
  const { ph, name, tid, ts, dur, args } = (event ?? {}) as Record<string, unknown>;
  const { item, name: thread } = (args ?? {}) as Record<string, unknown>;
  const isTime = (x: unknown) => typeof x === 'number' && Number.isFinite(x) && x >= 0;
  const isItem = typeof name === 'string' && isTime(ts) && isTime(dur) && Number.isInteger(item);
  const isName = ph === 'M' && typeof thread === 'string';
  if (!Number.isInteger(tid) || !(isName || (ph === 'X' && isItem))) {
    throw new Error(
      `Event ${at} is neither an item, with name, tid, ts, dur and args.item, nor the name of a thread.`,
    );
  }
}
