/**
 * Hands things on in the order in which they came, so many in a turn of the event loop. What a token
 * brings about, down to the write to a client's socket, happens in the turn in which it is handed on.
 */
export class Deliveries<T> {
  readonly #deliver: (item: T) => void;
  readonly #perTurn: number;
  #waiting: T[] = [];
  #next: NodeJS.Immediate | undefined;

  constructor(deliver: (item: T) => void, perTurn: number) {
    this.#deliver = deliver;
    this.#perTurn = perTurn;
  }

  /** The first of them at once, unless others wait. */
  add(items: readonly T[]): void {
    for (const item of items) this.#waiting.push(item);
    if (this.#next === undefined) this.#turn();
  }

  /** All that wait, now. */
  flush(): void {
    clearImmediate(this.#next);
    this.#next = undefined;
    for (const item of this.#waiting.splice(0)) this.#deliver(item);
  }

  #turn(): void {
    this.#next = undefined;
    for (const item of this.#waiting.splice(0, this.#perTurn)) this.#deliver(item);
    if (this.#waiting.length > 0) this.#next = setImmediate(() => this.#turn());
  }
}
