import { availableParallelism } from 'node:os';
import type { DeviceName } from 'flash-attention';
import { KvCache, type KvCacheOptions } from 'flash-attention/serving';
import type {
  CacheCounts,
  EngineOptions,
  Forward,
  ForwardEntry,
  ForwardSequence,
  ModelInfo,
  PrefixChange,
  SavedPrefix,
  StoredText,
} from '../engine/contract.js';
import { isCacheFull } from '../engine/errors.js';
import { prefixScope } from '../engine/prefix-hash.js';
import { type DecoderModel, loadDecoder } from '../model/decoder-model.js';
import { CachedSequence } from './cached-sequence.js';
import { CutDecoder } from './cut-decoder.js';
import { Embedding } from './embedding.js';
import { PrefixLog } from './prefix-log.js';
import { PartSession, type Tensors } from './part-session.js';

/** What of the engine's options concerns the model and its cache. */
export type ForwardOptions = Pick<
  EngineOptions,
  'folder' | 'maxTokensInCache' | 'pageSize' | 'kvDtype' | 'device'
> &
  Partial<
    Pick<EngineOptions, 'modelName' | 'threads' | 'prefixCache' | 'prefixChanges' | 'decodeGraphs'>
  > & {
    /** One of several graphs in the folder. */
    readonly graph?: string;
  };

/**
 * A decoder that onnxruntime runs between its attentions, on the tokens of all sequences at once,
 * while keys and values stay in the pages of a {@link KvCache}.
 */
export class OnnxForward implements Forward {
  readonly info: ModelInfo;
  readonly #options: ForwardOptions;
  readonly #decoder: CutDecoder;
  readonly #cache: KvCache;
  readonly #prefixes: PrefixLog | undefined;
  /** Loaded when somebody asks for an embedding. */
  #hidden: PartSession | undefined;
  #running = false;

  private constructor(
    info: ModelInfo,
    options: ForwardOptions,
    decoder: CutDecoder,
    cache: KvCache,
    prefixes: PrefixLog | undefined,
  ) {
    this.info = info;
    this.#options = options;
    this.#decoder = decoder;
    this.#cache = cache;
    this.#prefixes = prefixes;
  }

  /**
   * Loads a model's folder.
   *
   * @throws ModelError, UnsupportedModelError, and what onnxruntime and {@link KvCache} throw.
   */
  static async load(options: ForwardOptions): Promise<OnnxForward> {
    const model = decoderOf(options);
    const { layers, kvHeads, headDim, contextLength } = model.info;
    const { pageSize, kvDtype } = options;
    const device = options.device as DeviceName;
    const prefixes = options.prefixChanges ? new PrefixLog() : undefined;
    const numPages = Math.ceil(options.maxTokensInCache / pageSize);
    const cache = new KvCache({
      ...{ layers, kvHeads, headDim, pageSize, device, maxSeqlen: contextLength },
      numPages,
      dtype: kvDtype as KvCacheOptions['dtype'],
      prefixObserver: prefixes,
    });
    try {
      const maxSeqlen = Math.min(contextLength, numPages * pageSize);
      const graphs = options.decodeGraphs === false ? undefined : { cache, maxSeqlen };
      const decoder = CutDecoder.load(model, { device, threads: threadsOf(options), graphs });
      return new OnnxForward(model.info, options, decoder, cache, prefixes);
    } catch (error) {
      cache.dispose();
      throw error;
    }
  }

