import type { PagePool } from './page-pool.js';
import type { Scope } from './prefix-tree.js';

/** What a sequence is, apart from the object that callers hold and may drop. */
export class SequenceState {
  readonly pool: PagePool;
  readonly pageSize: number;
  readonly scope: Scope;
  /** A part of memory with room for more. */
  pages = new Int32Array(0);
  #pagesWithRoom = this.pages;
  /** Committed tokens. */
  length = 0;
  /** Ids of the first tokens, as many as are known. */
  readonly ids: number[] = [];
  /** How many of the first pages are findable. */
  #findable = 0;
  /** Whether it is part of an open step. */
  open = false;
  disposed = false;

  constructor(pool: PagePool, pageSize: number, scope: Scope) {
    this.pool = pool;
    this.pageSize = pageSize;
    this.scope = scope;
  }

  /** Begins with the pages of the longest stored prefix. One token at least is left to compute. */
  begin(tokens: ArrayLike<number>): void {
    const most = Math.floor((tokens.length - 1) / this.pageSize);
    const found = this.pool.find(this.scope, tokens, this.pageSize, most);
    this.#setPages(0, found);
    this.#findable = found.length;
    this.length = this.#findable * this.pageSize;
    for (let i = 0; i < this.length; i++) this.ids.push(tokens[i]);
  }

  fork(): SequenceState {
    const fork = new SequenceState(this.pool, this.pageSize, this.scope);
    for (const page of this.pages) this.pool.hold(page);
    fork.#setPages(0, this.pages);
    fork.length = this.length;
    for (const id of this.ids) fork.ids.push(id);
    fork.#findable = this.#findable;
    return fork;
  }

  truncate(length: number): void {
    const kept = Math.ceil(length / this.pageSize);
    this.pool.release(this.pages.subarray(kept));
    this.#setPages(kept, []);
    this.length = length;
    this.ids.length = Math.min(this.ids.length, length);
    this.#findable = Math.min(this.#findable, Math.floor(length / this.pageSize));
  }

  /** Pages without room. */
  get fullPages(): number {
    return Math.floor(this.length / this.pageSize);
  }

  /**
   * Takes on tokens that were written to the pages of `tail`, which follow the full ones from now
   * on. `ids` of the first ones are known.
   */
  grow(tail: readonly number[], tokens: number, ids: ArrayLike<number>): void {
    this.#setPages(this.fullPages, tail);
    if (this.ids.length === this.length) {
      for (let i = 0; i < ids.length; i++) this.ids.push(ids[i]);
    }
    this.length += tokens;
    const full = Math.floor(this.ids.length / this.pageSize);
    for (; this.#findable < full; this.#findable++) {
      const at = this.#findable;
      const own = this.ids.slice(at * this.pageSize, (at + 1) * this.pageSize);
      this.pages[at] = this.pool.store(this.scope, this.pages[at - 1], own, this.pages[at]);
    }
  }

  /** Of its pages the first ones stay, and those of `tail` follow them. */
  #setPages(kept: number, tail: ArrayLike<number>): void {
    const count = kept + tail.length;
    if (count !== this.pages.length) {
      if (count > this.#pagesWithRoom.length) {
        this.#pagesWithRoom = new Int32Array(Math.max(count, 2 * this.#pagesWithRoom.length));
        this.#pagesWithRoom.set(this.pages.subarray(0, kept));
      }
      this.pages = this.#pagesWithRoom.subarray(0, count);
    }
    this.pages.set(tail, kept);
  }

  /** The step that it was part of has ended. */
  close(): void {
    this.open = false;
    if (this.disposed) this.pool.release(this.pages);
  }

  /** Gives its pages back: at once, or when the open step has ended. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    if (!this.open) this.pool.release(this.pages);
  }
}
