/** The most milliseconds from one look to the next that count. */
const longestLook = 200;

/**
 * Milliseconds during which NATS was there: others are silent only while they could be heard. Nor
 * can they be while this process is held as a whole: from one look of its own to the next only a
 * little counts, however late that comes.
 */
export class ConnectedClock {
  readonly #now: () => number;
  /** What counts up to the latest look, with NATS or without. */
  #counted = 0;
  #looked: number;
  /** Without NATS, up to the latest change. */
  #missed = 0;
  #changed = 0;
  #running = true;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#looked = now();
  }

  /** To be called several times in {@link longestLook}. */
  look(): void {
    this.#counted = this.#time;
    this.#looked = this.#now();
  }

  get running(): boolean {
    return this.#running;
  }

  get now(): number {
    return (this.#running ? this.#time : this.#changed) - this.#missed;
  }

  /** For how long NATS has been gone; 0: it is there. */
  get stopped(): number {
    return this.#running ? 0 : this.#time - this.#changed;
  }

  /** For how long NATS has been there without a break; Infinity: always. */
  get lasted(): number {
    if (!this.#running) return 0;
    return this.#missed === 0 ? Infinity : this.#time - this.#changed;
  }

  stop(): void {
    if (!this.#running) return;
    this.#running = false;
    this.#changed = this.#time;
  }

  start(): void {
    if (this.#running) return;
    const time = this.#time;
    this.#missed += time - this.#changed;
    this.#changed = time;
    this.#running = true;
  }

  get #time(): number {
    return this.#counted + Math.min(this.#now() - this.#looked, longestLook);
  }
}
