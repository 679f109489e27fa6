// Loaded into the server's process before it: tells what its event loop was doing, when asked.
import { Session } from 'node:inspector/promises';
import { type EventLoopUtilization, monitorEventLoopDelay, performance } from 'node:perf_hooks';

/** What the server's process says of a stretch of time. */
export interface EventLoopReport {
  /** Milliseconds that a timer of 1 ms came late. */
  readonly held: { readonly p50: number; readonly p99: number; readonly max: number };
  /** The share of the time in which it was not idle. */
  readonly utilization: number;
  /** Milliseconds of the server's thread by function, its own work alone; the most first. */
  readonly functions: readonly { readonly name: string; readonly milliseconds: number }[];
}

const delay = monitorEventLoopDelay({ resolution: 1 });
const session = new Session();
session.connect();
let before: EventLoopUtilization;

process.on('message', async (message) => {
  if (message === 'begin') {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: 500 });
    await session.post('Profiler.start');
    before = performance.eventLoopUtilization();
    delay.reset();
    delay.enable();
  } else if (message === 'end') {
    delay.disable();
    const { utilization } = performance.eventLoopUtilization(before);
    const [p50, p99, max] = [delay.percentile(50), delay.percentile(99), delay.max];
    const milliseconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - 1);
    const report: EventLoopReport = {
      held: { p50: milliseconds(p50), p99: milliseconds(p99), max: milliseconds(max) },
      utilization,
      functions: await functionTimes(),
    };
    process.send?.(report);
  }
});

async function functionTimes(): Promise<EventLoopReport['functions']> {
  const { profile } = await session.post('Profiler.stop');
  const names = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const file = url.split('/').slice(-2).join('/');
      return [id, `${functionName || '(anonymous)'} ${file && `${file}:${lineNumber + 1}`}`.trim()];
    }),
  );
  const times = new Map<string, number>();
  (profile.samples ?? []).forEach((id, i) => {
    const name = names.get(id) ?? '';
    const microseconds = profile.timeDeltas?.[i] ?? 0;
    if (name !== '(idle)') times.set(name, (times.get(name) ?? 0) + microseconds / 1000);
  });
  return Array.from(times, ([name, milliseconds]) => ({ name, milliseconds }))
    .sort((a, b) => b.milliseconds - a.milliseconds)
    .slice(0, 12);
}
