import { readFileSync } from 'node:fs';

/** Ticks of a second, wherever Linux runs Node. */
const ticks = 100;

/** Seconds of processors that a process and those that it started have taken. Linux alone. */
export function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Behind the name, which may hold anything: utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const own = (Number(fields[11]) + Number(fields[12])) / ticks;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
  return children
    .filter(Boolean)
    .reduce((sum, child) => sum + processorSeconds(Number(child)), own);
}

/** What processes take of it while something is done. */
export async function processorTimeOf<Name extends string, Result>(
  groups: Readonly<Record<Name, readonly number[]>>,
  run: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly seconds: Record<Name, number> }> {
  const names = Object.keys(groups) as Name[];
  const read = () =>
    names.map((name) => groups[name].reduce((sum, pid) => sum + processorSeconds(pid), 0));
  const before = read();
  const result = await run();
  const entries = read().map((seconds, n) => [names[n], seconds - before[n]]);
  return { result, seconds: Object.fromEntries(entries) as Record<Name, number> };
}
