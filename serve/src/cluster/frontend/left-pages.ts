import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from '../connection.js';
import { type LeftText, PageStore, pagesExpire } from '../page-store.js';

const againMilliseconds = 1000;

/** A text in the object store that begins like a prompt. */
export interface Loadable {
  readonly name: string;
  /** Of its tokens, so many are the prompt's first ones. */
  readonly alike: number;
  readonly tokens: number;
}

/** Pages that workers left in the object store, as a frontend knows them. */
export class LeftPages {
  readonly #connection: Connection;
  readonly #store: PageStore;
  /** By name, the oldest first. */
  readonly #texts = new Map<string, LeftText>();
  /** By page size and hash: the latest text that has this page. */
  readonly #pages = new Map<string, string>();

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#store = new PageStore(connection);
    void this.#watch();
  }

  /** Texts that are there. */
  get size(): number {
    return this.#texts.size;
  }

  /** The text that has the most of a prompt's first pages. @param pages their hashes. */
  find(pages: readonly number[], pageSize: number): Loadable | undefined {
    this.#forgetOld();
    if (this.#texts.size === 0) return undefined;
    for (let length = pages.length; length > 0; length--) {
      const name = this.#pages.get(keyOf(pageSize, pages[length - 1]));
      const text = name === undefined ? undefined : this.#texts.get(name);
      if (name === undefined || text === undefined) continue;
      return { name, alike: length * pageSize, tokens: text.pages.length * pageSize };
    }
    return undefined;
  }

  /** It is there no more, or a worker is about to take it. */
  forget(name: string): void {
    const text = this.#texts.get(name);
    if (text === undefined) return;
    this.#texts.delete(name);
    for (const hash of text.pages) {
      const key = keyOf(text.pageSize, hash);
      if (this.#pages.get(key) === name) this.#pages.delete(key);
    }
  }

  #add(name: string, text: LeftText): void {
    this.forget(name);
    this.#texts.set(name, text);
    for (const hash of text.pages) this.#pages.set(keyOf(text.pageSize, hash), name);
  }

  #forgetOld(): void {
    for (const [name, { since }] of this.#texts) {
      if (since > Date.now() - pagesExpire) return;
      this.forget(name);
    }
  }

  /** The client ends it when the connection breaks: it begins again. */
  async #watch(): Promise<void> {
    const { nats, warn } = this.#connection;
    while (!nats.isClosed()) {
      try {
        await this.#store.watch((name, text) => {
          if (text) this.#add(name, text);
          else this.forget(name);
        });
      } catch (error) {
        if (!nats.isClosed()) warn(`pages in the object store: ${(error as Error).message}`);
      }
      await delay(againMilliseconds, undefined, { ref: false });
    }
  }
}

const keyOf = (pageSize: number, hash: number): string => `${pageSize}.${hash}`;
