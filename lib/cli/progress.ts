import { Presets, SingleBar } from 'cli-progress';

/** Shorter work shows nothing. */
const patienceMs = 1000;
/** How often a stream that is no terminal gets a line. */
const lineEveryMs = 5000;
const redrawMs = 200;

/**
 * Progress of one piece of work, on stderr, from its second second on: a bar on a terminal, a line
 * every five seconds elsewhere. Without a total it shows the time that went by.
 */
export class Progress {
  readonly #label: string;
  readonly #total: number | undefined;
  readonly #started = Date.now();
  readonly #timer: NodeJS.Timeout;
  #value = 0;
  #bar: SingleBar | undefined;
  #nextLine = this.#started + patienceMs;

  constructor(label: string, total?: number) {
    this.#label = label;
    this.#total = total;
    // The timer must not keep a process alive whose work has failed.
    this.#timer = setInterval(() => this.#show(), redrawMs).unref();
  }

  /** `done` of the total. Work that leaves the event loop no time is shown by this call alone. */
  update(done: number): void {
    this.#value = done;
    this.#show();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#bar?.stop();
  }

  #show(): void {
    const now = Date.now();
    if (now - this.#started < patienceMs) return;
    if (process.stderr.isTTY) {
      this.#bar ??= this.#startBar();
      this.#bar.update(this.#value, { elapsed: this.#elapsed(now) });
    } else if (now >= this.#nextLine) {
      this.#nextLine = now + lineEveryMs;
      const percent = this.#total ? `${Math.floor((100 * this.#value) / this.#total)} %, ` : '';
      process.stderr.write(`${this.#label}: ${percent}${this.#elapsed(now)}\n`);
    }
  }

  #elapsed(now: number): string {
    return `${Math.round((now - this.#started) / 1000)} s`;
  }

  #startBar(): SingleBar {
    const bar = this.#total ? '{bar} {percentage} %  ' : '';
    const options = { format: `{label}  ${bar}{elapsed}`, clearOnComplete: true, hideCursor: true };
    const single = new SingleBar({ ...options, stream: process.stderr }, Presets.shades_classic);
    single.start(this.#total ?? 1, this.#value, {
      label: this.#label,
      elapsed: this.#elapsed(Date.now()),
    });
    return single;
  }
}

/** Runs `work` with its progress on display. */
export async function withProgress<T>(
  label: string,
  total: number | undefined,
  work: (progress: Progress) => Promise<T>,
): Promise<T> {
  const progress = new Progress(label, total);
  try {
    return await work(progress);
  } finally {
    progress.stop();
  }
}
