import { setImmediate as nextTurn } from 'node:timers/promises';

/**
 * Turns of the event loop, given to one after the other. Requests that come at once would be
 * checked and encoded in one turn else, and everything else would wait for all of them.
 */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Resolves in a turn of the caller's own. */
  next(): Promise<void> {
    this.#last = this.#last.then(() => nextTurn());
    return this.#last;
  }
}
