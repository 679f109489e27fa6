import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import type { devices, version } from '../lib/index.js';

/** Where and with what a result was measured. Nothing in it names the machine or its owner. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly threads: number;
  readonly isa: string;
  /** Such as `L1d 32K, L2 512K, L3 32768K`; empty where the system does not say. */
  readonly caches: string;
  readonly memory: number;
  readonly hugePages: string;
  readonly system: string;
  readonly node: string;
  readonly package: string;
  readonly onnxRuntime: string | null;
  /** Abbreviated, with `+` when the working tree differs; null outside a repository. */
  readonly commit: string | null;
  /** Load average of the last minute when the run began. */
  readonly load: number;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return '';
  }
}

function caches(): string {
  const found: string[] = [];
  for (let index = 0; index < 8; index++) {
    const at = (name: string) => read(`/sys/devices/system/cpu/cpu0/cache/index${index}/${name}`);
    const type = at('type');
    if (type === 'Data' || type === 'Unified') {
      found.push(`L${at('level')}${type === 'Data' ? 'd' : ''} ${at('size')}`);
    }
  }
  return found.join(', ');
}

/** `[always] madvise never` -> `always` */
const hugePages = (): string =>
  /\[(\w+)\]/.exec(read('/sys/kernel/mm/transparent_hugepage/enabled'))?.[1] ?? 'unknown';

function git(...args: string[]): string | null {
  try {
    const stdio = ['ignore', 'pipe', 'ignore'] as ['ignore', 'pipe', 'ignore'];
    return execFileSync('git', args, { encoding: 'utf8', stdio }).trim();
  } catch {
    return null;
  }
}

function commit(): string | null {
  const hash = git('rev-parse', '--short=12', 'HEAD');
  if (hash === null) return null;
  return git('status', '--porcelain') === '' ? hash : `${hash}+`;
}

/** What the package says of itself. */
export interface Attention {
  readonly devices: typeof devices;
  readonly version: typeof version;
}

export function describeMachine(
  { devices, version }: Attention,
  onnxRuntime: string | null,
): Machine {
  const device = devices().find(({ name }) => name === 'cpu');
  const model = device?.model ?? cpus()[0]?.model ?? 'unknown CPU';
  const family = ['cpu family', 'model']
    .map((key) => new RegExp(`^${key}\\s*: (\\d+)`, 'm').exec(read('/proc/cpuinfo'))?.[1])
    .filter((value) => value !== undefined);
  return {
    // Virtual machines may say no more than the maker's name.
    cpu: family.length === 2 ? `${model} (family ${family[0]}, model ${family[1]})` : model,
    cores: availableParallelism(),
    threads: device?.threads ?? 1,
    isa: device?.capability ?? 'unknown',
    caches: caches(),
    memory: totalmem(),
    hugePages: hugePages(),
    system: `${process.platform}-${process.arch} ${release()}`,
    node: process.version,
    package: version,
    onnxRuntime,
    commit: commit(),
    load: Math.round(loadavg()[0] * 100) / 100,
  };
}
