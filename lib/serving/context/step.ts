import '../../tensor/symbol-dispose.js';

import type { ReturnLse } from '../../attention/options.js';
import type { DeviceName } from '../../native/device.js';
import { fail } from '../../native/errors.js';
import { keepName, show } from '../../native/show.js';
import { checkInteger } from '../../tensor/check.js';
import type { FloatDType } from '../../tensor/host-tensor.js';
import { asksOf } from './asks.js';
import type { ContextLink } from './link.js';
import { mergeParts, type PartState, stateOfReply, stateOfSinks } from './merge-parts.js';
import { type ContextAttentionOptions, checkContextOptions } from './options.js';
import { type ContextRows, checkRow, sentRows } from './rows.js';
import type { GrowingState } from './sequence.js';

/** What a model's layers have in common. */
export interface ModelShape {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly headDimV: number;
  readonly device: DeviceName;
  /** Of the outs that parts reply. */
  readonly replyDType: FloatDType;
}

/** The constructor, for this package alone; others use {@link ContextParallel.step}. */
export let newContextStep: (
  link: ContextLink,
  shape: ModelShape,
  entries: readonly GrowingState[],
) => ContextStep;

/** Sequences of steps that were dropped and neither committed nor disposed may go on too. */
const dropped = new FinalizationRegistry<readonly GrowingState[]>(close);

function close(entries: readonly GrowingState[]): void {
  for (const { state } of entries) state.open = false;
}

/**
 * One pass of a model over new tokens of several sequences, made by {@link ContextParallel.step}:
 * what {@link Step} is for one machine. Until {@link ContextStep.commit} nothing has happened.
 */
export class ContextStep {
  /** New tokens of all sequences: the rows of q, k and v, one sequence behind the other. */
  readonly totalTokens: number;
  readonly #link: ContextLink;
  readonly #shape: ModelShape;
  readonly #entries: readonly GrowingState[];
  readonly #number: number;
  readonly #layers = new Map<number, 'running' | 'attended'>();
  #ended = false;

  static {
    keepName(ContextStep, 'ContextStep');
    newContextStep = (link, shape, entries) => new ContextStep(link, shape, entries);
  }

  private constructor(link: ContextLink, shape: ModelShape, entries: readonly GrowingState[]) {
    this.#link = link;
    this.#shape = shape;
    this.#entries = entries;
    this.#number = link.next();
    this.totalTokens = entries.reduce((sum, { tokens }) => sum + tokens, 0);
    for (const { state } of entries) state.open = true;
    dropped.register(this, entries, this);
  }

