import '../tensor/symbol-dispose.js';

import type { AttentionResult, ReturnLse } from '../attention/options.js';
import { type NativeDecodeGraph, native } from '../native/addon.js';
import { enqueued } from '../native/call-options.js';
import { call, fail } from '../native/errors.js';
import { keepName, show } from '../native/show.js';
import { checkBoolean, checkInteger, checkOptions } from '../tensor/check.js';
import { checkDType, dtypeNumber } from '../tensor/dtype.js';
import { type FloatDType, floatDTypes } from '../tensor/host-tensor.js';
import { contiguousStrides } from '../tensor/shape.js';
import { isTensor, liveHandle, newTensor, type Tensor } from '../tensor/tensor.js';
import type { PageMemory } from './page-memory.js';
import type { RotaryTables } from './rotary.js';
import { type Step, type StepInside, stepInside } from './step.js';
import { attendLayer, checkRows, checkValues, type LayerRows } from './step-attention.js';
import { optionKeys, type StepAttentionOptions, stepNames } from './step-options.js';

/** What {@link KvCache.captureDecode} takes. */
export interface DecodeGraphOptions extends Omit<StepAttentionOptions, 'rotary' | 'signal'> {
  /** The most sequences that a step of the graph has. */
  batch: number;
  /**
   * New tokens of each sequence of a step: the last one and a guess of the next ones (speculative
   * decoding). Default 1.
   */
  tokens?: number;
  /** Whether steps are trees of drafts: see `tree` of {@link StepEntry}. Default false. */
  tree?: boolean;
  /** Query heads of a layer. */
  heads: number;
  /** Of q, k and v, and of what comes out: float32 (default), float16 or bfloat16. */
  dtype?: FloatDType;
  /**
   * The most tokens that a sequence has, new ones included. A replay brings 4 bytes to the device
   * for each page and sequence of that. Default: that of the cache.
   */
  maxSeqlen?: number;
  /** Rotates q and k where their tokens stand; tables of at least maxSeqlen rows. Default: not. */
  rotary?: RotaryTables;
}

/** New rows of a layer. */
export interface DecodeRows<D extends FloatDType = FloatDType> {
  /** `[totalTokens, heads, headDim]`, in the dtype of the graph; or a Float32Array. */
  readonly q: LayerRows<D>;
  /** `[totalTokens, kvHeads, headDim]`, likewise. */
  readonly k: LayerRows<D>;
  /** `[totalTokens, kvHeads, headDimV]`, likewise; none with a cache of latents. */
  readonly v?: LayerRows<D>;
}

/** Options of {@link DecodeGraph.replay}. */
export interface ReplayOptions {
  /** The layer of the first rows. Default 0. */
  firstLayer?: number;
  /** See `signal` of {@link CallOptions}. */
  signal?: AbortSignal;
}

/** What a layer of a replay gives. */
export type ReplayResult<D extends FloatDType, Lse extends boolean> = Lse extends true
  ? AttentionResult<D>
  : Tensor<D>;

const ownKeys = ['batch', 'tokens', 'tree', 'heads', 'dtype', 'maxSeqlen'] as const;
const graphKeys: ReadonlySet<string> = new Set([
  ...ownKeys,
  ...[...optionKeys].filter((key) => !['signal', 'sync'].includes(key)),
]);
const replayKeys: ReadonlySet<string> = new Set(['firstLayer', 'signal']);
const rowKeys: ReadonlySet<string> = new Set(['q', 'k', 'v']);

/** The caller's names of what the native side calls otherwise. */
const graphNames = {
  ...stepNames,
  batch: 'options.batch',
  tokens: 'options.tokens',
  heads: 'options.heads',
  dtype: 'options.dtype',
  pagesPerSequence: 'options.maxSeqlen',
};

/** Of a step, as the native side has it. */
const maxRows = 2 ** 20;

/** The constructor, for this package alone; others use {@link KvCache.captureDecode}. */
export let newDecodeGraph: <D extends FloatDType, Lse extends boolean>(
  memory: PageMemory,
  maxSeqlen: number,
  options: DecodeGraphOptions & ReturnLse,
) => DecodeGraph<D, Lse>;

/**
 * Decode steps of a cache that a GPU replays: of up to `batch` sequences, with as many new tokens
 * of each. Made by {@link KvCache.captureDecode}. All work of the layers of a replay is one CUDA
 * graph, whose tables, rows and results stay where they are. On the CPU, which launches nothing,
 * the same calls compute the layers one by one.
 */
export class DecodeGraph<D extends FloatDType = FloatDType, Lse extends boolean = false> {
  /** The most sequences of a step. */
  readonly batch: number;
  /** New tokens of each sequence of a step. */
  readonly tokens: number;
  /** Whether steps are trees of drafts. */
  readonly tree: boolean;
  /** The most tokens of a sequence. */
  readonly maxSeqlen: number;
  readonly dtype: D;
  readonly #memory: PageMemory;
  readonly #heads: number;
  readonly #options: StepAttentionOptions & ReturnLse;
  /** Undefined on the CPU. */
  readonly #handle: NativeDecodeGraph | undefined;
  /** What the last replay of each layer gave. */
  readonly #given: (readonly Tensor[] | undefined)[] = [];
  #disposed = false;

