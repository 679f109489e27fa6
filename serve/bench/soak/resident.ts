import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Memory that a process has in RAM. */
export function residentBytes(pid: number): number {
  const kibibytes =
    process.platform === 'linux'
      ? /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
      : spawnSync('ps', ['-o', 'rss=', '-p', `${pid}`], { encoding: 'utf8' }).stdout;
  return Number(kibibytes) * 1024;
}
