import type { PrefixObserver } from 'flash-attention/serving';
import type { PrefixChange } from '../engine/contract.js';
import { pageHash, scopeHash } from '../engine/prefix-hash.js';

/** The pages of a cache that prompts may find, by their hashes: what changed since it was asked. */
export class PrefixLog implements PrefixObserver {
  /** By the page's number. */
  readonly #hashes = new Map<number, number>();
  /** By the hash: whether it is stored now. */
  #changed = new Map<number, boolean>();

  stored(...[page, { scope = '', before, tokens }]: Parameters<PrefixObserver['stored']>): void {
    const last = before === undefined ? undefined : this.#hashes.get(before);
    const hash = pageHash(last ?? scopeHash(scope), tokens);
    this.#hashes.set(page, hash);
    this.#changed.set(hash, true);
  }

  forgotten(page: number): void {
    const hash = this.#hashes.get(page);
    if (hash === undefined) return;
    this.#hashes.delete(page);
    this.#changed.set(hash, false);
  }

  /** @returns undefined: nothing has changed. */
  take(): PrefixChange | undefined {
    if (this.#changed.size === 0) return undefined;
    const change: { added: number[]; removed: number[] } = { added: [], removed: [] };
    for (const [hash, stored] of this.#changed) change[stored ? 'added' : 'removed'].push(hash);
    this.#changed = new Map();
    return change;
  }
}
