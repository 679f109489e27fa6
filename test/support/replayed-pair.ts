// A cache whose decode steps are replayed beside one whose steps are computed call by call.
import { randn, type Tensor, tensor } from '../../lib/index.js';
import {
  type CacheDType,
  type DecodeGraph,
  type DecodeGraphOptions,
  KvCache,
  type KvCacheOptions,
  type Sequence,
  type Step,
} from '../../lib/serving/index.js';
import type { FloatDType } from './numerics.js';
import { rotaryTables } from './rotary-tables.js';

export const [pageSize, kvHeads, headDim] = [8, 2, 64];
/** Of multi-head latent attention. */
const ofLatents = { kvHeads: 1, headDim: 576, headDimV: 512, latents: true } as const;

type Row = Tensor<FloatDType>;
export type Rows = [q: Row, k: Row, v: Row | undefined];
type OwnOptions = 'batch' | 'heads' | 'dtype' | 'maxSeqlen';

export interface Setting {
  readonly dtype?: FloatDType;
  readonly cacheDType?: CacheDType;
  readonly heads?: number;
  readonly layers?: number;
  readonly numbers?: boolean;
  readonly oneByOne?: boolean;
  readonly options?: Omit<DecodeGraphOptions, OwnOptions | 'rotary' | 'tree'>;
  readonly returnLse?: boolean;
  /** Of the new tokens of each sequence of a step, in turn; undefined: they are a path. */
  readonly trees?: readonly (readonly number[] | undefined)[];
  readonly rotary?: boolean;
  readonly latents?: boolean;
  readonly scales?: KvCacheOptions['scales'];
}

/** A sequence in both caches. */
export type Twins = [Sequence, Sequence];

/** One cache whose decode steps are replayed, and one whose steps are computed as ever. */
export class Pair {
  readonly dtype: FloatDType;
  readonly heads: number;
  readonly layers: number;
  /** New ones of each sequence of a step. */
  readonly tokens: number;
  readonly shape: KvCacheOptions;
  readonly caches: readonly [KvCache, KvCache];
  readonly graph: DecodeGraph<FloatDType, boolean>;
  readonly #setting: Setting;
  readonly #options: Omit<DecodeGraphOptions, OwnOptions | 'tokens' | 'tree'>;
  #seed = 1n;

  constructor(setting: Setting, batch = 3) {
    this.#setting = setting;
    this.dtype = setting.dtype ?? 'bfloat16';
    this.heads = setting.heads ?? 4;
    this.layers = setting.layers ?? 2;
    this.shape = {
      ...{ layers: this.layers, numPages: 64, pageSize },
      ...(setting.latents ? ofLatents : { kvHeads, headDim }),
      dtype: setting.cacheDType ?? this.dtype,
      scales: setting.scales,
    };
    this.caches = [new KvCache(this.shape), new KvCache(this.shape)];
    const table = (name: 'cos' | 'sin') =>
      tensor(rotaryTables(64, headDim / 2)[name], [64, headDim / 2]);
    const rotaryOffset = this.shape.headDim - headDim;
    const tables = { cos: table('cos'), sin: table('sin'), rotaryOffset };
    const rotary = setting.rotary === false ? undefined : tables;
    const { tokens = 1, ...options } = setting.options ?? {};
    this.tokens = tokens;
    this.#options = { numSplits: 2, ...options, rotary };
    this.graph = this.caches[0].captureDecode<FloatDType, boolean>({
      ...{ batch, heads: this.heads, maxSeqlen: 64, dtype: this.dtype, tokens },
      ...{ tree: setting.trees !== undefined, returnLse: setting.returnLse },
      ...this.#options,
    });
  }

  create(): Twins {
    return [this.caches[0].createSequence(), this.caches[1].createSequence()];
  }

  /** New rows of all layers, the same for both caches. */
  rows(tokens: number): Rows[] {
    const { dtype, heads } = this;
    const { kvHeads, headDim, latents } = this.shape;
    const some = (count: number) =>
      randn([tokens, count, headDim], { dtype, seed: this.#seed++ }) as Row;
    return Array.from({ length: this.layers }, () => [
      some(heads),
      some(kvHeads),
      latents ? undefined : some(kvHeads),
    ]);
  }

  plain(step: Step, rows: readonly Rows[]): Tensor[][] {
    const options = { ...this.#options, returnLse: true } as const;
    return rows.map(([q, k, v], layer) => {
      const { out, lse } = step.attention(layer, q, k, v, options);
      return [out, lse];
    });
  }

  /** A prompt in both caches. */
  async feed(sequence: Readonly<Twins>, tokens: number): Promise<void> {
    const rows = this.rows(tokens);
    for (const [n, cache] of this.caches.entries()) {
      const step = cache.step([{ sequence: sequence[n], tokens }]);
      for (const each of this.plain(step, rows).flat()) each.dispose();
      step.commit();
    }
  }

  /**
   * Decodes new tokens of each sequence in both caches and compares what comes out of each layer.
   * Of drafts some are accepted.
   */
  async decode(...sequences: readonly Readonly<Twins>[]): Promise<void> {
    const { trees } = this.#setting;
    const total = sequences.length * this.tokens;
    const rows = this.rows(total);
    const entries = (n: 0 | 1) =>
      sequences.map((each, b) => ({
        ...{ sequence: each[n], tokens: this.tokens },
        tree: trees?.[b % trees.length],
      }));
    const [replayed, computed] = [this.caches[0].step(entries(0)), this.caches[1].step(entries(1))];
    const given = await Promise.all(
      rows.map(async ([q, k, v]) =>
        this.#setting.numbers
          ? { q: await numbersOf(q), k: await numbersOf(k), v: v && (await numbersOf(v)) }
          : { q, k, v },
      ),
    );
    const results = this.#setting.oneByOne
      ? given.flatMap((each, n) => this.graph.replay(replayed, [each], { firstLayer: n }))
      : this.graph.replay(replayed, given);
    const expected = this.plain(computed, rows);
    for (const [layer, result] of results.entries()) {
      const { headDim, headDimV = headDim } = this.shape;
      const [out, lse] = 'lse' in result ? [result.out, result.lse] : [result];
      expect(out.shape).toEqual([total, this.heads, headDimV]);
      expect(out.dtype).toBe(this.dtype);
      expect(await out.toFloat32()).toEqual(await expected[layer][0].toFloat32());
      expect(lse === undefined).toBe(this.#setting.returnLse !== true);
      if (!lse) continue;
      expect(lse.shape).toEqual([this.heads, total]);
      expect(await lse.toFloat32()).toEqual(await expected[layer][1].toFloat32());
    }
    for (const tensor of [...rows, ...expected].flat()) tensor?.dispose();
    const accept = this.#accepted(sequences.length);
    replayed.commit(accept && { accept });
    computed.commit(accept && { accept });
  }

  /** Of drafts some, a different number of each sequence; of trees the path to their last token. */
  #accepted(sequences: number): (number | readonly number[])[] | undefined {
    const { trees } = this.#setting;
    if (this.tokens === 1 && !trees) return undefined;
    return Array.from({ length: sequences }, (_, b) => {
      const tree = trees?.[b % trees.length];
      return tree ? pathTo(this.tokens - 1, tree) : 1 + (b % this.tokens);
    });
  }

  end(): void {
    this.graph.dispose();
    for (const cache of this.caches) cache.dispose();
  }
}

function pathTo(token: number, parents: readonly number[]): number[] {
  return token < 0 ? [] : [...pathTo(parents[token], parents), token];
}

const numbersOf = async (rows: Row) => Float32Array.from(await rows.toFloat32());
