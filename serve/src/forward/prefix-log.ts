import type { PrefixObserver } from 'flash-attention/serving';
import type { PrefixChange, StoredText } from '../engine/contract.js';
import { pageHash, scopeHash } from '../engine/prefix-hash.js';

interface Page {
  readonly hash: number;
  readonly scope: string;
  readonly before: number | undefined;
  readonly tokens: Int32Array;
}

/** The pages of a cache that prompts may find, by their hashes: what changed since it was asked. */
export class PrefixLog implements PrefixObserver {
  /** By the page's number, in the order in which they were stored. */
  readonly #pages = new Map<number, Page>();
  /** By the hash: whether it is stored now. */
  #changed = new Map<number, boolean>();

  stored(...[page, { scope = '', before, tokens }]: Parameters<PrefixObserver['stored']>): void {
    const last = before === undefined ? undefined : this.#pages.get(before)?.hash;
    const hash = pageHash(last ?? scopeHash(scope), tokens);
    this.#pages.set(page, { hash, scope, before, tokens: Int32Array.from(tokens) });
    this.#changed.set(hash, true);
  }

  forgotten(page: number): void {
    const known = this.#pages.get(page);
    if (known === undefined) return;
    this.#pages.delete(page);
    this.#changed.set(known.hash, false);
  }

  /** @returns undefined: nothing has changed. */
  take(): PrefixChange | undefined {
    if (this.#changed.size === 0) return undefined;
    const change: { added: number[]; removed: number[] } = { added: [], removed: [] };
    for (const [hash, stored] of this.#changed) change[stored ? 'added' : 'removed'].push(hash);
    this.#changed = new Map();
    return change;
  }

  /** Texts whose last page none follows, the one that was stored last first. */
  texts(): StoredText[] {
    const followed = new Set<number | undefined>();
    for (const { before } of this.#pages.values()) followed.add(before);
    const last = [...this.#pages].filter(([number]) => !followed.has(number));
    return last.reverse().map(([, page]) => ({ scope: page.scope, tokens: this.#textOf(page) }));
  }

  #textOf(last: Page): Int32Array {
    const pages: Page[] = [];
    for (let page: Page | undefined = last; page; page = this.#before(page)) pages.push(page);
    return Int32Array.from(pages.reverse().flatMap(({ tokens }) => [...tokens]));
  }

  #before({ before }: Page): Page | undefined {
    return before === undefined ? undefined : this.#pages.get(before);
  }
}
