import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { memory } from '../../lib/index.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/**
 * The counters once everything unreachable is collected: what earlier tests dropped does not show.
 */
export async function settledMemory(): Promise<ReturnType<typeof memory>> {
  let counts = memory();
  for (let quiet = 0; quiet < 2; ) {
    collect();
    await setImmediate();
    const now = memory();
    quiet = now.tensors === counts.tensors && now.bytes === counts.bytes ? quiet + 1 : 0;
    counts = now;
  }
  return counts;
}
