import type { EngineStats } from '../../engine/contract.js';

/** Numbers of all engines together that only grow. */
const counters = [
  ...(['promptTokens', 'generationTokens', 'prefixQueries', 'prefixHits', 'preemptions'] as const),
  ...(['draftTokens', 'acceptedTokens', 'steps'] as const),
] as const;
const reasons = ['stop', 'length', 'abort', 'error'] as const;

type Counts = Record<(typeof counters)[number] | (typeof reasons)[number], number>;

/**
 * What all workers count together. Counters never fall: what a worker counted that is gone, or
 * whose engine was started again, stays a part of the sum. Prometheus would take a fall for a new
 * start, and count the rest again.
 */
export class StatsSum {
  /** Of every worker that was ever heard. */
  readonly #latest = new Map<string, EngineStats>();
  /** Of engines before they were started again. */
  readonly #former: Counts = countsOf(undefined);

  heard(worker: string, stats: EngineStats | undefined): void {
    const before = this.#latest.get(worker);
    if (stats === undefined) return;
    this.#latest.set(worker, stats);
    if (before === undefined) return;
    const [old, now] = [countsOf(before), countsOf(stats)];
    for (const key of keys) if (now[key] < old[key]) this.#former[key] += old[key];
  }

  /** @param live workers that are there; of the others only the counters count. */
  sum(live: readonly string[]): EngineStats {
    const total = { ...this.#former };
    for (const stats of this.#latest.values()) add(total, countsOf(stats));
    const all = live.flatMap((worker) => this.#latest.get(worker) ?? []);
    const { stop, length, abort, error, ...counts } = total;
    const sum = (read: (stats: EngineStats) => number) =>
      all.reduce((before, stats) => before + read(stats), 0);
    return {
      ...counts,
      running: sum(({ running }) => running),
      waiting: sum(({ waiting }) => waiting),
      cache: {
        pages: sum(({ cache }) => cache.pages),
        free: sum(({ cache }) => cache.free),
        used: sum(({ cache }) => cache.used),
        stored: sum(({ cache }) => cache.stored),
        pageSize: all[0]?.cache.pageSize ?? 1,
      },
      batchTokens: sum(({ batchTokens }) => batchTokens),
      stepMilliseconds: Math.max(0, ...all.map(({ stepMilliseconds }) => stepMilliseconds)),
      finished: { stop, length, abort, error },
    };
  }
}

const keys = [...counters, ...reasons];

function countsOf(stats: EngineStats | undefined): Counts {
  const read = (key: (typeof keys)[number]): number => {
    if (stats === undefined) return 0;
    return key in stats.finished
      ? stats.finished[key as (typeof reasons)[number]]
      : stats[key as (typeof counters)[number]];
  };
  return Object.fromEntries(keys.map((key) => [key, read(key)])) as Counts;
}

function add(to: Counts, counts: Counts): void {
  for (const key of keys) to[key] += counts[key];
}
