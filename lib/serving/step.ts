import '../tensor/symbol-dispose.js';

import type { AttentionResult, ReturnLse } from '../attention/options.js';
import { fail } from '../native/errors.js';
import { keepName, show } from '../native/show.js';
import { checkInteger, checkOptions } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkAccept } from './accept.js';
import type { PageMemory } from './page-memory.js';
import { PreparedStep } from './prepared-step.js';
import { type Reservation, type Reserved, slotOf } from './reservation.js';
import {
  attendLayer,
  type LayerResult,
  type LayerRows,
  type SyncResult,
} from './step-attention.js';
import type { StepAttentionOptions, Sync } from './step-options.js';

/** Options of {@link Step.commit}. */
export interface CommitOptions {
  /**
   * What is kept of each sequence's new tokens: those of a draft that the model confirmed
   * (speculative decoding, Leviathan et al. 2023, arXiv 2211.17192). How many, the first ones; of a
   * tree the indices of a path, from its root on, such as `[0, 2, 5]`. The others never happened.
   * Default: all; a tree has no default.
   */
  accept?: readonly (number | readonly number[])[];
}

const commitKeys: ReadonlySet<string> = new Set(['accept']);

/** The constructor, for this package alone; others use {@link KvCache.step}. */
export let newStep: (reservation: Reservation, memory: PageMemory) => Step;

/** What is behind a step, for this package alone. */
export interface StepInside {
  readonly prepared: PreparedStep;
  readonly entries: readonly Reserved[];
  /** The memory of its cache; throws unless the step is open. */
  open(): PageMemory;
  /** Throws if a layer was attended already. */
  expectNew(layer: number): void;
  attended(layer: number): void;
}

/** What is behind a step; undefined for anything else. */
export let stepInside: (value: unknown) => StepInside | undefined;

/** Pages of steps that were dropped and neither committed nor disposed come back too. */
const dropped = new FinalizationRegistry<Reservation>((reservation) => reservation.undo());

/**
 * One pass of a model over new tokens of several sequences, made by {@link KvCache.step}. Slots for
 * all of them are reserved. {@link Step.attention} of every layer, then {@link Step.commit}: only
 * then do the sequences have the tokens. {@link Step.dispose} without it leaves them as they were.
 */
export class Step {
  /** New tokens of all sequences: the rows of q, k and v, one sequence behind the other. */
  readonly totalTokens: number;
  /** The row of each sequence's last token, whose logits say what comes next. */
  readonly lastTokens: Int32Array;
  readonly #reservation: Reservation;
  readonly #memory: PageMemory;
  readonly #prepared: PreparedStep;
  readonly #attended = new Set<number>();

