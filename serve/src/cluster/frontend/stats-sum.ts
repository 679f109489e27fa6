import type { EngineStats, WorkerUsage } from '../../engine/contract.js';
import { CounterSum } from './counter-sum.js';

/** Numbers of all engines together that only grow. */
const counters = [
  ...(['promptTokens', 'generationTokens', 'prefixQueries', 'prefixHits', 'preemptions'] as const),
  ...(['draftTokens', 'acceptedTokens', 'steps'] as const),
] as const;
const reasons = ['stop', 'length', 'abort', 'error'] as const;
/** Of all processes. */
const used = [
  ...(['processorSeconds', 'savedTokens', 'savedBytes', 'loadedTokens', 'loadedBytes'] as const),
  ...(['reusedTokens'] as const),
] as const;

/** What all workers tell together; see {@link CounterSum}. */
export class StatsSum {
  /** Of every worker that was ever heard. */
  readonly #latest = new Map<string, { stats?: EngineStats; usage?: WorkerUsage }>();
  readonly #counters = new CounterSum(counters);
  readonly #finished = new CounterSum(reasons);
  readonly #used = new CounterSum(used);

  heard(worker: string, stats: EngineStats | undefined, usage: WorkerUsage | undefined): void {
    this.#latest.set(worker, { stats: stats ?? this.#latest.get(worker)?.stats, usage });
    if (usage) this.#used.heard(worker, usage);
    if (stats === undefined) return;
    this.#counters.heard(worker, stats);
    this.#finished.heard(worker, stats.finished);
  }

  /** @param live workers that are there; of the others only the counters count. */
  sum(live: readonly string[]): EngineStats {
    const all = live.flatMap((worker) => this.#latest.get(worker)?.stats ?? []);
    const sum = (read: (stats: EngineStats) => number) =>
      all.reduce((before, stats) => before + read(stats), 0);
    return {
      ...this.#counters.total,
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
      finished: this.#finished.total,
    };
  }

  /** What the processes of live workers take, and what all of them ever moved. */
  usage(live: readonly string[]): WorkerUsage {
    const bytes = live.map((worker) => this.#latest.get(worker)?.usage?.memoryBytes ?? 0);
    return { ...this.#used.total, memoryBytes: bytes.reduce((sum, each) => sum + each, 0) };
  }
}
