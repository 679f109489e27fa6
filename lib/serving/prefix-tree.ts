/** A full page whose tokens are known. */
interface Entry {
  readonly scope: Scope;
  readonly page: number;
  /** Its token ids. */
  readonly key: string;
  readonly before: Entry | undefined;
  /** Where it is found: `before.children`, or the first pages of its scope. */
  readonly among: Map<string, Entry>;
  readonly children: Map<string, Entry>;
}

/** What prefixes are apart by, beside their tokens. */
export type Scope = string | undefined;

/** Hears of the pages of a {@link KvCache} that prompts may find: in the order of the changes. */
export interface PrefixObserver {
  /**
   * A page is findable from now on: by its `tokens` behind page `before`, or at the beginning of
   * a text of its scope.
   */
  stored(page: number, prefix: { scope: Scope; before?: number; tokens: ArrayLike<number> }): void;
  /** It is not any more. Those that followed it were told before. */
  forgotten(page: number): void;
}

/**
 * Pages by their tokens and by all tokens before them: an index, which holds nothing. Keys are the
 * token ids themselves, so that what is found is equal and not only of an equal hash.
 */
export class PrefixTree {
  /** The first pages of each scope. No string is the scope of those who name none. */
  readonly #first = new Map<Scope, Map<string, Entry>>();
  readonly #entries = new Map<number, Entry>();
  readonly #observer: PrefixObserver | undefined;

  constructor(observer?: PrefixObserver) {
    this.#observer = observer;
  }

  has(page: number): boolean {
    return this.#entries.has(page);
  }

  /** The page of `ids` that follows page `before`, or begins its scope. */
  find(scope: Scope, before: number | undefined, ids: ArrayLike<number>): number | undefined {
    return this.#among(scope, before)?.get(keyOf(ids))?.page;
  }

  /** Makes a page findable, where none is yet. */
  insert(scope: Scope, before: number | undefined, ids: ArrayLike<number>, page: number): void {
    let among = this.#among(scope, before);
    if (among === undefined) {
      among = new Map();
      this.#first.set(scope, among);
    }
    const key = keyOf(ids);
    const entry: Entry = {
      scope,
      page,
      key,
      before: before === undefined ? undefined : this.#entry(before),
      among,
      children: new Map(),
    };
    among.set(key, entry);
    this.#entries.set(page, entry);
    this.#observer?.stored(page, { scope, before, tokens: ids });
  }

  /** The pages that follow one. */
  following(page: number): number[] {
    return Array.from(this.#entry(page).children.values(), (child) => child.page);
  }

  /** Forgets a page that none follows, by its tokens and by its number. */
  remove(page: number): void {
    const { scope, key, among, before, children } = this.#entry(page);
    if (children.size > 0) throw new Error(`page ${page} is followed by others`);
    among.delete(key);
    this.#entries.delete(page);
    if (before === undefined && among.size === 0) this.#first.delete(scope);
    this.#observer?.forgotten(page);
  }

  #among(scope: Scope, before: number | undefined): Map<string, Entry> | undefined {
    return before === undefined ? this.#first.get(scope) : this.#entry(before).children;
  }

  #entry(page: number): Entry {
    const entry = this.#entries.get(page);
    if (entry === undefined) throw new Error(`page ${page} is not findable`);
    return entry;
  }
}

function keyOf(ids: ArrayLike<number>): string {
  return Array.prototype.join.call(ids, ',');
}