  static {
    keepName(Step, 'Step');
    newStep = (reservation, memory) => new Step(reservation, memory);
    stepInside = (value) => {
      if (typeof value !== 'object' || value === null || !(#prepared in value)) return undefined;
      return {
        prepared: value.#prepared,
        entries: value.#reservation.entries,
        open: () => value.#open(),
        expectNew: (layer) => value.#expectNew(layer),
        attended: (layer) => value.#attended.add(layer),
      };
    };
  }

  private constructor(reservation: Reservation, memory: PageMemory) {
    this.#reservation = reservation;
    this.#memory = memory;
    const { entries } = reservation;
    let end = 0;
    this.lastTokens = Int32Array.from(entries, ({ tokens }) => {
      end += tokens;
      return end - 1;
    });
    this.totalTokens = end;
    this.#prepared = new PreparedStep(reservation, memory);
    dropped.register(this, reservation, this);
  }

  /**
   * Appends k and v to the sequences in one layer, then attends: row i of a sequence's new tokens
   * sees its committed tokens and its new ones up to i. As `flashAttention` with `causal` over each
   * sequence. Enqueues the work and returns at once; with `sync: true` returns what was computed.
   *
   * A call that throws may be made again. When the result rejects, the step is best disposed: what
   * the sequences had before is as good as ever.
   *
   * @param layer 0 to layers - 1, each once, in any order.
   * @param q `[totalTokens, heads, headDim]`; float32, float16 or bfloat16, whatever the dtype of
   * the cache, or a Float32Array of those rows. It is not rounded.
   * @param k `[totalTokens, kvHeads, headDim]`; float32, float16 or bfloat16, or a Float32Array;
   * rounded to the dtype of the cache, or quantised.
   * @param v `[totalTokens, kvHeads, headDimV]`; likewise. undefined with a cache of latents.
   * @param options See {@link StepAttentionOptions}; `returnLse: true` gives `{ out, lse }`.
   * @returns out `[totalTokens, heads, headDimV]`, dtype of q; lse float32 `[heads, totalTokens]`.
   * With `sync: true` a Float32Array of each.
   * @throws {@link FlashAttentionError} as {@link flashAttentionRagged}, {@link appendKv} and
   * {@link applyRotary}; `ERR_STATE` when the step has ended or the layer was attended already.
   */
  attention(
    layer: number,
    q: LayerRows,
    k: LayerRows,
    v: LayerRows | undefined,
    options: StepAttentionOptions & { sync: true; returnLse: true },
  ): SyncResult;
  /** {@link Step.attention} computed in place, without its lse. */
  attention(
    layer: number,
    q: LayerRows,
    k: LayerRows,
    v: LayerRows | undefined,
    options: StepAttentionOptions & { sync: true } & ReturnLse<false>,
  ): Float32Array<ArrayBuffer>;
  /** {@link Step.attention} enqueued, with its lse. */
  attention<D extends DType = 'float32'>(
    layer: number,
    q: LayerRows<D>,
    k: LayerRows,
    v: LayerRows | undefined,
    options: StepAttentionOptions & Sync<false> & { returnLse: true },
  ): AttentionResult<D>;
  /** {@link Step.attention} enqueued, without its lse. */
  attention<D extends DType = 'float32'>(
    layer: number,
    q: LayerRows<D>,
    k: LayerRows,
    v?: LayerRows,
    options?: StepAttentionOptions & Sync<false> & ReturnLse<false>,
  ): Tensor<D>;
  /** {@link Step.attention} as its options say. */
  attention(
    layer: number,
    q: LayerRows,
    k: LayerRows,
    v?: LayerRows,
    options?: StepAttentionOptions & ReturnLse & Sync,
  ): LayerResult;
  attention(
    layer: number,
    q: LayerRows,
    k: LayerRows,
    v?: LayerRows,
    options?: StepAttentionOptions & ReturnLse & Sync,
  ): LayerResult {
    const memory = this.#open();
    checkInteger(layer, 0, memory.shape.layers - 1, 'layer');
    this.#expectNew(layer);
    const result = attendLayer(this.#prepared, memory, layer, [q, k, v], options);
    this.#attended.add(layer);
    return result;
  }

  /**
   * Ends the step: its sequences have the new tokens. Whole pages of known tokens are findable from
   * now on by prompts that begin with them.
   *
   * Best called once the results of the step were read: what went wrong on the device shows there,
   * and a step that is disposed then never happened.
   *
   * @param options See {@link CommitOptions}.
   * @throws {@link FlashAttentionError} `ERR_STATE` when the step has ended, or when a layer was
   * not attended; `ERR_TYPE`, `ERR_SHAPE`, `ERR_OPTION`. The step is still open then. With
   * `ERR_OUT_OF_MEMORY` it is disposed.
   */
  commit(options?: CommitOptions): void {
    const { layers } = this.#open().shape;
    const { entries } = this.#reservation;
    const accepted = checkAccept(checkOptions(options, commitKeys)?.accept, entries);
    const missing = Array.from({ length: layers }, (_, n) => n).filter(
      (layer) => !this.#attended.has(layer),
    );
    if (missing.length > 0) {
      const received = `a step without ${missing.length === 1 ? 'layer' : 'layers'}`;
      fail('ERR_STATE', 'step', 'attended in every layer', `${received} ${show(missing)}`);
    }
    try {
      if (accepted) this.#compact(accepted);
    } catch (error) {
      this.dispose(); // some layers may be compacted: there is no second try
      throw error;
    }
    this.#end();
    this.#reservation.commit(accepted);
  }

  /** Puts the tokens of accepted paths one behind the other. */
  #compact(accepted: readonly (readonly number[])[]): void {
    const moves = this.#reservation.entries.flatMap((entry, i) =>
      accepted[i]
        .map((from, to) => ({ from, to }))
        .filter(({ from, to }) => from !== to)
        .map(({ from, to }) => ({ from: slotOf(entry, from), to: slotOf(entry, to) })),
    );
    if (moves.length === 0) return;
    const runs = moves.map(({ from }) => ({ slot: from, rows: 1 }));
    const slots = moves.map(({ to }) => to);
    for (let layer = 0; layer < this.#memory.shape.layers; layer++) {
      this.#memory.move(layer, runs, slots);
    }
  }

  /** Ends the step; without a commit before it, it never happened. Idempotent. */
  dispose(): void {
    if (this.#reservation.settled) return;
    this.#end();
    this.#reservation.undo();
  }

  /** `using step = cache.step(…)` disposes it at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #expectNew(layer: number): void {
    if (this.#attended.has(layer)) {
      fail('ERR_STATE', 'layer', 'one that was not attended yet', `${layer}`);
    }
  }

  #end(): void {
    dropped.unregister(this);
    this.#prepared.dispose();
  }

  #open(): PageMemory {
    if (this.#reservation.settled) {
      fail('ERR_STATE', 'step', 'an open Step', 'one that was committed or disposed');
    }
    if (this.#memory.disposed) {
      fail('ERR_DISPOSED', 'step', 'of a live KvCache', 'one of a cache that was disposed');
    }
    return this.#memory;
  }
}
