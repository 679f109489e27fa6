/**
 * A model whose queries, keys and values are functions of the tokens so far, fed through a KvCache
 * and checked against plain arrays: what comes out is attention of the whole text in float64.
 */
import { type Tensor, tensor } from '../../lib/index.js';
import {
  type CodeDType,
  dequantizedCache,
  type Numbers,
  quantizedCache,
  type ReferenceOptions,
  type RotaryOptions,
  rotary,
  standardAttention,
} from '../../lib/reference/index.js';
import {
  type CacheDType,
  KvCache,
  type KvCacheOptions,
  type Sequence,
  type Step,
  type StepAttentionOptions,
} from '../../lib/serving/index.js';
import { onSimtHopper, sized } from './device.js';
import { bound, type FloatDType, maxError, rounding, testedDTypes } from './numerics.js';
import { uniform } from './random.js';

const { imul, ceil } = Math; // once: see random.ts

export const heads = 4;
export const shape = { layers: 2, pageSize: 4, kvHeads: 2, headDim: 8, headDimV: 4 };

/** Ids from here on are not told to the cache. */
const untold = 1000;

/** A sequence beside the plain array of what it was fed. */
export interface Text {
  readonly sequence: Sequence;
  readonly scope?: string;
  tokens: number[];
}

export interface Feed {
  readonly text: Text;
  readonly tokens: readonly number[];
  /** Of a tree: the index of the token before each. */
  readonly tree?: readonly number[];
}

/** All tokens up to new token `index`, itself included, along its path. */
function pathTo({ text, tokens, tree }: Feed, index: number): number[] {
  const path: number[] = [];
  for (let i = index; i >= 0; i = tree ? tree[i] : i - 1) path.unshift(tokens[i]);
  return [...text.tokens, ...path];
}

type Rows = 'q' | 'k' | 'v';

const dims: Readonly<Record<Rows, number>> = {
  q: heads * shape.headDim,
  k: shape.kvHeads * shape.headDim,
  v: shape.kvHeads * shape.headDimV,
};

/** What stands for one token and all before it. */
function digest(scope: string | undefined, tokens: readonly number[]): number[] {
  let state = scope === undefined ? 1 : imul(scope.length + 2, 0x9e3779b1);
  return tokens.map((token) => {
    state = imul(state ^ (token + 1), 0x01000193) + 0x7f4a7c15;
    return state;
  });
}

/** What the reference is told. */
export interface Truth
  extends Pick<
    ReferenceOptions,
    'scale' | 'window' | 'sinkTokens' | 'softcap' | 'alibiSlopes' | 'sinks'
  > {
  readonly rotary?: Omit<RotaryOptions, 'positions'>;
}

/** What caches are tested in. A dtype that they may have belongs into this list. */
export const testedCacheDTypes: readonly CacheDType[] = onSimtHopper
  ? ['bfloat16', 'int8']
  : sized(['float32', 'float16', 'bfloat16', 'int8', 'float8_e4m3'], ['bfloat16', 'int8']);

/** What a cache of 8 bits holds. */
function codesOf(dtype: CacheDType): CodeDType | undefined {
  return dtype === 'int8' || dtype === 'float8_e4m3' ? dtype : undefined;
}

/** What a cache makes of rows [.., dim]. */
export function kept(rows: Numbers, dim: number, dtype: CacheDType): Numbers {
  const codes = codesOf(dtype);
  if (codes) return dequantizedCache(quantizedCache(Float32Array.from(rows), dim, codes));
  return Float32Array.from(rows, rounding[dtype as FloatDType]);
}

export class CachedModel {
  readonly cache: KvCache;
  readonly cacheDType: CacheDType;
  /** Whether values are the first elements of keys. */
  readonly latents: boolean;
  /** Of queries, keys and values. */
  readonly dtype: FloatDType;
  readonly texts: Text[] = [];
  readonly options: StepAttentionOptions;
  /** `options`, for the reference. */
  truth: Truth = {};
  readonly #numPages: number;

  constructor(
    numPages: number,
    dtype: CacheDType = 'float32',
    { numSplits = 1, ...options }: StepAttentionOptions = {},
    more: Partial<KvCacheOptions> = {},
  ) {
    this.cache = new KvCache({ ...shape, numPages, dtype, ...more });
    this.cacheDType = dtype;
    this.latents = more.latents === true;
    this.dtype = codesOf(dtype) ? testedDTypes[0] : (dtype as FloatDType);
    this.options = { numSplits, ...options };
    this.#numPages = numPages;
    this.flood();
  }

