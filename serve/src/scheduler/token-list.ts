/** Token ids that grow at the end. */
export class TokenList {
  #ids: Int32Array;
  #length: number;

  constructor(ids: Int32Array) {
    this.#ids = ids.slice();
    this.#length = ids.length;
  }

  get length(): number {
    return this.#length;
  }

  push(id: number): void {
    if (this.#length === this.#ids.length) {
      const longer = new Int32Array(2 * this.#length);
      longer.set(this.#ids);
      this.#ids = longer;
    }
    this.#ids[this.#length++] = id;
  }

  /** A view of the ids from `from` up to, but without, `to`. It lasts until the next push. */
  view(from = 0, to = this.#length): Int32Array {
    return this.#ids.subarray(from, to);
  }
}
