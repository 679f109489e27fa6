import '../tensor/symbol-dispose.js';

import { checkIntegers } from '../attention/int-vector.js';
import type { ReturnLse } from '../attention/options.js';
import { type DeviceName, deviceOption } from '../native/device.js';
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkBoolean, checkInteger, checkOptions } from '../tensor/check.js';
import { checkDType } from '../tensor/dtype.js';
import type { FloatDType } from '../tensor/host-tensor.js';
import { type DecodeGraph, type DecodeGraphOptions, newDecodeGraph } from './decode-graph.js';
import {
  type CacheDType,
  cacheDTypes,
  isQuantized,
  PageMemory,
  type PageShape,
} from './page-memory.js';
import { type PageCounts, PagePool } from './page-pool.js';
import type { PrefixObserver } from './prefix-tree.js';
import { type Request, Reservation } from './reservation.js';
import { loadSequence } from './saved-sequence.js';
import { newSequence, type Sequence, stateOf } from './sequence.js';
import { SequenceState } from './sequence-state.js';
import { checkStaticScales, type StaticScales, type StaticScalesOption } from './static-scales.js';
import { newStep, type Step } from './step.js';
import { checkTokenIds, type TokenIds } from './token-ids.js';

/** What a {@link KvCache} is made for. */
export interface KvCacheOptions {
  /** Layers of the model. */
  layers: number;
  /** Pages to be had, each for `pageSize` tokens in all layers. */
  numPages: number;
  /** Tokens of a page. Default 16. */
  pageSize?: number;
  /** Heads of keys and values in a layer. */
  kvHeads: number;
  /** Elements of a head's key, 1 to 576. */
  headDim: number;
  /** Elements of a head's value. Default headDim. */
  headDimV?: number;
  /**
   * Rows are latents of multi-head latent attention (MLA; DeepSeek-V2, 2024, arXiv 2405.04434) in
   * absorbed form: the value of a token is the first headDimV elements of its key, and nothing is
   * kept for it. {@link Step.attention} gets no v. Models name the sizes otherwise: headDimV is
   * their `kv_lora_rank`, headDim that and `qk_rope_head_dim`, kvHeads is 1. Default false.
   */
  latents?: boolean;
  /**
   * float32 (default), float16, bfloat16, int8 or float8_e4m3: what keys and values are kept in.
   * The latter two with a float32 scale per token and head, and not of latents: see
   * {@link appendKv}.
   */
  dtype?: CacheDType;
  /**
   * With int8 or float8_e4m3: scales for each layer and kv head, instead of one for each row. What
   * is beyond 127 or 448 times a scale becomes that: see {@link appendKv}.
   */
  scales?: StaticScalesOption;
  /** Default {@link defaultDevice}. */
  device?: DeviceName;
  /** The most tokens a sequence may have. Default: what fits into all pages. */
  maxSeqlen?: number;
  /** Hears which pages prompts may find. What it throws, the call that changed them throws. */
  prefixObserver?: PrefixObserver;
}

/** Options of {@link KvCache.createSequence}. */
export interface SequenceOptions {
  /**
   * Ids of a prompt. The sequence begins with the pages of the longest stored prefix of it, all but
   * one token at most; `length` says how many tokens are there already, the others are to be fed.
   */
  tokens?: TokenIds;
  /**
   * Whatever else keys and values depend on, or may be shared by: model, adapter, tenant. Prefixes
   * are found by sequences of the same scope alone. Default: that of all who name none.
   */
  scope?: string;
}

/** New tokens of one sequence. */
export interface StepEntry {
  sequence: Sequence;
  /**
   * Their ids; or how many there are. A sequence without the ids of all its tokens is not stored as
   * a prefix beyond those that are known.
   */
  tokens: TokenIds | number;
  /**
   * Where the tokens are a tree of drafts (speculative decoding, Miao et al. 2023, arXiv
   * 2305.09781): for each the index of the one before it on its path, less than its own; -1 for the
   * last committed token. A token sees what is committed, its path and itself, and stands at its
   * depth. Such a step is committed with `accept`. Default: each follows the one before it.
   */
  tree?: Int32Array | readonly number[];
}