  create(tokens?: readonly number[], scope?: string): Text {
    const sequence = this.cache.createSequence({ tokens, scope });
    const text = { sequence, scope, tokens: (tokens ?? []).slice(0, sequence.length) };
    this.texts.push(text);
    return text;
  }

  fork({ sequence, scope, tokens }: Text): Text {
    const text = { sequence: sequence.fork(), scope, tokens: tokens.slice() };
    this.texts.push(text);
    return text;
  }

  truncate(text: Text, length: number): void {
    text.sequence.truncate(length);
    text.tokens.length = length;
  }

  dispose(text: Text): void {
    text.sequence.dispose();
    this.texts.splice(this.texts.indexOf(text), 1);
  }

  async reload(text: Text, into: CachedModel = this): Promise<Text> {
    const sequence = into.cache.load(await text.sequence.save(), { scope: text.scope });
    const loaded = { sequence, scope: text.scope, tokens: text.tokens.slice() };
    into.texts.push(loaded);
    return loaded;
  }

  /** NaN into every slot of every free page. */
  flood(): void {
    const { free } = this.cache.stats();
    if (free === 0) return;
    using sequence = this.cache.createSequence();
    const tokens = free * shape.pageSize;
    using step = this.cache.step([{ sequence, tokens }]);
    const nan = (rows: Rows, count: number) =>
      tensor(new Float32Array(tokens * dims[rows]).fill(Number.NaN), [
        tokens,
        count,
        dims[rows] / count,
      ]);
    using q = nan('q', heads);
    using k = nan('k', shape.kvHeads);
    using v = nan('v', shape.kvHeads);
    const values = this.latents ? undefined : v;
    for (let layer = 0; layer < shape.layers; layer++) {
      step.attention(layer, q, k, values).dispose();
    }
  }

  open(feeds: readonly Feed[]): Step {
    return this.cache.step(
      feeds.map(({ text, tokens, tree }) => ({
        sequence: text.sequence,
        tokens: tokens[0] >= untold ? tokens.length : tokens,
        tree,
      })),
    );
  }

  /** Rows of tokens `from` onwards, as the dtype holds them. */
  rows(rows: Rows, layer: number, scope: string | undefined, tokens: readonly number[], from = 0) {
    const dim = dims[rows];
    const result = new Float32Array((tokens.length - from) * dim);
    const round = rounding[this.dtype];
    digest(scope, tokens)
      .slice(from)
      .forEach((state, i) => {
        const random = uniform(state + 7919 * layer + 104729 * (rows.charCodeAt(0) - 100));
        for (let c = 0; c < dim; c++) result[i * dim + c] = round(4 * random() - 2);
      });
    return result;
  }

