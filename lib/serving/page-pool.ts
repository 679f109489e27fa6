import { type PrefixObserver, PrefixTree, type Scope } from './prefix-tree.js';

/** Where all pages of a cache are. `free + used + stored = pages`. */
export interface PageCounts {
  readonly pages: number;
  /** Pages that hold nothing. */
  readonly free: number;
  /** Pages that sequences or open steps hold. */
  readonly used: number;
  /** Of the used ones, those with more than one holder. */
  readonly shared: number;
  /** Pages that nobody holds but that a prompt may find: given up when free ones run out. */
  readonly stored: number;
}

/**
 * The pages of a cache by their numbers: who holds them, which are findable, which is given up
 * next.
 *
 * A page is free, held (once or more) or stored. Whoever holds a findable page holds all pages
 * before it as well, and gives them back tail first. So the stored page that was given back first
 * is followed by no other, and pages are given up from the tail of a prefix, the least recently
 * used one first.
 */
export class PagePool {
  readonly pages: number;
  readonly #holders: Int32Array;
  /** A stack, so that pages used lately, which caches may still have, are used again. */
  readonly #free: number[];
  /** In the order in which they were given back. */
  readonly #stored = new Set<number>();
  readonly #prefixes: PrefixTree;
  #shared = 0;

  constructor(pages: number, observer?: PrefixObserver) {
    this.pages = pages;
    this.#prefixes = new PrefixTree(observer);
    this.#holders = new Int32Array(pages);
    this.#free = Array.from({ length: pages }, (_, n) => pages - 1 - n);
  }

  counts(): PageCounts {
    const [free, stored] = [this.#free.length, this.#stored.size];
    return {
      pages: this.pages,
      free,
      used: this.pages - free - stored,
      shared: this.#shared,
      stored,
    };
  }

  /** Pages that {@link take} can give. */
  get available(): number {
    return this.#free.length + this.#stored.size;
  }

  holders(page: number): number {
    return this.#holders[page];
  }

  /** Whether a page is held by nobody and findable. */
  isStored(page: number): boolean {
    return this.#stored.has(page);
  }

  /** A page for one holder, a free one while there are any. */
  take(): number {
    let page = this.#free.pop();
    if (page === undefined) {
      [page] = this.#stored;
      this.#prefixes.remove(page);
      this.#stored.delete(page);
    }
    this.#holders[page] = 1;
    return page;
  }

  /** One more holder. */
  hold(page: number): void {
    const holders = ++this.#holders[page];
    if (holders === 1) this.#stored.delete(page);
    if (holders === 2) this.#shared++;
  }

  /** One holder less of each page, the last one first. */
  release(pages: ArrayLike<number>): void {
    for (let i = pages.length - 1; i >= 0; i--) {
      const page = pages[i];
      const holders = --this.#holders[page];
      if (holders === 1) this.#shared--;
      if (holders > 0) continue;
      if (this.#prefixes.has(page)) this.#stored.add(page);
      else this.#free.push(page);
    }
  }

  /**
   * The pages of the longest prefix of `tokens` that is findable, `most` of them at most, held once
   * more each.
   */
  find(scope: Scope, tokens: ArrayLike<number>, pageSize: number, most: number): number[] {
    const found: number[] = [];
    while (found.length < most) {
      const begin = found.length * pageSize;
      const ids = Array.prototype.slice.call(tokens, begin, begin + pageSize);
      const page = this.#prefixes.find(scope, found.at(-1), ids);
      if (page === undefined) break;
      this.hold(page);
      found.push(page);
    }
    return found;
  }

  /**
   * Makes a full page findable, whose one holder also holds the findable page `before`. Where equal
   * tokens are findable already, the holder gets that page for its own.
   *
   * @returns The page held from now on.
   */
  store(scope: Scope, before: number | undefined, ids: ArrayLike<number>, page: number): number {
    const found = this.#prefixes.find(scope, before, ids);
    if (found === undefined) {
      this.#prefixes.insert(scope, before, ids, page);
      return page;
    }
    this.hold(found);
    this.release([page]);
    return found;
  }

  /** Before its one holder writes to a page: it and what follows it are not findable any more. */
  forget(page: number): void {
    if (!this.#prefixes.has(page)) return;
    const branch = [page];
    for (const each of branch) branch.push(...this.#prefixes.following(each));
    for (const each of branch.reverse()) {
      this.#prefixes.remove(each);
      if (this.#stored.delete(each)) this.#free.push(each);
    }
  }
}
