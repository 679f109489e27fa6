import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { AttentionShape } from './shape.js';

export type MemoryContestant =
  | 'flash-attention'
  | 'GroupQueryAttention'
  | 'MultiHeadAttention'
  | 'standard';

/** What is called once; `backward` includes the forward call whose gradients are wanted. */
export type Pass = 'forward' | 'backward';

/** What memory-child.ts is told. */
export interface MemoryTask {
  readonly contestant: MemoryContestant;
  readonly pass: Pass;
  readonly shape: AttentionShape;
  readonly threads: number;
}

/** What memory-child.ts prints. */
export interface MemoryUse {
  readonly who: string;
  /** Bytes by which the process was larger at its peak than before it made the inputs. */
  readonly peakMemory: number;
}

/** Runs one call in a process of its own: what a process has once held, it may never give back. */
export async function measureMemory(
  contestant: MemoryContestant,
  pass: Pass,
  shape: AttentionShape,
  threads: number,
): Promise<MemoryUse> {
  const child = fileURLToPath(new URL('./memory-child.js', import.meta.url));
  const task: MemoryTask = { contestant, pass, shape, threads };
  const { stdout } = await promisify(execFile)(process.execPath, [child, JSON.stringify(task)]);
  return JSON.parse(stdout) as MemoryUse;
}
