// Loaded into the server's process before it: tells what its event loop was doing, when asked.
import { type Profiler, Session } from 'node:inspector/promises';
import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { HoldMonitor, type Holds, type Stretch } from './holds.js';

/** Milliseconds of a function's own work. */
export interface FunctionTime {
  readonly name: string;
  readonly milliseconds: number;
}

/** What the server's process says of a stretch of time. */
export interface EventLoopReport extends Holds {
  /** The share of the time in which it was not idle. */
  readonly utilization: number;
  /** Of the server's thread, the most first. */
  readonly functions: readonly FunctionTime[];
  /** Likewise, where it computed the longest at a stretch. */
  readonly longest: readonly FunctionTime[];
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
    const { profile } = await session.post('Profiler.stop');
    const functions = functionTimes(profile).slice(0, 12);
    const longest = functionTimes(profile, monitor.longest).slice(0, 5);
    const report: EventLoopReport = { ...holds, utilization, functions, longest };
    // The channel would keep the server alive.
    process.send?.(report, () => process.disconnect());
  }
});

function functionTimes(profile: Profiler.Profile, stretch?: Stretch): FunctionTime[] {
  const names = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const file = url.split('/').slice(-2).join('/');
      return [id, `${functionName || '(anonymous)'} ${file && `${file}:${lineNumber + 1}`}`.trim()];
    }),
  );
  const times = new Map<string, number>();
  let now = profile.startTime;
  (profile.samples ?? []).forEach((id, i) => {
    const name = names.get(id) ?? '';
    const passed = profile.timeDeltas?.[i] ?? 0;
    now += passed;
    if (stretch && (now < stretch.begin || now - passed > stretch.end)) return;
    if (name !== '(idle)') times.set(name, (times.get(name) ?? 0) + passed / 1000);
  });
  return Array.from(times, ([name, milliseconds]) => ({ name, milliseconds })).sort(
    (a, b) => b.milliseconds - a.milliseconds,
  );
}
