import { availableParallelism } from 'node:os';
import type { DeviceName } from 'flash-attention';
import { KvCache, type KvCacheOptions, type Step } from 'flash-attention/serving';
import { Tensor } from 'onnxruntime-node';
import type {
  CacheCounts,
  EngineOptions,
  Forward,
  ForwardEntry,
  ForwardSequence,
  ModelInfo,
} from '../engine/contract.js';
import { type DecoderModel, loadDecoder } from '../model/decoder-model.js';
import { type Attend, attentionOn } from './attend.js';
import { CachedSequence } from './cached-sequence.js';
import { gatherTokens, type NewTokens, packTokens } from './packed-tokens.js';
import { PartSession, type Tensors } from './part-session.js';

/** What of the engine's options concerns the model and its cache. */
export type ForwardOptions = Pick<
  EngineOptions,
  'folder' | 'maxTokensInCache' | 'pageSize' | 'kvDtype' | 'device'
> &
  Partial<Pick<EngineOptions, 'modelName' | 'threads' | 'maxBatchTokens' | 'prefixCache'>> & {
    /** One of several graphs in the folder. */
    readonly graph?: string;
  };

/** Tokens of a pass through the parts, where nobody says. */
const defaultBatchTokens = 512;

/**
 * A decoder that onnxruntime runs between its attentions, on the tokens of all sequences at once,
 * while keys and values stay in the pages of a {@link KvCache}.
 */
export class OnnxForward implements Forward {
  readonly info: ModelInfo;
  readonly #model: DecoderModel;
  readonly #options: ForwardOptions;
  readonly #parts: readonly PartSession[];
  readonly #cache: KvCache;
  readonly #attend: Attend;
  /** By layer: tensors that parts behind it take. */
  readonly #needed: readonly ReadonlySet<string>[];
  #hidden: Promise<PartSession> | undefined;
  #running = false;

