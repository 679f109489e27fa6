// A model without arithmetic: logits are a hash of the tokens that the pages of a sequence hold,
// and the pages are counted, shared, stored and given up as a real cache does.
import type {
  CacheCounts,
  Forward,
  ForwardEmbedding,
  ForwardEntry,
  ForwardSequence,
  ModelInfo,
  SavedPrefix,
  StoredText,
} from '../../src/engine/contract.js';

export interface ScriptedOptions {
  readonly pages?: number;
  readonly pageSize?: number;
  readonly vocabSize?: number;
  readonly contextLength?: number;
  readonly eosTokenIds?: readonly number[];
  readonly prefixCache?: boolean;
  /** How many of the last tokens decide the next: few make answers that repeat themselves. */
  readonly order?: number;
  readonly longRopeFrom?: number;
}

/** Logits in [-4, 4) after a history. */
export function scriptedLogits(history: readonly number[], vocabSize: number, order = Infinity) {
  let hash = 17;
  for (const token of history.slice(-Math.min(order, history.length))) hash = mix(hash, token);
  return Float32Array.from({ length: vocabSize }, (_, id) => mix(hash, id) / 2 ** 29 - 4);
}

function mix(hash: number, value: number): number {
  let h = Math.imul(hash ^ (value + 0x9e3779b9), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

class Page {
  holders = 1;
  /** Under which it is found; undefined: it is not. */
  key?: string;
  tokens: number[] = [];
}

class CacheFull extends Error {
  readonly code = 'ERR_CACHE_FULL';
  readonly missingPages: number;

  constructor(missingPages: number) {
    super(`${missingPages} pages are missing.`);
    this.missingPages = missingPages;
  }
}

class Sequence implements ForwardSequence {
  readonly forward: ScriptedForward;
  readonly scope: string;
  pages: Page[];
  disposed = false;

  constructor(forward: ScriptedForward, scope: string, pages: Page[]) {
    this.forward = forward;
    this.scope = scope;
    this.pages = pages;
  }

  get tokens(): number[] {
    return this.pages.flatMap((page) => page.tokens);
  }

  get length(): number {
    return this.tokens.length;
  }

  truncate(length: number): void {
    if (this.disposed || this.forward.running) throw new Error('truncate is out of order');
    if (length > this.length) throw new Error('truncate makes longer');
    const kept = Math.ceil(length / this.forward.pageSize);
    for (const page of this.pages.splice(kept)) this.forward.release(page);
    const rest = length % this.forward.pageSize;
    if (rest > 0) this.writableLast().tokens.length = rest;
  }

  /** The last page, a copy of it when others see it. */
  writableLast(): Page {
    const last = this.pages[this.pages.length - 1];
    if (last.holders > 1) {
      const copy = this.forward.take();
      copy.tokens = last.tokens.slice();
      this.forward.release(last);
      this.pages[this.pages.length - 1] = copy;
      return copy;
    }
    this.forward.forget(last);
    return last;
  }

  fork(): ForwardSequence {
    if (this.disposed || this.forward.running) throw new Error('fork is out of order');
    for (const page of this.pages) page.holders++;
    return new Sequence(this.forward, this.scope, this.pages.slice());
  }

  dispose(): void {
    if (this.disposed) return;
    if (this.forward.running) throw new Error('dispose within a step');
    this.disposed = true;
    for (const page of this.pages) this.forward.release(page);
  }
}

export class ScriptedForward implements Forward {
  readonly info: ModelInfo;
  readonly pageSize: number;
  running = false;
  closed = false;
  /** Called within every step, before anything has changed. What it throws fails the step. */
  onRun: (entries: readonly ForwardEntry[]) => void | Promise<void> = () => {};
  /** Tokens of each entry of each step that went well. */
  readonly steps: number[][] = [];
  readonly #order?: number;
  readonly #prefixCache: boolean;
  readonly #pages: number;
  #free: number;
  readonly #findable = new Map<string, Page>();
  readonly #stored = new Set<Page>();

  constructor(options: ScriptedOptions = {}) {
    const { pages = 64, pageSize = 4, vocabSize = 31, contextLength = 64 } = options;
    this.info = {
      name: 'scripted',
      vocabSize,
      contextLength,
      layers: 1,
      heads: 1,
      kvHeads: 1,
      headDim: 1,
      eosTokenIds: options.eosTokenIds ?? [],
      embeddings: true,
      longRopeFrom: options.longRopeFrom,
    };
    this.pageSize = pageSize;
    this.#order = options.order;
    this.#prefixCache = options.prefixCache ?? true;
    this.#pages = pages;
    this.#free = pages;
  }

  createSequence(tokens: Int32Array, options: { scope: string; longRope: boolean }) {
    // As prefixScope says; nothing is imported here, see scripted-worker.mjs.
    const scope = `${options.longRope ? 'long' : 'short'}:${options.scope}`;
    const pages: Page[] = [];
    const most = this.#prefixCache ? Math.floor((tokens.length - 1) / this.pageSize) : 0;
    while (pages.length < most) {
      const page = this.#findable.get(key(scope, tokens, (pages.length + 1) * this.pageSize));
      if (page === undefined) break;
      pages.push(page);
    }
    for (const page of pages) {
      page.holders++;
      this.#stored.delete(page);
    }
    return new Sequence(this, scope, pages);
  }

  async run(entries: readonly ForwardEntry[]): Promise<Float32Array[]> {
    if (this.running) throw new Error('two steps at once');
    const sequences = entries.map(({ sequence }) => sequence as Sequence);
    if (new Set(sequences).size < sequences.length) throw new Error('a sequence twice');
    for (const { sequence, tokens } of entries) {
      if ((sequence as Sequence).disposed) throw new Error('a disposed sequence');
      if (tokens.length === 0) throw new Error('an entry without tokens');
      const length = sequence.length + tokens.length;
      if (length > this.info.contextLength) throw new Error('beyond the context');
    }
    const missing = this.#pagesFor(entries) - this.#free - this.#stored.size;
    this.running = true;
    try {
      await this.onRun(entries);
      if (missing > 0) throw new CacheFull(missing);
    } finally {
      this.running = false;
    }
    this.steps.push(entries.map(({ tokens }) => tokens.length));
    return entries.flatMap((entry) => this.#append(entry));
  }

  #pagesFor(entries: readonly ForwardEntry[]): number {
    const pagesOf = (length: number) => Math.ceil(length / this.pageSize);
    const copied = new Map<Page, number>();
    let needed = 0;
    for (const { sequence, tokens } of entries) {
      const { length, pages } = sequence as Sequence;
      needed += pagesOf(length + tokens.length) - pagesOf(length);
      if (length % this.pageSize === 0) continue;
      const last = pages[pages.length - 1];
      const copies = copied.get(last) ?? 0;
      if (last.holders - copies > 1) {
        needed++;
        copied.set(last, copies + 1);
      }
    }
    return needed;
  }

  #append({ sequence, tokens, logitsOf }: ForwardEntry): Float32Array[] {
    const target = sequence as Sequence;
    const rows: Float32Array[] = [];
    tokens.forEach((token, i) => {
      if (target.length % this.pageSize === 0) target.pages.push(this.take());
      else target.writableLast();
      const page = target.pages[target.pages.length - 1];
      page.tokens.push(token);
      const history = target.tokens;
      if (page.tokens.length === this.pageSize) this.#makeFindable(page, target.scope, history);
      if (logitsOf.includes(i)) {
        rows.push(scriptedLogits(history, this.info.vocabSize, this.#order));
      }
    });
    return rows;
  }

  #makeFindable(page: Page, scope: string, history: readonly number[]): void {
    const name = key(scope, history, history.length);
    if (!this.#prefixCache || this.#findable.has(name)) return;
    page.key = name;
    this.#findable.set(name, page);
  }

  take(): Page {
    if (this.#free > 0) this.#free--;
    else {
      const [oldest] = this.#stored;
      if (oldest === undefined) throw new Error('a page that is not there');
      this.#stored.delete(oldest);
      this.forget(oldest);
    }
    return new Page();
  }

  release(page: Page): void {
    if (page.holders === 0) throw new Error('a page is given back twice');
    if (--page.holders > 0) return;
    if (page.key === undefined) this.#free++;
    else this.#stored.add(page);
  }

  forget(page: Page): void {
    if (page.key !== undefined) this.#findable.delete(page.key);
    page.key = undefined;
  }

  /** An embedding is the number of tokens, and the first of them. */
  createEmbedding(total: number): ForwardEmbedding {
    const sequence = this.createSequence(new Int32Array(), {
      scope: 'embeddings',
      longRope: false,
    });
    let first = Number.NaN;
    return {
      advance: async (tokens) => {
        await this.run([{ sequence, tokens, logitsOf: [] }]);
        if (sequence.length === tokens.length) [first] = tokens;
      },
      mean: () => Float32Array.of(sequence.length === total ? total : Number.NaN, first),
      dispose: () => sequence.dispose(),
    };
  }

  counts(): CacheCounts {
    const [free, stored] = [this.#free, this.#stored.size];
    const used = this.#pages - free - stored;
    return { pages: this.#pages, free, used, stored, pageSize: this.pageSize };
  }

  storedTexts(): StoredText[] {
    const keys = [...this.#findable.keys()].reverse();
    const last = keys.filter((each) => !keys.some((other) => other.startsWith(`${each},`)));
    return last.map((each) => {
      const [scope, text] = each.split(': ');
      return { scope, tokens: Int32Array.from(text.split(',').map(Number)) };
    });
  }

  async savePrefix({ scope, tokens }: StoredText): Promise<SavedPrefix | undefined> {
    if (this.running) throw new Error('a prefix is saved within a step');
    let length = 0;
    while (this.#findable.has(key(scope, tokens, length + this.pageSize))) length += this.pageSize;
    if (length === 0) return undefined;
    return { tokens: length, bytes: Uint8Array.from(Buffer.from(tokens.slice(0, length).buffer)) };
  }

  loadPrefix(bytes: Uint8Array, scope: string): number {
    if (this.running) throw new Error('a prefix is loaded within a step');
    const tokens = new Int32Array(Uint8Array.from(bytes).buffer);
    if (tokens.length / this.pageSize > this.#free + this.#stored.size) return 0;
    for (let end = this.pageSize; end <= tokens.length; end += this.pageSize) {
      const page = this.take();
      page.tokens = [...tokens.subarray(end - this.pageSize, end)];
      this.#makeFindable(page, scope, [...tokens.subarray(0, end)]);
      this.release(page);
    }
    return tokens.length;
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

function key(scope: string, tokens: ArrayLike<number>, length: number): string {
  return `${scope}: ${Array.from({ length }, (_, i) => tokens[i]).join()}`;
}
