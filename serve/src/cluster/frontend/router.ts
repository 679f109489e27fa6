import type { WorkerView } from './worker-view.js';

/**
 * What an answer under way there costs a new one, in tokens of a prompt: each of its steps is
 * longer by one token, and reads one cache more.
 */
const runningCost = 16;
/** What an answer that waits there costs: its prompt is computed first. */
const waitingCost = 256;

/** How work is sent: random is what others are measured against. */
export type Routing = 'prefix' | 'random';

export interface RoutedWork {
  /** Tokens to be in the cache. */
  readonly tokens: number;
  /** Hashes of their pages, for a worker with pages of this size. */
  pages(pageSize: number): readonly number[];
}

/**
 * The worker with the least to compute before the first token: what it lacks of the prompt, and
 * what others have it compute meanwhile. A chat stays where its pages are while that is cheaper
 * than to compute them again on a worker with less to do.
 *
 * @param workers that may be asked.
 * @param now of the clock that views of workers were heard by.
 * @returns undefined: there is none.
 */
export function chooseWorker(
  workers: readonly WorkerView[],
  work: RoutedWork,
  now: number,
  routing: Routing = 'prefix',
  random: () => number = Math.random,
): WorkerView | undefined {
  // Where costs are equal frontends shall not all take the same one.
  const start = Math.floor(random() * workers.length);
  let best: WorkerView | undefined;
  let least = Infinity;
  for (let i = 0; i < workers.length; i++) {
    const worker = workers[(start + i) % workers.length];
    if (routing === 'random') return worker;
    const cost = costOf(worker, work, now);
    if (cost >= least) continue;
    least = cost;
    best = worker;
  }
  return best;
}

function costOf(worker: WorkerView, work: RoutedWork, now: number): number {
  const { pageSize, maxRunning, prefixCache } = worker.hello;
  const pages = prefixCache ? work.pages(pageSize) : [];
  // One token at least is computed.
  const found = Math.min(worker.matching(pages, now) * pageSize, work.tokens - 1);
  const waiting = Math.max(0, worker.live + 1 - maxRunning);
  const running = worker.live - Math.max(0, worker.live - maxRunning);
  return work.tokens - found + runningCost * running + waitingCost * waiting;
}
