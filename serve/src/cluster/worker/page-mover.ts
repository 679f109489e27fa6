import type { Engine, StoredText, WorkerUsage } from '../../engine/contract.js';
import { pageHashes } from '../../engine/prefix-hash.js';
import type { Connection } from '../connection.js';
import { leftName, PageStore } from '../page-store.js';

/** Of {@link PageMover}. */
export interface PageMoverOptions {
  readonly pageSize: number;
  /** Bytes that are left in the store before the worker ends. */
  readonly most: number;
  /** Milliseconds after which one text's pages are given up. */
  readonly patience: number;
}

type Moved = Omit<WorkerUsage, 'memoryBytes' | 'processorSeconds'>;

/**
 * Moves pages between a worker's cache and the object store. What can't be moved is computed
 * again: nothing here fails.
 */
export class PageMover {
  readonly #engine: Engine;
  readonly #store: PageStore;
  readonly #warn: (message: string) => void;
  readonly #options: PageMoverOptions;
  /** By name: several answers to one prompt take its pages together. */
  readonly #loading = new Map<string, Promise<number>>();
  readonly #moved: { -readonly [Name in keyof Moved]: number } = {
    ...{ savedTokens: 0, savedBytes: 0, loadedTokens: 0, loadedBytes: 0, reusedTokens: 0 },
  };

  constructor(engine: Engine, connection: Connection, options: PageMoverOptions) {
    this.#engine = engine;
    this.#store = new PageStore(connection, options.patience);
    this.#warn = connection.warn;
    this.#options = options;
  }

  get moved(): Moved {
    return this.#moved;
  }

  /** Pages for an answer of this scope. @returns their tokens; 0: they can't be had. */
  load(name: string, scope: string): Promise<number> {
    const known = this.#loading.get(name);
    if (known) return known;
    const loading = this.#load(name, scope).finally(() => this.#loading.delete(name));
    this.#loading.set(name, loading);
    return loading;
  }

  /** A prompt found so many of the tokens that were loaded for it. */
  reused(tokens: number): void {
    this.#moved.reusedTokens += tokens;
  }

  async #load(name: string, scope: string): Promise<number> {
    try {
      const bytes = await this.#store.take(
        name,
        scope,
        AbortSignal.timeout(this.#options.patience),
      );
      const tokens = (bytes && (await this.#engine.loadPrefix?.(bytes, scope))) ?? 0;
      this.#moved.loadedTokens += tokens;
      if (tokens > 0) this.#moved.loadedBytes += bytes?.length ?? 0;
      return tokens;
    } catch (error) {
      this.#warn(`pages ${name} are computed again: ${(error as Error).message}`);
      return 0;
    }
  }

  /** Leaves what is stored of a text. @returns its name in the store; undefined: it is not there. */
  async save(text: StoredText, signal?: AbortSignal): Promise<string | undefined> {
    const late = AbortSignal.timeout(this.#options.patience);
    if (signal?.aborted) return undefined;
    try {
      const saved = await this.#engine.savePrefix?.(text);
      if (saved === undefined) return undefined;
      const { tokens, bytes } = saved;
      const until = signal ? AbortSignal.any([late, signal]) : late;
      const about = this.#about(text.scope, text.tokens.subarray(0, tokens));
      const name = await this.#store.put(about, bytes, until);
      this.#moved.savedTokens += tokens;
      this.#moved.savedBytes += bytes.length;
      return name;
    } catch (error) {
      this.#warn(`pages are not moved: ${(error as Error).message}`);
      return undefined;
    }
  }

  /**
   * Leaves what is stored of all texts, the latest first, as far as there are time and room.
   *
   * @param left names of what was left already.
   */
  async saveAll(left: ReadonlySet<string | undefined>, signal: AbortSignal): Promise<void> {
    const texts = await this.#engine.storedTexts?.().catch(() => []);
    const most = this.#moved.savedBytes + this.#options.most;
    for (const text of texts ?? []) {
      if (signal.aborted || this.#moved.savedBytes >= most) return;
      const { pageSize, pages } = this.#about(text.scope, text.tokens);
      if (!left.has(leftName(pageSize, pages))) await this.save(text, signal);
    }
  }

  #about(scope: string, tokens: Int32Array) {
    const { pageSize } = this.#options;
    return { scope, pageSize, pages: pageHashes(scope, tokens, pageSize) };
  }
}
