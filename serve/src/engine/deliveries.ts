/**
 * Hands on what answers get, so much in a turn of the event loop, however many messages came in it.
 * What a token brings about, down to the write to a client's socket, happens in the turn in which it
 * is handed on; what waits for one answer is handed on together, and is one write.
 */
export class Deliveries<T extends { readonly id: number }> {
  readonly #deliver: (item: T) => void;
  readonly #perTurn: number;
  /** By answer: the one that has waited the longest first. */
  readonly #waiting = new Map<number, T[]>();
  /** What this turn has room for. */
  #left: number;
  #next: NodeJS.Immediate | undefined;

  constructor(deliver: (item: T) => void, perTurn: number) {
    this.#deliver = deliver;
    this.#perTurn = perTurn;
    this.#left = perTurn;
  }

  /** At once as far as the turn has room. Items of one answer keep their order. */
  add(items: readonly T[]): void {
    for (const item of items) {
      const own = this.#waiting.get(item.id);
      if (own) own.push(item);
      else this.#waiting.set(item.id, [item]);
    }
    this.#turn();
  }

  /** All that wait, now. */
  flush(): void {
    const all = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    for (const item of all) this.#deliver(item);
  }

  #turn(): void {
    while (this.#left > 0 && this.#waiting.size > 0) this.#handOn();
    this.#next ??= setImmediate(() => {
      this.#next = undefined;
      this.#left = this.#perTurn;
      if (this.#waiting.size > 0) this.#turn();
    });
  }

  /** What waits for the first answer; if there is no room for all of it, the rest goes behind. */
  #handOn(): void {
    const [[id, items]] = this.#waiting;
    this.#waiting.delete(id);
    const now = items.splice(0, this.#left);
    if (items.length > 0) this.#waiting.set(id, items);
    this.#left -= now.length;
    for (const item of now) this.#deliver(item);
  }
}
