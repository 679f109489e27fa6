import '../tensor/symbol-dispose.js';

import type {
  AttentionResult,
  CommonAttentionOptions,
  IntVector,
  ReturnLse,
} from '../attention/options.js';
import { checkTensors } from '../attention/qkv.js';
import { flashAttentionRagged } from '../attention/ragged.js';
import type { CallOptions } from '../native/call-options.js';
import { fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
import { checkInteger, checkOptions, checkTensorDType } from '../tensor/check.js';
import { type DType, floating } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { disposeAll, isQuantized, type PageMemory } from './page-memory.js';
import { type Reservation, slotOf } from './reservation.js';
import { applyRotary, type RotaryTables, tableKeys } from './rotary.js';
import { type StepTables, stepTables } from './step-tables.js';

/** Options of {@link Step.attention}. */
export interface StepAttentionOptions
  extends Pick<CallOptions, 'signal'>,
    Pick<
      CommonAttentionOptions,
      'scale' | 'window' | 'sinkTokens' | 'softcap' | 'alibiSlopes' | 'sinks' | 'numSplits'
    > {
  /** Rotates q and k where their tokens stand. Default: not. */
  rotary?: RotaryTables & {
    /** int32 `[totalTokens]`. Default: 0, 1, 2, … of each sequence. */
    positions?: IntVector;
  };
}

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

/** Pages of steps that were dropped and neither committed nor disposed come back too. */
const dropped = new FinalizationRegistry<Reservation>((reservation) => reservation.undo());

const optionKeys: ReadonlySet<string> = new Set([
  'scale',
  'window',
  'sinkTokens',
  'softcap',
  'alibiSlopes',
  'sinks',
  'numSplits',
  'rotary',
  'returnLse',
  'signal',
]);

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
  readonly #tables: StepTables;
  readonly #attended = new Set<number>();

  static {
    newStep = (reservation, memory) => new Step(reservation, memory);
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
    this.#tables = stepTables(reservation, memory);
    dropped.register(this, reservation, this);
  }

  /**
   * Appends k and v to the sequences in one layer, then attends: row i of a sequence's new tokens
   * sees its committed tokens and its new ones up to i. As `flashAttention` with `causal` over each
   * sequence. Enqueues the work and returns at once.
   *
   * A call that throws may be made again. When the result rejects, the step is best disposed: what
   * the sequences had before is as good as ever.
   *
   * @param layer 0 to layers - 1, each once, in any order.
   * @param q `[totalTokens, heads, headDim]`; float32, float16 or bfloat16, of whatever the cache
   * is: products are of q as it is.
   * @param k `[totalTokens, kvHeads, headDim]`; float32, float16 or bfloat16, rounded or
   * quantised to the dtype of the cache.
   * @param v `[totalTokens, kvHeads, headDimV]`; likewise.
   * @param options See {@link StepAttentionOptions}; `returnLse: true` gives `{ out, lse }`.
   * @returns out `[totalTokens, heads, headDimV]`, dtype of q; lse float32 `[heads, totalTokens]`.
   * @throws {@link FlashAttentionError} as {@link flashAttentionRagged}, {@link appendKv} and
   * {@link applyRotary}; `ERR_STATE` when the step has ended or the layer was attended already.
   */
  attention<D extends DType>(
    layer: number,
    q: Tensor<D>,
    k: Tensor,
    v: Tensor,
    options: StepAttentionOptions & { returnLse: true },
  ): AttentionResult<D>;
  /** {@link Step.attention} without its lse. */
  attention<D extends DType>(
    layer: number,
    q: Tensor<D>,
    k: Tensor,
    v: Tensor,
    options?: StepAttentionOptions & ReturnLse<false>,
  ): Tensor<D>;
  attention(
    layer: number,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options?: StepAttentionOptions & ReturnLse,
  ): Tensor | AttentionResult {
    const { layers } = this.#open().shape;
    checkInteger(layer, 0, layers - 1, 'layer');
    if (this.#attended.has(layer)) {
      fail('ERR_STATE', 'layer', 'one that was not attended yet', `${layer}`);
    }
    this.#checkInputs(q, k, v);
    const result = this.#attend(layer, q, k, v, checkOptions(options, optionKeys) ?? {});
    this.#attended.add(layer);
    return result;
  }

  #attend(
    layer: number,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    given: StepAttentionOptions & ReturnLse,
  ): Tensor | AttentionResult {
    const { slots, positions, treeMask, ...lengths } = this.#tables;
    const tree = treeMask && { mask: treeMask, positions };
    const { rotary: asked, ...options } = given;
    const { signal } = options;
    const checked = checkOptions(asked, tableKeys, 'options.rotary') as typeof asked;
    const rotary = checked && { positions, ...checked };
    const copies = this.#reservation.entries.flatMap(({ copy }) => copy ?? []);
    if (copies.length > 0) this.#memory.copy(layer, copies);
    const pages = this.#memory.append(layer, k, v, { slots, rotary, signal });
    const temporaries: Tensor[] = [];
    const keep = <T extends Tensor>(made: T): T => {
      temporaries.push(made);
      return made;
    };
    try {
      const { dtype } = this.#memory.shape;
      let queries = q;
      if (rotary) queries = keep(applyRotary(queries, { ...rotary, signal }));
      const direct = q.dtype === 'float32' || q.dtype === dtype || isQuantized(dtype);
      if (!direct) queries = keep(queries.to('float32'));
      const { kPages, vPages, ...scales } = pages;
      const all = { ...options, ...lengths, ...scales, tree, causal: true };
      const result = flashAttentionRagged(queries, kPages, vPages, all);
      if (direct) return result;
      if (!('lse' in result)) return keep(result).to(q.dtype);
      return { out: keep(result.out).to(q.dtype), lse: result.lse };
    } finally {
      disposeAll(pages);
      for (const each of temporaries) each.dispose();
    }
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
    const accepted = this.#checkAccept(checkOptions(options, commitKeys)?.accept);
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

  /** Indices of the tokens that are kept, for each sequence. */
  #checkAccept(accept: unknown): readonly (readonly number[])[] | undefined {
    const { entries } = this.#reservation;
    if (accept === undefined) {
      const tree = entries.findIndex(({ parents }) => parents !== undefined);
      if (tree < 0) return undefined;
      fail('ERR_TYPE', 'options.accept', `an array, for entries[${tree}] is a tree,`, 'undefined');
    }
    if (!Array.isArray(accept)) fail('ERR_TYPE', 'options.accept', 'an array', show(accept));
    if (accept.length !== entries.length) {
      const expected = `${entries.length} members, one per sequence,`;
      fail('ERR_SHAPE', 'options.accept', expected, `${accept.length}`);
    }
    return entries.map(({ tokens, parents }, i) => {
      const path = `options.accept[${i}]`;
      if (parents !== undefined) return checkPath(accept[i], parents, path);
      const kept = checkInteger(accept[i], 0, tokens, path);
      return Array.from({ length: kept }, (_, index) => index);
    });
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

  #end(): void {
    dropped.unregister(this);
    for (const each of Object.values(this.#tables)) each?.dispose();
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

  /** What appending and attending would not find, or would name by other words. */
  #checkInputs(q: Tensor, k: Tensor, v: Tensor): void {
    checkTensors(q, k, v, { q: 'q', k: 'k', v: 'v' });
    const { device, kvHeads, headDim, headDimV } = this.#memory.shape;
    if (q.device !== device) fail('ERR_DEVICE', 'q', `on ${device}, like the cache,`, q.device);
    const total = this.totalTokens;
    const [rows, heads, dim] = q.shape;
    if (q.shape.length !== 3 || rows !== total || dim !== headDim || !(heads % kvHeads === 0)) {
      const expected = `[${total}, heads, ${headDim}], with heads a multiple of ${kvHeads}`;
      fail('ERR_SHAPE', 'q', expected, showShape(q.shape));
    }
    for (const [name, { shape }, own] of [
      ['k', k, headDim],
      ['v', v, headDimV],
    ] as const) {
      const expected = showShape([total, kvHeads, own]);
      if (showShape(shape) !== expected) fail('ERR_SHAPE', name, expected, showShape(shape));
    }
    checkTensorDType(q, floating, 'q');
  }
}

/** Indices of a tree, each the parent of the next. */
function checkPath(value: unknown, parents: readonly number[], argument: string): number[] {
  if (!Array.isArray(value)) fail('ERR_TYPE', argument, 'an array of indices', show(value));
  let before = -1;
  return Array.from(value, (each, n) => {
    const index = checkInteger(each, 0, parents.length - 1, `${argument}[${n}]`);
    if (parents[index] !== before) {
      const expected = before < 0 ? 'a root of the tree' : `one whose parent is ${before}`;
      fail(
        'ERR_OPTION',
        `${argument}[${n}]`,
        expected,
        `${index}, whose parent is ${parents[index]}`,
      );
    }
    before = index;
    return index;
  });
}