  private constructor(
    model: DecoderModel,
    options: ForwardOptions,
    parts: readonly PartSession[],
    cache: KvCache,
  ) {
    this.info = model.info;
    this.#model = model;
    this.#options = options;
    this.#parts = parts;
    this.#cache = cache;
    this.#attend = attentionOn(options.device as DeviceName, model.cut.layers);
    this.#needed = model.cut.layers.map(
      (_, layer) => new Set(parts.slice(layer + 1).flatMap(({ inputs }) => inputs)),
    );
  }

  /**
   * Loads a model's folder.
   *
   * @throws ModelError, UnsupportedModelError, and what onnxruntime and {@link KvCache} throw.
   */
  static async load(options: ForwardOptions): Promise<OnnxForward> {
    const { folder, modelName, graph } = options;
    const model = loadDecoder(folder, {
      ...(modelName === undefined ? {} : { name: modelName }),
      ...(graph === undefined ? {} : { graph }),
    });
    const { layers, kvHeads, headDim, contextLength } = model.info;
    const { pageSize, device, kvDtype } = options;
    const cache = new KvCache({
      layers,
      kvHeads,
      headDim,
      pageSize,
      numPages: Math.ceil(options.maxTokensInCache / pageSize),
      dtype: kvDtype as KvCacheOptions['dtype'],
      device: device as DeviceName,
      maxSeqlen: contextLength,
    });
    const parts: PartSession[] = [];
    try {
      for (const part of model.cut.parts) {
        parts.push(await PartSession.load(part, model.graphFolder, threadsOf(options)));
      }
      return new OnnxForward(model, options, parts, cache);
    } catch (error) {
      cache.dispose();
      for (const part of parts) await part.release();
      throw error;
    }
  }

  createSequence(
    tokens: Int32Array,
    { scope, longRope }: { scope: string; longRope: boolean },
  ): ForwardSequence {
    // Keys that other tables turned are other keys.
    const apart = `${longRope ? 'long' : 'short'}:${scope}`;
    const known = this.#options.prefixCache !== false && tokens.length > 0;
    const found = this.#cache.createSequence({ scope: apart, ...(known ? { tokens } : {}) });
    return new CachedSequence(found, longRope);
  }

  async run(entries: readonly ForwardEntry[]): Promise<Float32Array[]> {
    const wanted: number[] = [];
    let total = 0;
    for (const { tokens, logitsOf } of entries) {
      for (const row of logitsOf) wanted.push(total + checkRow(row, tokens.length));
      total += tokens.length;
    }
    const last = wanted.length > 0 ? this.#parts[this.#parts.length - 1] : undefined;
    const known = this.#options.prefixCache !== false;
    const result = await this.#pass(entries, { known, last, wanted });
    if (!result) return [];
    const { vocabSize } = this.info;
    const logits = result.logits.data as Float32Array;
    return wanted.map((_, n) => logits.subarray(n * vocabSize, (n + 1) * vocabSize));
  }

  async embed(tokens: Int32Array): Promise<Float32Array> {
    const { hidden } = this.#model.cut;
    if (!hidden) throw new Error('the hidden states of this model are not known');
    const { graphFolder, info } = this.#model;
    this.#hidden ??= PartSession.load(hidden, graphFolder, threadsOf(this.#options));
    const last = await this.#hidden;
    const longRope = tokens.length > (info.longRopeFrom ?? Infinity);
    const sequence = this.createSequence(new Int32Array(), { scope: 'embeddings', longRope });
    const mean: number[] = [];
    try {
      const most = this.#options.maxBatchTokens ?? defaultBatchTokens;
      for (let first = 0; first < tokens.length; first += most) {
        const chunk = tokens.subarray(first, first + most);
        const entries = [{ sequence, tokens: chunk, logitsOf: [] }];
        const states = (await this.#pass(entries, { known: false, last }))?.[hidden.outputs[0]];
        if (!states) throw new Error('the model gave no hidden states');
        const width = states.size / chunk.length;
        (states.data as Float32Array).forEach((value, i) => {
          mean[i % width] = (mean[i % width] ?? 0) + value / tokens.length;
        });
      }
    } finally {
      sequence.dispose();
    }
    return Float32Array.from(mean);
  }

  counts(): CacheCounts {
    const { pages, free, used, stored } = this.#cache.stats();
    return { pages, free, used, stored, pageSize: this.#options.pageSize };
  }

  async close(): Promise<void> {
    this.#cache.dispose();
    const hidden = await this.#hidden;
    await Promise.all([...this.#parts, ...(hidden ? [hidden] : [])].map((part) => part.release()));
  }

  /**
   * One pass of all entries, committed or without a trace.
   *
   * @param options.known whether others may find the tokens as a stored prefix.
   * @param options.last the part behind the last attention; none: nobody wants what it makes.
   * @param options.wanted rows that the last part is run for. Default: all.
   */
  async #pass(
    entries: readonly ForwardEntry[],
    { known, last, wanted }: { known: boolean; last?: PartSession; wanted?: readonly number[] },
  ): Promise<Tensors | undefined> {
    if (this.#running) throw new Error('a pass is running already');
    const given = entries.map(({ sequence, tokens }) => {
      const { cached, longRope } = sequence as CachedSequence;
      checkIds(tokens, this.info.vocabSize);
      return { cached, tokens, first: cached.length, longRope };
    });
    let step: Step | undefined;
    this.#running = true;
    try {
      step = this.#cache.step(
        given.map(({ cached, tokens }) => ({
          sequence: cached,
          tokens: known ? tokens : tokens.length,
        })),
      );
      const tensors = await this.#throughLayers(step, given);
      const rows = wanted && wanted.length < step.totalTokens ? wanted : undefined;
      const ends = rows ? gatherTokens(tensors, step.totalTokens, rows) : tensors;
      const result = last && (await last.run(ends));
      step.commit();
      return result;
    } finally {
      step?.dispose();
      this.#running = false;
    }
  }

  /** All parts but the last, with the attentions behind them: what the last one may take. */
  async #throughLayers(step: Step, entries: readonly NewTokens[]): Promise<Tensors> {
    const { layers, tables } = this.#model.cut;
    let tensors = packTokens(entries, tables);
    for (const [layer, { q, k, v, output, attention }] of layers.entries()) {
      const made = await this.#parts[layer].run(tensors);
      const rows = { q: dataOf(made[q]), k: dataOf(made[k]), v: dataOf(made[v]) };
      const attended = await this.#attend(step, layer, rows);
      const dims = [step.totalTokens, 1, attention.heads * attention.headDim];
      const all = { ...tensors, ...made, [output]: new Tensor('float32', attended, dims) };
      const needed = Object.entries(all).filter(([name]) => this.#needed[layer].has(name));
      tensors = Object.fromEntries(needed);
    }
    return tensors;
  }
}

/** The embedding would take negative ids for those from the end on. */
function checkIds(tokens: Int32Array, vocabSize: number): void {
  const wrong = tokens.find((token) => token < 0 || token >= vocabSize);
  if (wrong === undefined) return;
  throw new RangeError(`token ${wrong}, of a vocabulary of ${vocabSize} tokens`);
}

function checkRow(row: number, tokens: number): number {
  if (Number.isInteger(row) && row >= 0 && row < tokens) return row;
  throw new RangeError(`logits of row ${row}, of ${tokens} tokens`);
}

function dataOf({ data }: Tensor): Float32Array {
  return data as Float32Array;
}

function threadsOf({ threads }: ForwardOptions): number {
  return threads ?? availableParallelism();
}
