/** Milliseconds during which NATS was there: others are silent only while they could be heard. */
export class ConnectedClock {
  readonly #now: () => number;
  /** What had passed at the last change. */
  #passed = 0;
  #changed: number;
  #running = true;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#changed = now();
  }

  get running(): boolean {
    return this.#running;
  }

  get now(): number {
    return this.#passed + (this.#running ? this.#now() - this.#changed : 0);
  }

  /** For how long NATS has been gone; 0: it is there. */
  get stopped(): number {
    return this.#running ? 0 : this.#now() - this.#changed;
  }

  /** For how long NATS has been there without a break; Infinity: always. */
  get lasted(): number {
    if (!this.#running) return 0;
    return this.#passed === 0 ? Infinity : this.#now() - this.#changed;
  }

  stop(): void {
    if (!this.#running) return;
    this.#passed = this.now;
    this.#running = false;
    this.#changed = this.#now();
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#changed = this.#now();
  }
}