  /**
   * Appends k and v to the sequences in one layer, then attends, as {@link Step.attention}: row i
   * of a sequence's new tokens sees its committed tokens and its new ones up to i.
   *
   * A call that rejects may be made again. Once a part is missing its tokens are lost: dispose the
   * sequence, and compute it again.
   *
   * @param layer 0 to layers - 1, each once, in any order.
   * @param q `[totalTokens, heads, headDim]`: a Float32Array, or a tensor of float32, float16 or
   * bfloat16, whose elements are sent as they are.
   * @param k `[totalTokens, kvHeads, headDim]`, likewise; rounded to the dtype of its part's cache,
   * or quantised.
   * @param v `[totalTokens, kvHeads, headDimV]`; likewise.
   * @param options See {@link ContextAttentionOptions}.
   * @returns out `[totalTokens, heads, headDimV]`; with `returnLse: true` `{ out, lse }`, lse
   * `[heads, totalTokens]`. With a fixed `numSplits` the bits depend on the sequence and the cut
   * alone.
   * @throws {@link FlashAttentionError} as a rejection: `ERR_PART_MISSING`, `ERR_PART_TIMEOUT`,
   * `ERR_CUT_MISMATCH`, `ERR_CACHE_FULL` of a part, `ERR_STATE` when the step has ended or the
   * layer was attended already, `ERR_TYPE`, `ERR_SHAPE`, `ERR_OPTION`, `ERR_ABORTED`,
   * `ERR_OUT_OF_MEMORY`. What a worker said has `part`.
   */
  attention(
    layer: number,
    q: ContextRows,
    k: ContextRows,
    v: ContextRows,
    options: ContextAttentionOptions & { returnLse: true },
  ): Promise<PartState>;
  /** {@link ContextStep.attention} without its lse. */
  attention(
    layer: number,
    q: ContextRows,
    k: ContextRows,
    v: ContextRows,
    options?: ContextAttentionOptions & ReturnLse<false>,
  ): Promise<Float32Array>;
  async attention(
    layer: number,
    q: ContextRows,
    k: ContextRows,
    v: ContextRows,
    options?: ContextAttentionOptions & ReturnLse,
  ): Promise<PartState | Float32Array> {
    this.#open();
    checkInteger(layer, 0, this.#shape.layers - 1, 'layer');
    if (this.#layers.has(layer)) {
      fail('ERR_STATE', 'layer', 'one that was not attended yet', `${layer}`);
    }
    this.#layers.set(layer, 'running');
    try {
      const result = await this.#attend(layer, [q, k, v], options);
      this.#layers.set(layer, 'attended');
      return options?.returnLse ? result : result.out;
    } catch (error) {
      this.#layers.delete(layer);
      throw error;
    }
  }

  async #attend(
    layer: number,
    rows: readonly [q: ContextRows, k: ContextRows, v: ContextRows],
    given: (ContextAttentionOptions & ReturnLse) | undefined,
  ): Promise<PartState> {
    const { totalTokens: total } = this;
    const { kvHeads, headDim, headDimV, device, replyDType } = this.#shape;
    const heads = checkRow(rows[0], 'q', total, headDim, kvHeads);
    checkRow(rows[1], 'k', total, headDim, kvHeads, kvHeads);
    checkRow(rows[2], 'v', total, headDimV, kvHeads, kvHeads);
    const checked = checkContextOptions(given, heads);
    const { reach, options, sinks, alibiSlopes, rotary, signal } = checked;
    const axes = { total, heads, kvHeads, headDim, headDimV };
    const ready = sentRows(rows, rotary, this.#entries, this.#shape);
    const sent = ready instanceof Promise ? await ready : ready;
    this.#open(); // a request of a step that has ended would come after those of the next
    const body = { kind: 'attend', step: this.#number, layer, reach, options, replyDType };
    const asks = asksOf(this.#link.cut, this.#entries, sent, axes, body, alibiSlopes);
    for (const { part, entries } of asks) for (const { state } of entries) state.touched.add(part);
    const replies = await this.#link.ask(asks, signal);
    const states = replies.map((reply, i) => stateOfReply(reply, asks[i].stretches, axes));
    if (sinks) states.push(stateOfSinks(sinks, axes));
    return mergeParts(states, axes, device);
  }

  /**
   * Ends the step: its sequences have the new tokens. No part is asked; the next step tells them.
   *
   * @param options `accept`: how many of each sequence's new tokens are kept, the first ones.
   * Default: all.
   * @throws {@link FlashAttentionError} `ERR_STATE` when the step has ended, or when a layer was
   * not attended; `ERR_TYPE`, `ERR_SHAPE`, `ERR_OPTION`. The step is still open then.
   */
  commit({ accept }: { readonly accept?: readonly number[] } = {}): void {
    this.#open();
    const missing = Array.from({ length: this.#shape.layers }, (_, n) => n).filter(
      (layer) => this.#layers.get(layer) !== 'attended',
    );
    if (missing.length > 0) {
      const received = `a step without ${missing.length === 1 ? 'layer' : 'layers'}`;
      fail('ERR_STATE', 'step', 'attended in every layer', `${received} ${show(missing)}`);
    }
    const kept = this.#accepted(accept);
    this.#entries.forEach(({ state }, i) => {
      state.length += kept[i];
    });
    this.dispose();
  }

  #accepted(accept: unknown): readonly number[] {
    if (accept === undefined) return this.#entries.map(({ tokens }) => tokens);
    if (!Array.isArray(accept)) fail('ERR_TYPE', 'options.accept', 'an array', show(accept));
    if (accept.length !== this.#entries.length) {
      const expected = `as long as the entries, ${this.#entries.length},`;
      fail('ERR_SHAPE', 'options.accept', expected, `${accept.length}`);
    }
    return this.#entries.map(({ tokens }, i) =>
      checkInteger(accept[i], 0, tokens, `options.accept[${i}]`),
    );
  }

  /** Ends the step; without a commit before it, it never happened. Idempotent. */
  dispose(): void {
    if (this.#ended) return;
    this.#ended = true;
    dropped.unregister(this);
    close(this.#entries);
  }

  /** `using step = context.step(…)` disposes it at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #open(): void {
    if (this.#ended) {
      fail('ERR_STATE', 'step', 'an open ContextStep', 'one that was committed or disposed');
    }
  }
}
