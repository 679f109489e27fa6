import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type MemoryUse, memory, synchronize } from '../../lib/index.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** What tensors and calls hold: {@link memory} without the pools of GPUs, which keep more. */
export function heldMemory(): Omit<MemoryUse, 'pools'> {
  const { pools: _, ...held } = memory();
  return held;
}

/**
 * The counters once all work is done and everything unreachable is collected: what earlier tests
 * enqueued and dropped does not show.
 */
export async function settledMemory(): Promise<ReturnType<typeof heldMemory>> {
  await synchronize();
  let counts = heldMemory();
  for (let quiet = 0; quiet < 2; ) {
    collect();
    await setImmediate();
    const now = heldMemory();
    quiet = now.tensors === counts.tensors && now.bytes === counts.bytes ? quiet + 1 : 0;
    counts = now;
  }
  return counts;
}
