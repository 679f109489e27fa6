import type { Finish, Generation, TokenEvent } from './contract.js';

/** An answer under way, in the server's thread. Tokens wait here for whoever iterates. */
export class LiveGeneration implements Generation {
  readonly finished: Promise<Finish>;
  readonly #onCancel: () => void;
  #resolveFinished!: (finish: Finish) => void;
  #events: TokenEvent[] = [];
  #read = 0;
  #ended = false;
  #cancelled = false;
  #wake?: () => void;

  constructor(onCancel: () => void) {
    this.#onCancel = onCancel;
    this.finished = new Promise((resolve) => {
      this.#resolveFinished = resolve;
    });
  }

  push(event: TokenEvent): void {
    if (this.#ended) return;
    this.#events.push(event);
    this.#wake?.();
  }

  end(finish: Finish): void {
    this.#ended = true;
    this.#resolveFinished(finish);
    this.#wake?.();
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  cancel(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelled = true;
    this.#events = [];
    this.#read = 0;
    this.#wake?.();
    this.#onCancel();
  }

  /** Leaving the loop early cancels. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TokenEvent, void, undefined> {
    try {
      for (;;) {
        while (this.#read < this.#events.length) yield this.#events[this.#read++];
        this.#events = [];
        this.#read = 0;
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.cancel();
    }
  }
}