  #tensor(rows: Rows, layer: number, feeds: readonly Feed[], count: number): Tensor {
    const parts = feeds.flatMap((feed) => {
      const { text, tokens, tree } = feed;
      const all = [...text.tokens, ...tokens];
      if (!tree) return [this.rows(rows, layer, text.scope, all, text.tokens.length)];
      return tree.map((_, i) => {
        const path = pathTo(feed, i);
        return this.rows(rows, layer, text.scope, path, path.length - 1);
      });
    });
    const total = feeds.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const data = new Float32Array(total * dims[rows]);
    let at = 0;
    for (const part of parts) {
      data.set(part, at);
      at += part.length;
    }
    return tensor(data, [total, count, dims[rows] / count], { dtype: this.dtype });
  }

  /** Queries, keys and values of a layer. */
  layer(layer: number, feeds: readonly Feed[]): [q: Tensor, k: Tensor, v?: Tensor] {
    const q = this.#tensor('q', layer, feeds, heads);
    const k = this.#tensor('k', layer, feeds, shape.kvHeads);
    return this.latents ? [q, k] : [q, k, this.#tensor('v', layer, feeds, shape.kvHeads)];
  }

  /** All layers of a step. */
  attend(step: Step, feeds: readonly Feed[]): Tensor[] {
    return Array.from({ length: shape.layers }, (_, layer) => {
      const [q, k, v] = this.layer(layer, feeds);
      const out = step.attention(layer, q, k, v, this.options);
      for (const each of [q, k, v]) each?.dispose();
      return out;
    });
  }

  /** Bytes of each layer's out, for each feed. */
  async feed(feeds: readonly Feed[], commit = true): Promise<Uint8Array[]> {
    using step = this.open(feeds);
    const outs = this.attend(step, feeds);
    const data = await Promise.all(outs.map((out) => out.take()));
    if (commit) {
      step.commit();
      for (const { text, tokens } of feeds) text.tokens.push(...tokens);
    }
    let row = 0;
    return feeds.map(({ tokens }) => {
      const [begin, end] = [row, row + tokens.length].map((n) => n * heads * shape.headDimV);
      row += tokens.length;
      const bytes = data.map((array) => {
        const part = array.slice(begin, end);
        return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
      });
      return new Uint8Array(Buffer.concat(bytes));
    });
  }

  /** As {@link feed}; what comes out is compared with float64. */
  async feedAndCheck(
    feeds: readonly Feed[],
    commit: boolean | readonly (number | readonly number[])[] = true,
  ): Promise<void> {
    using step = this.open(feeds);
    const outs = await Promise.all(
      this.attend(step, feeds).map(async (each) => {
        using out = each;
        return out.toFloat32();
      }),
    );
    let row = 0;
    for (const feed of feeds) {
      const { text, tokens, tree } = feed;
      const width = heads * shape.headDimV;
      outs.forEach((out, layer) => {
        const own = out.subarray(row * width, (row + tokens.length) * width);
        const whole = [...text.tokens, ...tokens];
        if (!tree) this.#compare(own, layer, text.scope, whole, tokens.length);
        tree?.forEach((_, i) => {
          const one = own.subarray(i * width, (i + 1) * width);
          this.#compare(one, layer, text.scope, pathTo(feed, i), 1);
        });
      });
      row += tokens.length;
    }
    if (commit === false) return;
    const accept = feeds.map(({ tokens }, i) => {
      const kept = commit === true ? tokens.length : commit[i];
      return typeof kept === 'number' ? kept % (tokens.length + 1) : kept;
    });
    step.commit(commit === true ? undefined : { accept });
    feeds.forEach(({ text, tokens }, i) => {
      const kept = accept[i];
      if (typeof kept === 'number') text.tokens.push(...tokens.slice(0, kept));
      else text.tokens.push(...kept.map((index) => tokens[index]));
    });
  }

  #compare(
    out: Float32Array,
    layer: number,
    scope: string | undefined,
    all: readonly number[],
    queries: number,
  ): void {
    const { kvHeads, headDim, headDimV } = shape;
    const { rotary: tables, ...options } = this.truth;
    const turned = (rows: Rows, count: number, from = 0): Numbers => {
      const own = this.rows(rows, layer, scope, all, from);
      if (!tables) return own;
      const tokens = all.length - from;
      const positions = Array.from({ length: tokens }, (_, i) => from + i);
      return rotary(own, { tokens, heads: count, headDim }, { ...tables, positions });
    };
    const k = kept(turned('k', kvHeads), headDim, this.cacheDType);
    const values = () => kept(this.rows('v', layer, scope, all), headDimV, this.cacheDType);
    const problem = {
      shape: {
        batch: 1,
        seqlenQ: queries,
        seqlenK: all.length,
        heads,
        kvHeads,
        headDim,
        headDimV,
      },
      q: kept(turned('q', heads, all.length - queries), headDim, this.dtype),
      k,
      v: this.latents ? firstOf(k, headDim, headDimV) : values(),
      ...options,
      causal: true,
    };
    const truth = standardAttention(problem).out;
    const standard = standardAttention(problem, { precision: this.dtype }).out;
    expect(maxError(out, truth)).toBeLessThanOrEqual(bound(standard, truth));
  }

  /** What must hold after every action. */
  checkCounts(): void {
    const { pages, free, used, shared, stored } = this.cache.stats();
    expect(pages).toBe(this.#numPages);
    expect(free + used + stored).toBe(pages);
    let held = 0;
    for (const { sequence, tokens } of this.texts) {
      expect(sequence.length).toBe(tokens.length);
      expect(sequence.pages).toBe(ceil(tokens.length / shape.pageSize));
      held += sequence.pages;
    }
    expect(used + shared).toBeLessThanOrEqual(held);
  }

  /** Everything back, and no page lost. */
  end(): void {
    while (this.texts.length > 0) this.dispose(this.texts[0]);
    const { pages, free, used, stored } = this.cache.stats();
    expect({ used, kept: free + stored }).toEqual({ used: 0, kept: pages });
    this.cache.dispose();
  }
}

/** The first `count` of every `dim` elements. */
export function firstOf(rows: Numbers, dim: number, count: number): Float32Array {
  const result = new Float32Array((rows.length / dim) * count);
  for (let i = 0; i < result.length; i++) {
    result[i] = rows[Math.floor(i / count) * dim + (i % count)];
  }
  return result;
}

/** Ids that the cache is not told. */
export const untoldTokens = (count: number, first = 0): number[] =>
  Array.from({ length: count }, (_, i) => untold + first + i);

/** The tokens `first`, `first + 1`, … */
export const prompt = (length: number, first = 1): number[] =>
  Array.from({ length }, (_, i) => first + i);
