/** How fast answers end, to tell those who are refused when to come again. */
export class FinishRate {
  readonly #now: () => number;
  #last?: number;
  /** Mean seconds from one end to the next, the latest ones counting most. */
  #seconds?: number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  count(): void {
    const now = this.#now();
    if (this.#last !== undefined) {
      const seconds = (now - this.#last) / 1000;
      this.#seconds = this.#seconds === undefined ? seconds : 0.8 * this.#seconds + 0.2 * seconds;
    }
    this.#last = now;
  }

  /** Whole seconds in which so many answers end, from 1 to 60. */
  secondsFor(answers: number): number {
    return Math.min(60, Math.max(1, Math.ceil((this.#seconds ?? 0) * answers)));
  }
}
