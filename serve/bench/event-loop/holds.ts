import { type ThreadTime, threadTime } from './thread-time.js';

/** Of all looks, in milliseconds. */
export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** How long an event loop was held. */
export interface Holds {
  /** By the clock: how late a timer of 1 ms came, whatever had the processors. */
  readonly held: Spread;
  /** By the thread itself: what it computed from one timer to the next. */
  readonly computed: Spread | undefined;
  /** Of the latest timer: how long the thread waited for a processor that others had. */
  readonly waited: number | undefined;
  /** Milliseconds of garbage collections, and the longest. */
  readonly collected: { readonly sum: number; readonly max: number };
}

interface Look extends Partial<ThreadTime> {
  readonly late: number;
}

const period = 1;

/** Looks at the event loop of this thread every millisecond. */
export class HoldMonitor {
  #looks: Look[] = [];
  #timer: NodeJS.Timeout | undefined;
  #collections: number[] = [];
  readonly #observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) this.#collections.push(duration);
  });

  start(): void {
    this.#observer.observe({ entryTypes: ['gc'] });
    const next = (begin: number, before: ThreadTime | undefined) => {
      this.#timer = setTimeout(() => {
        const [now, times] = [performance.now(), threadTime()];
        this.#looks.push({
          late: now - begin - period,
          ...(before && times
            ? {
                computing: times.computing - before.computing,
                waiting: times.waiting - before.waiting,
              }
            : {}),
        });
        next(now, times);
      }, period);
    };
    next(performance.now(), threadTime());
  }

  stop(): Holds {
    clearTimeout(this.#timer);
    this.#observer.disconnect();
    const looks = this.#looks;
    const known = looks.flatMap(({ computing }) => computing ?? []);
    const latest = looks.reduce((a, b) => (b.late > a.late ? b : a));
    return {
      held: spreadOf(looks.map(({ late }) => Math.max(0, late))),
      computed: known.length > 0 ? spreadOf(known) : undefined,
      waited: latest.waiting,
      collected: {
        sum: this.#collections.reduce((sum, each) => sum + each, 0),
        max: Math.max(0, ...this.#collections),
      },
    };
  }
}

function spreadOf(values: number[]): Spread {
  const sorted = values.sort((a, b) => a - b);
  const at = (part: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  return { p50: at(0.5), p99: at(0.99), max: sorted[sorted.length - 1] };
}
