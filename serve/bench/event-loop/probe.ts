// Loaded into the server's process before it: tells what its event loop was doing, when asked.
import { Session } from 'node:inspector/promises';
import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { HoldMonitor, type Holds } from './holds.js';

/** What the server's process says of a stretch of time. */
export interface EventLoopReport extends Holds {
  /** The share of the time in which it was not idle. */
  readonly utilization: number;
  /** Milliseconds of the server's thread by function, its own work alone; the most first. */
  readonly functions: readonly { readonly name: string; readonly milliseconds: number }[];
}

const monitor = new HoldMonitor();
const session = new Session();
session.connect();
let before: EventLoopUtilization;

process.on('message', async (message) => {
  if (message === 'begin') {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: 500 });
    await session.post('Profiler.start');
    before = performance.eventLoopUtilization();
    monitor.start();
  } else if (message === 'end') {
    const holds = monitor.stop();
    const { utilization } = performance.eventLoopUtilization(before);
    const report: EventLoopReport = { ...holds, utilization, functions: await functionTimes() };
    // The channel would keep the server alive.
    process.send?.(report, () => process.disconnect());
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