/** What {@link KvCache.stats} tells. */
export interface KvCacheStats extends PageCounts {
  /** Bytes of all pages, scales included. */
  readonly bytes: number;
}

/** What is behind a cache, for this package alone. */
export interface CacheInside {
  readonly pool: PagePool;
  readonly memory: PageMemory;
  readonly maxSeqlen: number;
}

/** What is behind a cache; undefined for anything else. */
export let insideOf: (value: unknown) => CacheInside | undefined;

const cacheKeys: ReadonlySet<string> = new Set([
  'layers',
  'numPages',
  'pageSize',
  'kvHeads',
  'headDim',
  'headDimV',
  'latents',
  'dtype',
  'scales',
  'device',
  'maxSeqlen',
  'prefixObserver',
]);
const sequenceKeys: ReadonlySet<string> = new Set(['tokens', 'scope']);
const loadKeys: ReadonlySet<string> = new Set(['scope']);
const entryKeys: ReadonlySet<string> = new Set(['sequence', 'tokens', 'tree']);

/** The greatest head dim of any device. */
const maxHeadDim = 576;
const maxInt32 = 2 ** 31 - 1;

/**
 * Keys and values of many sequences in pages (PagedAttention, Kwon et al. 2023, arXiv 2309.06180),
 * which are written to in place and never copied as a sequence grows. Sequences may share pages:
 * forks, and prompts that begin alike (RadixAttention, Zheng et al. 2023, arXiv 2312.07104). All
 * memory is taken at once, when the cache is made.
 *
 * @example
 * const cache = new KvCache({ layers: 2, numPages: 64, kvHeads: 8, headDim: 128 });
 * const sequence = cache.createSequence({ tokens: prompt });
 * using step = cache.step([{ sequence, tokens: prompt.slice(sequence.length) }]);
 * for (let layer = 0; layer < 2; layer++) out = step.attention(layer, q, k, v, { rotary });
 * step.commit();
 */
export class KvCache {
  readonly #memory: PageMemory;
  readonly #pool: PagePool;
  readonly #maxSeqlen: number;

