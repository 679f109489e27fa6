import type { Loadable } from './left-pages.js';
import type { WorkerView } from './worker-view.js';

/**
 * What an answer under way there costs a new one, in tokens of a prompt: each of its steps is
 * longer by one token, and reads one cache more.
 */
const runningCost = 16;
/** What an answer that waits there costs: its prompt is computed first. */
const waitingCost = 256;
/** What each token of a text costs that is loaded from the object store. */
const loadedCost = 1 / 16;

/** How work is sent: random is what others are measured against. */
export type Routing = 'prefix' | 'random';

export interface RoutedWork {
  /** Tokens to be in the cache. */
  readonly tokens: number;
  /** Hashes of their pages, for a worker with pages of this size. */
  pages(pageSize: number): readonly number[];
}

export interface RoutingOptions {
  readonly routing?: Routing;
  readonly random?: () => number;
  /** What workers with pages of this size may load of the work. */
  readonly loadable?: (pageSize: number) => Loadable | undefined;
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
  { routing = 'prefix', random = Math.random, loadable = () => undefined }: RoutingOptions = {},
): WorkerView | undefined {
  // Where costs are equal frontends shall not all take the same one.
  const start = Math.floor(random() * workers.length);
  let best: WorkerView | undefined;
  let least = Infinity;
  for (let i = 0; i < workers.length; i++) {
    const worker = workers[(start + i) % workers.length];
    if (routing === 'random') return worker;
    const stored = storedTokens(worker, work, now);
    const saved = savedByLoading(loadable(worker.hello.pageSize), stored);
    const cost = Math.max(1, work.tokens - stored - saved) + busyCost(worker);
    if (cost >= least) continue;
    least = cost;
    best = worker;
  }
  return best;
}

/** How many of the work's first tokens are there. One at least is always computed. */
export function storedTokens(worker: WorkerView, work: RoutedWork, now: number): number {
  const { pageSize, prefixCache } = worker.hello;
  if (!prefixCache) return 0;
  return Math.min(worker.matching(work.pages(pageSize), now) * pageSize, work.tokens - 1);
}

/** What loading saves where so many tokens are stored, in tokens of a prompt; 0: nothing. */
export function savedByLoading(loadable: Loadable | undefined, stored: number): number {
  if (loadable === undefined) return 0;
  return Math.max(0, loadable.alike - stored - loadedCost * loadable.tokens);
}

function busyCost(worker: WorkerView): number {
  const { maxRunning } = worker.hello;
  const waiting = Math.max(0, worker.live + 1 - maxRunning);
  const running = worker.live - Math.max(0, worker.live - maxRunning);
  return runningCost * running + waitingCost * waiting;
}