  static {
    keepName(DecodeGraph, 'DecodeGraph');
    newDecodeGraph = <D extends FloatDType, Lse extends boolean>(
      memory: PageMemory,
      maxSeqlen: number,
      options: DecodeGraphOptions & ReturnLse,
    ) => new DecodeGraph<D, Lse>(memory, maxSeqlen, options);
  }

  private constructor(
    memory: PageMemory,
    maxSeqlen: number,
    options: DecodeGraphOptions & ReturnLse,
  ) {
    const given = checkOptions(options, graphKeys);
    if (given === undefined) {
      fail('ERR_TYPE', 'options', 'an object with batch and heads', 'undefined');
    }
    const { batch, tokens = 1, tree = false, heads, ...others } = given;
    const { dtype = 'float32', maxSeqlen: most = maxSeqlen, ...attention } = others;
    this.batch = checkInteger(batch, 1, maxRows, 'options.batch');
    this.#heads = checkInteger(heads, 1, 2 ** 16, 'options.heads');
    this.dtype = checkDType(dtype, 'options.dtype', floatDTypes) as D;
    this.maxSeqlen = checkInteger(most, 1, maxSeqlen, 'options.maxSeqlen');
    const room = Math.min(this.maxSeqlen, Math.floor(maxRows / this.batch));
    this.tokens = checkInteger(tokens, 1, room, 'options.tokens');
    this.tree = checkBoolean(tree, 'options.tree');
    checkBoolean(attention.returnLse ?? false, 'options.returnLse');
    this.#memory = memory;
    this.#options = attention;
    const positions = (attention.rotary as { positions?: unknown } | undefined)?.positions;
    if (positions !== undefined) {
      fail('ERR_OPTION', 'options.rotary', 'without positions', 'some: those of a step change');
    }
    this.#handle = memory.shape.device === 'cpu' ? undefined : this.#capture();
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Appends k and v to the sequences of a step in consecutive layers, then attends, as
   * {@link Step.attention} of each: with a fixed `numSplits` the bits are the same. Enqueues the
   * work and returns at once. Rows are copied in the order of the calls; with `Float32Array`s of
   * all layers tables and rows are one copy.
   *
   * A model that computes between its layers replays them one by one, each with a `firstLayer` of
   * its own; the step's tables are brought once. For every `firstLayer` and number of rows there
   * is one CUDA graph, captured at the first replay.
   *
   * @param step Of this cache: at most `batch` sequences, `tokens` new ones of each; trees, if
   * the graph is of trees.
   * @param rows Of layers firstLayer, firstLayer + 1, and so on.
   * @param options See {@link ReplayOptions}.
   * @returns out of each layer, `[totalTokens, heads, headDimV]`; of a graph with `returnLse`
   * `{ out, lse }`, with a view lse of shape `[heads, totalTokens]`. The next replay of the layer
   * disposes them, for it writes to the same memory; reads that were asked for before are right.
   * @throws {@link FlashAttentionError} as {@link Step.attention}; `ERR_SHAPE` for a step of more
   * sequences, of longer ones, with other numbers of new tokens or trees than the graph is for,
   * `ERR_DTYPE` for rows in another dtype, `ERR_OPTION` for a step of another cache,
   * `ERR_DISPOSED`.
   */
  replay(
    step: Step,
    rows: readonly DecodeRows<D>[],
    options?: ReplayOptions,
  ): ReplayResult<D, Lse>[] {
    if (this.#disposed) fail('ERR_DISPOSED', 'graph', 'a live DecodeGraph', 'a disposed one');
    const inside = this.#checkStep(step);
    if (!Array.isArray(rows)) fail('ERR_TYPE', 'rows', 'an array', show(rows));
    const { layers } = this.#memory.shape;
    const { firstLayer = 0, signal } = checkOptions(options, replayKeys) ?? {};
    const first = checkInteger(firstLayer, 0, layers - 1, 'options.firstLayer');
    checkInteger(rows.length, 1, layers - first, 'rows.length');
    const checked = Array.from(rows, (each, n) => {
      inside.expectNew(first + n);
      return this.#checkRows(each, `rows[${n}]`);
    });
    const results = this.#handle
      ? this.#launch(this.#handle, inside, first, checked, signal)
      : this.#compute(inside, first, checked, signal);
    results.forEach((result, n) => {
      inside.attended(first + n);
      disposeAll(this.#given[first + n]);
      this.#given[first + n] = isTensor(result) ? [result] : [result.out, result.lse];
    });
    return results as ReplayResult<D, Lse>[];
  }

  /** Gives its memory back, once enqueued work has run; disposes its results. Idempotent. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#given.forEach(disposeAll);
    this.#given.length = 0;
    const handle = this.#handle;
    if (handle) call(() => native().endDecodeGraph(handle));
  }

  /** `using graph = cache.captureDecode(…)` disposes it at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #capture(): NativeDecodeGraph {
    const { layers, pageSize } = this.#memory.shape;
    const temporaries: Tensor[] = [];
    const { handle, returnLse } = this.#memory.options.prepare(this.#options, temporaries);
    const pages = Array.from({ length: layers }, (_, n) => {
      const { kPages, vPages, kScales, vScales } = this.#memory.layer(n);
      return [kPages, vPages, kScales, vScales].map((each) => each && liveHandle(each));
    });
    const args = {
      layers: pages,
      options: handle,
      heads: this.#heads,
      dtype: dtypeNumber[this.dtype],
      batch: this.batch,
      tokens: this.tokens,
      tree: this.tree,
      returnLse,
      pagesPerSequence: Math.ceil(this.maxSeqlen / pageSize),
    };
    return call(() => native().newDecodeGraph(args), graphNames);
  }

  #launch(
    graph: NativeDecodeGraph,
    { prepared, entries }: StepInside,
    first: number,
    rows: readonly DecodeRows[],
    signal: AbortSignal | undefined,
  ): (Tensor | AttentionResult)[] {
    const { shape } = this.#memory;
    const { device, headDimV } = shape;
    const handles = rows.map(({ q, k, v }) => [
      checkRows(q, 'q', device),
      checkRows(k, 'k', device),
      checkValues(v, 'v', shape),
    ]);
    const made = enqueued({ signal }, () =>
      call(() => native().replayDecode(graph, prepared.handle, first, handles), stepNames),
    );
    const total = entries.length * this.tokens;
    const axes = [total, this.#heads, headDimV];
    const strides = contiguousStrides(axes);
    return made.map(([outHandle, lseHandle]) => {
      const out = newTensor(outHandle, this.dtype, device, axes, strides);
      if (lseHandle === null) return out;
      // Rows of the whole batch lie between those of two heads.
      const apart = [this.batch * this.tokens, 1];
      const lse = newTensor(lseHandle, 'float32', device, [this.#heads, total], apart);
      return { out, lse };
    });
  }

  #compute(
    { prepared }: StepInside,
    first: number,
    rows: readonly DecodeRows[],
    signal: AbortSignal | undefined,
  ): (Tensor | AttentionResult)[] {
    const options = { ...this.#options, signal };
    return rows.map(
      ({ q, k, v }, n) =>
        attendLayer(prepared, this.#memory, first + n, [q, k, v], options) as
          | Tensor
          | AttentionResult,
    );
  }

  #checkStep(step: unknown): StepInside {
    const inside = stepInside(step);
    if (inside === undefined) fail('ERR_TYPE', 'step', 'a Step', show(step));
    if (inside.open() !== this.#memory) {
      fail('ERR_OPTION', 'step', 'a step of the cache of the graph', 'one of another');
    }
    const { entries } = inside;
    const other = entries.findIndex(({ tokens }) => tokens !== this.tokens);
    if (other >= 0) {
      const received = `${entries[other].tokens} of entries[${other}]`;
      const expected = `${this.tokens} new tokens of each sequence, like the graph,`;
      fail('ERR_SHAPE', 'step', expected, received);
    }
    const trees = entries.some(({ parents }) => parents !== undefined);
    if (trees !== this.tree) {
      const [expected, received] = this.tree ? ['a tree', 'none'] : ['no tree', 'one'];
      fail('ERR_SHAPE', 'step', `${expected}, like the graph,`, received);
    }
    if (entries.length > this.batch) {
      const expected = `at most ${this.batch} sequences, the batch of the graph,`;
      fail('ERR_SHAPE', 'step', expected, `${entries.length}`);
    }
    const committed = entries.reduce((most, { state }) => Math.max(most, state.length), 0);
    const longest = committed + this.tokens;
    if (longest > this.maxSeqlen) {
      const expected = `sequences of at most ${this.maxSeqlen} tokens, new ones included,`;
      fail('ERR_SHAPE', 'step', expected, `${longest}`);
    }
    return inside;
  }

  /** What the graph is for; the native side judges the rest. */
  #checkRows(value: unknown, path: string): DecodeRows {
    const rows = checkOptions(value as DecodeRows, rowKeys, path);
    if (rows === undefined) fail('ERR_TYPE', path, 'an object with q, k and v', 'undefined');
    const { shape } = this.#memory;
    for (const name of ['q', 'k', 'v'] as const) {
      if (name === 'v') checkValues(rows.v, `${path}.v`, shape);
      else checkRows(rows[name], `${path}.${name}`, shape.device);
      if (rows[name] === undefined) continue; // of latents
      const dtype = isTensor(rows[name]) ? (rows[name] as Tensor).dtype : 'float32';
      if (dtype !== this.dtype) {
        const expected = `in ${this.dtype}, the dtype of the graph,`;
        fail('ERR_DTYPE', `${path}.${name}`, expected, dtype);
      }
    }
    const { q } = rows;
    if (isTensor(q) && q.shape.length === 3 && q.shape[1] !== this.#heads) {
      const expected = `of ${this.#heads} heads, those of the graph,`;
      fail('ERR_SHAPE', `${path}.q`, expected, `${q.shape[1]}`);
    }
    return rows;
  }
}

function disposeAll(tensors: readonly Tensor[] | undefined): void {
  for (const each of tensors ?? []) each.dispose();
}
