import { type NativeTrace, native } from './addon.js';
import { checkOptions } from './check-options.js';
import { checkInteger } from './check-value.js';
import type { CpuTrace } from './chrome-trace.js';
import { call, fail, wait } from './errors.js';
import { show } from './show.js';

const usualCapacity = 65_536;
/** The native side's limit (csrc/binding/trace.cpp). */
const mostCapacity = 2 ** 24;

/** Options of {@link traceCpu}. */
export interface TraceOptions {
  /**
   * Events that are kept of each thread, 1 to 16,777,216; what comes later is counted as dropped.
   * Each takes 32 bytes. Default 65,536.
   */
  capacity?: number;
}

const traceKeys: ReadonlySet<string> = new Set(['capacity']);

/**
 * When which thread of the CPU worked on which item, while `work` runs and until all that is
 * enqueued on the CPU by then has run. What is enqueued already is waited for first. Attention's
 * items are those that {@link explain} counts as `workItems`.
 *
 * The whole process is traced, workers among it, and there is one trace at a time. Of what other
 * workers still run at the end, the trace has the part until then. Two looks at the clock an item
 * are what it costs; without a trace, nothing is measured.
 *
 * @param work May be asynchronous.
 * @param options See {@link TraceOptions}.
 * @returns Its events, in nanoseconds from the beginning of the trace.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`, `ERR_STATE` while there is another
 * trace, and whatever `work` throws; as a rejection.
 * @example
 * const trace = await traceCpu(() => flashAttention(q, k, v).take());
 * trace.events[0]; // { kind: 'attention', loop: 0, item: 0, thread: 0, begin: 41200, end: 90800 }
 */
export async function traceCpu(work: () => unknown, options?: TraceOptions): Promise<CpuTrace> {
  if (typeof work !== 'function') fail('ERR_TYPE', 'work', 'a function', show(work));
  const { capacity = usualCapacity } = checkOptions(options, traceKeys) ?? {};
  checkInteger(capacity, 1, mostCapacity, 'options.capacity');
  await wait(() => native().synchronize('cpu'));
  call(() => native().startTrace(capacity));
  let isRunning = true;
  try {
    await work();
    await wait(() => native().synchronize('cpu'));
    isRunning = false;
    return traceOf(call(() => native().stopTrace()));
  } finally {
    if (isRunning) native().stopTrace();
  }
}

function traceOf(given: NativeTrace): CpuTrace {
  const { threads, loops, duration, dropped } = given;
  const numbers = new Float64Array(given.events);
  const events = Array.from({ length: numbers.length / 5 }, (_, at) => {
    const [thread, loop, item, begin, end] = numbers.subarray(5 * at, 5 * at + 5);
    return { kind: loops[loop].kind, loop, item, thread, begin, end };
  });
  const names = threads.map((number) => (number === 0 ? 'caller' : `pool ${number}`));
  return { threads: names, loops, events, duration, dropped };
}