  createSequence(
    tokens: Int32Array,
    { scope, longRope }: { scope: string; longRope: boolean },
  ): ForwardSequence {
    const known = this.#options.prefixCache !== false && tokens.length > 0;
    const found = this.#cache.createSequence({
      scope: prefixScope(scope, longRope),
      ...(known ? { tokens } : {}),
    });
    return new CachedSequence(found, longRope);
  }

  async run(entries: readonly ForwardEntry[]): Promise<Float32Array[]> {
    const wanted: number[] = [];
    let total = 0;
    for (const { tokens, logitsOf } of entries) {
      for (const row of logitsOf) wanted.push(total + checkRow(row, tokens.length));
      total += tokens.length;
    }
    const known = this.#options.prefixCache !== false;
    const logits = await this.#pass(entries, known, (tensors) =>
      wanted.length > 0 ? this.#decoder.logits(tensors, total, wanted) : new Float32Array(),
    );
    const { vocabSize } = this.info;
    return wanted.map((_, n) => logits.subarray(n * vocabSize, (n + 1) * vocabSize));
  }

  createEmbedding(total: number): Embedding {
    const longRope = total > (this.info.longRopeFrom ?? Infinity);
    const sequence = this.createSequence(new Int32Array(), { scope: 'embeddings', longRope });
    return new Embedding(sequence, async (tokens) => {
      this.#hidden ??= loadHidden(this.#options);
      const hidden = this.#hidden;
      const entries = [{ sequence, tokens, logitsOf: [] }];
      const made = await this.#pass(entries, false, (tensors) => hidden.run(tensors));
      const [states] = Object.values(made);
      return states.data as Float32Array;
    });
  }

  counts(): CacheCounts {
    const { pages, free, used, stored } = this.#cache.stats();
    return { pages, free, used, stored, pageSize: this.#options.pageSize };
  }

  prefixChange(): PrefixChange | undefined {
    return this.#prefixes?.take();
  }

  storedTexts(): StoredText[] {
    return this.#prefixes?.texts() ?? [];
  }

  async savePrefix({ scope, tokens }: StoredText): Promise<SavedPrefix | undefined> {
    // One token more: a cache leaves one to be computed.
    const text = new Int32Array(tokens.length + 1);
    text.set(tokens);
    const found = this.#cache.createSequence({ scope, tokens: text });
    try {
      return found.length > 0 ? { tokens: found.length, bytes: await found.save() } : undefined;
    } finally {
      found.dispose();
    }
  }

  loadPrefix(bytes: Uint8Array, scope: string): number {
    try {
      const loaded = this.#cache.load(bytes, { scope });
      const { length } = loaded;
      loaded.dispose(); // it stays findable
      return length;
    } catch (error) {
      if (isCacheFull(error)) return 0;
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#decoder.release();
    this.#cache.dispose();
    this.#hidden?.release();
  }

  /**
   * One pass of all entries, committed or without a trace.
   *
   * @param known whether others may find the tokens as a stored prefix.
   * @param end what comes behind the last attention.
   */
  async #pass<T>(
    entries: readonly ForwardEntry[],
    known: boolean,
    end: (tensors: Tensors) => T,
  ): Promise<T> {
    if (this.#running) throw new Error('a pass is running already');
    const given = entries.map(({ sequence, tokens }) => {
      const { cached, longRope } = sequence as CachedSequence;
      checkIds(tokens, this.info.vocabSize);
      return { cached, tokens, first: cached.length, longRope };
    });
    this.#running = true;
    try {
      const step = this.#cache.step(
        given.map(({ cached, tokens }) => ({
          sequence: cached,
          tokens: known ? tokens : tokens.length,
        })),
      );
      try {
        const result = end(await this.#decoder.throughLayers(step, given));
        step.commit();
        return result;
      } finally {
        step.dispose();
      }
    } finally {
      this.#running = false;
    }
  }
}

function decoderOf({ folder, modelName, graph }: ForwardOptions): DecoderModel {
  return loadDecoder(folder, {
    ...(modelName === undefined ? {} : { name: modelName }),
    ...(graph === undefined ? {} : { graph }),
  });
}

function loadHidden(options: ForwardOptions): PartSession {
  const { cut, graphFolder } = decoderOf(options);
  if (!cut.hidden) throw new Error('the hidden states of this model are not known');
  return new PartSession(cut.hidden, graphFolder, threadsOf(options));
}

function threadsOf({ threads }: ForwardOptions): number {
  return threads ?? availableParallelism();
}

function checkRow(row: number, tokens: number): number {
  if (Number.isInteger(row) && row >= 0 && row < tokens) return row;
  throw new RangeError(`logits of row ${row}, of ${tokens} tokens`);
}

/** The embedding would take negative ids for those from the end on. */
function checkIds(tokens: Int32Array, vocabSize: number): void {
  const wrong = tokens.find((token) => token < 0 || token >= vocabSize);
  if (wrong === undefined) return;
  throw new RangeError(`token ${wrong}, of a vocabulary of ${vocabSize} tokens`);
}
