/**
 * The process that started this one with a channel to it, if any did. Once it is gone, this process
 * gets a SIGTERM: before it listens to those, as while it loads a model, that ends it.
 */
export class Starter {
  #isGone = false;
  readonly #leave = (): void => {
    this.#isGone = true;
    process.kill(process.pid, 'SIGTERM');
  };

  constructor() {
    if (process.connected === undefined) return;
    // It may be gone by now, which is told only once.
    if (!process.connected) this.#leave();
    process.once('disconnect', this.#leave);
    process.channel?.unref(); // to wait for that is no reason to stay
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** From now on nothing happens when it goes. */
  forget(): void {
    process.off('disconnect', this.#leave);
    if (process.connected) process.disconnect();
  }
}
