// What a trace is, and as what it is written. Knows nothing of the addon: the visualiser reads it.

import { fail } from './errors.js';
import { show } from './show.js';

/** One work item: what one thread did without a break. */
export interface TraceEvent {
  /**
   * What the item is part of: `'attention'`, `'merge splits'`, `'backward'`, `'sum gradients'`,
   * `'merge states'`, `'append'`, `'rotate'`, `'convert'`, `'zeros'`, `'randn'`, `'quantize'`,
   * `'dequantize'`, `'convolve'`, `'keep state'`.
   */
  readonly kind: string;
  /** Index in {@link CpuTrace.loops}. */
  readonly loop: number;
  /** Which of the loop's items, from 0. */
  readonly item: number;
  /** Index in {@link CpuTrace.threads}. */
  readonly thread: number;
  /** Nanoseconds since the trace began. */
  readonly begin: number;
  readonly end: number;
}

/** Items that threads shared out among them: a call is one such loop or several. */
export interface TraceLoop {
  readonly kind: string;
  readonly items: number;
}

/** What the CPU's threads did, see `traceCpu`. */
export interface CpuTrace {
  /**
   * Names of the threads that did anything: `'pool 1'` and so on, and `'caller'` for one that
   * starts loops, which is that of a queue or JavaScript's own.
   */
  readonly threads: readonly string[];
  readonly loops: readonly TraceLoop[];
  /** In the order of threads, and for each in the order of time. */
  readonly events: readonly TraceEvent[];
  /** Nanoseconds from the beginning of the trace to its end. */
  readonly duration: number;
  /** Items that there was no room for. */
  readonly dropped: number;
}

/** An event of Chrome's trace format, whose times are microseconds. */
export type ChromeTraceEvent =
  | {
      readonly ph: 'X';
      readonly name: string;
      readonly cat: 'cpu';
      readonly pid: number;
      readonly tid: number;
      readonly ts: number;
      readonly dur: number;
      readonly args: { readonly loop: number; readonly item: number };
    }
  | {
      readonly ph: 'M';
      readonly name: 'thread_name';
      readonly pid: number;
      readonly tid: number;
      readonly args: { readonly name: string };
    };

/**
 * A trace in Chrome's trace format: the name of each thread, then an event of the phase `X` for
 * each item. As JSON it opens in chrome://tracing, in Perfetto, and in `flash-attention viz`.
 *
 * @throws FlashAttentionError ERR_TYPE for what is no trace
 */
export function chromeTrace(trace: CpuTrace): ChromeTraceEvent[] {
  if (!Array.isArray(trace?.threads) || !Array.isArray(trace.events))
    fail('ERR_TYPE', 'trace', 'what stopped traceCpu returns', show(trace));
  const place = { pid: 1 } as const;
  return [
    ...trace.threads.map((name, tid) => {
      return { ph: 'M', name: 'thread_name', ...place, tid, args: { name } } as const;
    }),
    ...trace.events.map(({ kind, loop, item, thread, begin, end }) => {
      const times = { ts: begin / 1000, dur: (end - begin) / 1000 };
      const args = { loop, item };
      return { ph: 'X', name: kind, cat: 'cpu', ...place, tid: thread, ...times, args } as const;
    }),
  ];
}
