import { PerformanceObserver } from 'node:perf_hooks';
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
  /** Of the latest timer: how long the thread waited for a processor that others had. */
  readonly waited: number | undefined;
  /** By the thread itself: what it computed from one timer to the next. */
  readonly computed: Spread | undefined;
  /** Milliseconds of garbage collections, and the longest. */
  readonly collected: { readonly sum: number; readonly max: number };
}

/** A stretch of time, in microseconds of the monotonic clock. */
export interface Stretch {
  readonly begin: number;
  readonly end: number;
}

interface Look extends Stretch {
  readonly times: ThreadTime | undefined;
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
        const [end, after] = [microseconds(), threadTime()];
        const times = before &&
          after && {
            computing: after.computing - before.computing,
            waiting: after.waiting - before.waiting,
          };
        this.#looks.push({ begin, end, times });
        next(end, after);
      }, period);
    };
    next(microseconds(), threadTime());
  }

  stop(): Holds {
    clearTimeout(this.#timer);
    this.#observer.disconnect();
    const known = this.#looks.flatMap(({ times }) => times?.computing ?? []);
    return {
      held: spreadOf(this.#looks.map(lateness)),
      waited: greatest(this.#looks, lateness).times?.waiting,
      computed: known.length > 0 ? spreadOf(known) : undefined,
      collected: {
        sum: this.#collections.reduce((sum, each) => sum + each, 0),
        max: Math.max(0, ...this.#collections),
      },
    };
  }

  /** From one timer to the next: in which the thread computed the most, or else the latest. */
  get longest(): Stretch {
    return greatest(this.#looks, (look) => look.times?.computing ?? lateness(look));
  }
}

const microseconds = () => Number(process.hrtime.bigint() / 1000n);

const lateness = ({ begin, end }: Stretch) => Math.max(0, (end - begin) / 1000 - period);

function greatest<T>(items: readonly T[], by: (item: T) => number): T {
  return items.reduce((a, b) => (by(b) > by(a) ? b : a));
}

function spreadOf(values: number[]): Spread {
  const sorted = values.sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.floor(part * (sorted.length - 1))];
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