  static {
    insideOf = (value) =>
      typeof value === 'object' && value !== null && #memory in value
        ? { pool: value.#pool, memory: value.#memory, maxSeqlen: value.#maxSeqlen }
        : undefined;
  }

  /**
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`, `ERR_DTYPE`, `ERR_DEVICE`,
   * `ERR_DEVICE_UNAVAILABLE`, `ERR_OUT_OF_MEMORY`.
   */
  constructor(options: KvCacheOptions) {
    const given = checkOptions(options, cacheKeys);
    if (given === undefined) {
      const expected = 'an object with layers, numPages, kvHeads and headDim';
      fail('ERR_TYPE', 'options', expected, 'undefined');
    }
    const count = (name: keyof KvCacheOptions, most: number, value: unknown = given[name]) =>
      checkInteger(value, 1, most, `options.${name}`);
    const {
      dtype = 'float32',
      pageSize = 16,
      headDimV = given.headDim,
      latents = false,
      maxSeqlen = maxInt32,
    } = given;
    const axes = {
      layers: count('layers', 2 ** 16),
      numPages: count('numPages', Math.floor(maxInt32 / count('pageSize', maxInt32, pageSize))),
      pageSize,
      kvHeads: count('kvHeads', 2 ** 16),
      headDim: count('headDim', maxHeadDim),
      headDimV: count('headDimV', maxHeadDim, headDimV),
      dtype: checkDType(dtype, 'options.dtype', cacheDTypes) as CacheDType,
      device: deviceOption(given.device),
      latents: checkBoolean(latents, 'options.latents'),
    };
    const shape: PageShape = { ...axes, scales: checkScales(given.scales, axes) };
    if (latents) checkLatents(shape);
    this.#maxSeqlen = count('maxSeqlen', maxInt32, maxSeqlen);
    this.#memory = new PageMemory(shape);
    this.#pool = new PagePool(shape.numPages, checkObserver(given.prefixObserver));
  }

  get disposed(): boolean {
    return this.#memory.disposed;
  }

  /** Where its pages are, counted at the call. */
  stats(): KvCacheStats {
    return { ...this.#pool.counts(), bytes: this.#memory.bytes };
  }

  /**
   * A sequence, empty or with the stored prefix of a prompt.
   *
   * @param options See {@link SequenceOptions}.
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`, `ERR_OPTION`, `ERR_DISPOSED`.
   */
  createSequence(options?: SequenceOptions): Sequence {
    this.#live();
    const given = checkOptions(options, sequenceKeys);
    const state = this.#newState(given?.scope);
    if (given?.tokens !== undefined) state.begin(checkTokenIds(given.tokens, 'options.tokens'));
    return newSequence(state, this.#memory);
  }

  /**
   * Opens a step: reserves slots for the new tokens of all sequences, or for none.
   *
   * @param entries At least one, each sequence once; rows of q, k and v are in their order.
   * @throws {@link FlashAttentionError} `ERR_CACHE_FULL` when there are too few pages, with
   * `missingPages`; `ERR_STATE` when a sequence is part of an open step; `ERR_SHAPE` when it would
   * be longer than maxSeqlen; `ERR_TYPE`, `ERR_OPTION`, `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`.
   * Nothing has changed then.
   */
  step(entries: readonly StepEntry[]): Step {
    this.#live();
    const reservation = new Reservation(this.#checkEntries(entries));
    try {
      return newStep(reservation, this.#memory);
    } catch (error) {
      reservation.undo();
      throw error;
    }
  }

  /**
   * A graph of decode steps of this cache, with the same attention in all layers: what a GPU does
   * for a step of up to `batch` sequences is captured once and replayed. Steps may have several new
   * tokens of each sequence, as many each time, and trees of drafts.
   *
   * @param options See {@link DecodeGraphOptions}.
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`, `ERR_DTYPE`, `ERR_DEVICE`,
   * `ERR_SHAPE`: rotary tables of fewer rows than `maxSeqlen`, or on Hopper more than 64 rows of
   * queries (`tokens` times the query heads of a kv head) with head dims of at most 256;
   * `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`.
   *
   * @example
   * using graph = cache.captureDecode({ batch: 8, heads: 32, maxSeqlen: 4096, rotary });
   * const step = cache.step(sequences.map((sequence, i) => ({ sequence, tokens: [ids[i]] })));
   * for (let layer = 0; layer < 32; layer++) {
   *   const [out] = graph.replay(step, [project(layer)], { firstLayer: layer });
   * }
   * step.commit();
   */
  captureDecode<D extends FloatDType = 'float32', Lse extends boolean = false>(
    options: DecodeGraphOptions & { dtype?: D } & ReturnLse<Lse>,
  ): DecodeGraph<D, Lse> {
    this.#live();
    const { numPages, pageSize } = this.#memory.shape;
    const most = Math.min(this.#maxSeqlen, numPages * pageSize);
    return newDecodeGraph<D, Lse>(this.#memory, most, options);
  }

  /**
   * A sequence that {@link Sequence.save} made bytes of, in a cache of the same layers, kv heads,
   * head dims and dtype; page size and device may be others. Its tokens are findable as a prefix
   * from now on: load what others may have changed under a scope of its own.
   *
   * @throws {@link FlashAttentionError} `ERR_TYPE` for bytes that are cut short or no such file,
   * `ERR_SHAPE` and `ERR_DTYPE` for those of another model, `ERR_SHAPE` for more tokens than
   * maxSeqlen, `ERR_CACHE_FULL`, `ERR_OPTION`, `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`. Nothing has
   * changed then.
   */
  load(bytes: Uint8Array, options?: Pick<SequenceOptions, 'scope'>): Sequence {
    this.#live();
    const state = this.#newState(checkOptions(options, loadKeys)?.scope);
    loadSequence(bytes, state, this.#memory, this.#maxSeqlen);
    return newSequence(state, this.#memory);
  }

  /**
   * Gives all memory back. Its sequences and steps can only be disposed afterwards; what was
   * enqueued runs. Idempotent.
   */
  dispose(): void {
    this.#memory.dispose();
  }

  /** `using cache = new KvCache(…)` disposes it at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #newState(scope: unknown): SequenceState {
    if (scope !== undefined && typeof scope !== 'string') {
      fail('ERR_TYPE', 'options.scope', 'a string', show(scope));
    }
    return new SequenceState(this.#pool, this.#memory.shape.pageSize, scope);
  }

  #live(): void {
    if (this.disposed) fail('ERR_DISPOSED', 'cache', 'a live KvCache', 'one that was disposed');
  }

  #checkEntries(entries: unknown): Request[] {
    if (!Array.isArray(entries)) fail('ERR_TYPE', 'entries', 'an array', show(entries));
    if (entries.length === 0) fail('ERR_OPTION', 'entries', 'at least one entry', 'none');
    const states = new Set<SequenceState>();
    return Array.from(entries, (entry, i) => {
      const path = `entries[${i}]`;
      const given = checkOptions(entry as StepEntry, entryKeys, path);
      if (given === undefined) fail('ERR_TYPE', path, 'an object', 'undefined');
      const state = this.#checkSequence(given.sequence, `${path}.sequence`);
      if (states.has(state)) {
        fail('ERR_OPTION', `${path}.sequence`, 'a sequence of its own', 'one that is named twice');
      }
      states.add(state);
      const request = this.#checkTokens(state, given.tokens, `${path}.tokens`);
      if (given.tree === undefined) return request;
      return { ...request, parents: checkParents(given.tree, request.tokens, `${path}.tree`) };
    });
  }

  #checkSequence(value: unknown, path: string): SequenceState {
    const state = stateOf(value);
    if (state === undefined) fail('ERR_TYPE', path, 'a Sequence', show(value));
    if (state.pool !== this.#pool) {
      fail('ERR_OPTION', path, 'a sequence of this cache', 'one of another');
    }
    if (state.disposed) fail('ERR_DISPOSED', path, 'a live Sequence', 'one that was disposed');
    if (state.open) fail('ERR_STATE', path, 'in no open step', 'one that is part of a step');
    return state;
  }

  #checkTokens(state: SequenceState, value: TokenIds | number, path: string): Request {
    const known = typeof value !== 'number';
    const ids = known ? checkTokenIds(value, path) : [];
    const tokens = known ? ids.length : checkInteger(value, 1, maxInt32, path);
    if (state.length + tokens > this.#maxSeqlen) {
      const room = this.#maxSeqlen - state.length;
      fail(
        'ERR_SHAPE',
        path,
        `at most ${room} tokens, for a maxSeqlen of ${this.#maxSeqlen},`,
        `${tokens}`,
      );
    }
    return { state, tokens, ids };
  }
}

function checkLatents({ headDim, headDimV, dtype }: PageShape): void {
  if (headDimV > headDim) {
    const expected = `at most headDim, ${headDim}, with latents,`;
    fail('ERR_OPTION', 'options.headDimV', expected, `${headDimV}`);
  }
  if (isQuantized(dtype)) {
    fail('ERR_DTYPE', 'options.dtype', 'float32, float16 or bfloat16 with latents', dtype);
  }
}

function checkScales(
  value: unknown,
  { layers, kvHeads, dtype }: Omit<PageShape, 'scales'>,
): StaticScales | undefined {
  const scales = checkStaticScales(value, layers, kvHeads);
  if (scales && !isQuantized(dtype)) {
    fail('ERR_OPTION', 'options.scales', `absent with a cache of ${dtype}`, 'some');
  }
  return scales;
}

function checkObserver(value: unknown): PrefixObserver | undefined {
  if (value === undefined) return undefined;
  const { stored, forgotten } = (value ?? {}) as Partial<PrefixObserver>;
  if (typeof stored === 'function' && typeof forgotten === 'function') {
    return value as PrefixObserver;
  }
  const expected = 'an object with the functions stored and forgotten';
  fail('ERR_TYPE', 'options.prefixObserver', expected, show(value));
}

function checkParents(value: unknown, tokens: number, path: string): number[] {
  const parents = Array.from(checkIntegers(value, path, -1, (i) => i - 1));
  if (parents.length !== tokens) {
    fail('ERR_SHAPE', path, `a parent for each of ${tokens} tokens`, `${parents.length}`);
  }
  return parents;
}
