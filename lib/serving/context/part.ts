import '../../tensor/symbol-dispose.js';

import { fail } from '../../native/errors.js';
import { show } from '../../native/show.js';
import { insideOf, type KvCache } from '../kv-cache.js';
import type { PageMemory } from '../page-memory.js';
import { Reservation } from '../reservation.js';
import { readSaved, writeSaved } from '../saved-sequence.js';
import type { SequenceState } from '../sequence-state.js';
import { attend, slotsOf } from './attend.js';
import { type CutPart, checkCutPart, tokensOn } from './cut.js';
import { HeldSequences } from './held-sequences.js';
import { decodeMessage, encodeMessage } from './message.js';
import { encodeError } from './reply.js';
import {
  type AppendRequest,
  type EntryRequest,
  type ForkRequest,
  type Request,
  readRequest,
} from './request.js';

/**
 * A worker's part of context-parallel sequences, in pages of a {@link KvCache}, which may have
 * sequences of its own beside them. It holds no truth but pages: how long a sequence is, and which
 * of its tokens count, every request of the {@link ContextParallel} says.
 */
export class ContextPart {
  readonly #memory: PageMemory;
  readonly #maxSeqlen: number;
  readonly #cut: CutPart;
  readonly #held: HeldSequences;

  /**
   * @param cut Which part of which cut; `tokensPerRun` is a multiple of the cache's page size.
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`, `ERR_DISPOSED`.
   */
  constructor(cache: KvCache, cut: CutPart) {
    const inside = insideOf(cache);
    if (inside === undefined) fail('ERR_TYPE', 'cache', 'a KvCache', show(cache));
    if (cache.disposed) fail('ERR_DISPOSED', 'cache', 'a live KvCache', 'one that was disposed');
    if (inside.memory.shape.latents) {
      fail('ERR_OPTION', 'cache', 'one of keys and values', 'one of latents');
    }
    this.#memory = inside.memory;
    this.#maxSeqlen = inside.maxSeqlen;
    this.#cut = checkCutPart(cut, 'cut');
    const { pageSize } = inside.memory.shape;
    if (this.#cut.tokensPerRun % pageSize !== 0) {
      const expected = `a multiple of the page size, ${pageSize},`;
      fail('ERR_OPTION', 'cut.tokensPerRun', expected, `${this.#cut.tokensPerRun}`);
    }
    this.#held = new HeldSequences(cache, this.#cut);
  }

  /** Which part of which cut it is. */
  get cut(): CutPart {
    return { ...this.#cut };
  }

  /** Sequences that it holds pages of. */
  get sequences(): number {
    return this.#held.count;
  }

  /**
   * The reply to a request: for the worker's end of a {@link ContextTransport}. What is asked is
   * enqueued before the call returns, so that calls take effect in their order. Never rejects: what
   * goes wrong is said in the reply.
   */
  async answer(request: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    try {
      return await this.#perform(request);
    } catch (error) {
      return encodeError(error);
    }
  }

  /** Gives all pages of an owner's sequences back: of one that is gone. */
  release(owner: string): void {
    this.#held.release(owner);
  }

  /** Gives the pages of all sequences back. Idempotent. */
  dispose(): void {
    for (const owner of this.#held.owners) this.release(owner);
  }

  /** `using part = new ContextPart(…)` disposes it at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  async #perform(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    const message = decodeMessage(bytes, 'request');
    const request: Request = readRequest(message, this.#cut);
    switch (request.kind) {
      case 'attend': {
        const held = this.#grown(request, request.entries);
        return attend(this.#memory, request, held, message);
      }
      case 'append':
        this.#append(request, message.bytes('saved'));
        break;
      case 'fork':
        this.#fork(request);
        break;
      case 'drop':
        this.#held.drop(request.owner, request.sequence);
    }
    return encodeMessage({}, {});
  }

  /**
   * The states of sequences that have slots for their new tokens. A step says so in each layer;
   * what an earlier one wrote beyond `length` was never committed.
   */
  #grown(
    { owner, step }: { readonly owner: string; readonly step: number },
    entries: readonly EntryRequest[],
  ): SequenceState[] {
    const held = entries.map((entry) => this.#held.find(owner, entry));
    if (held.some((one) => (one.step ?? 0) > step)) {
      fail('ERR_STATE', 'request.step', 'of the latest step', `one before it, ${step}`);
    }
    const begin = entries.flatMap(({ length, tokens }, i) => {
      const before = tokensOn(this.#cut, length);
      const after = tokensOn(this.#cut, length + tokens);
      if (held[i].step === step) {
        if (held[i].state.length === after) return [];
        fail('ERR_STATE', 'request.entries', 'those of all layers of the step', 'other ones');
      }
      if (after > this.#maxSeqlen) {
        const expected = `at most ${this.#maxSeqlen} tokens of a sequence, maxSeqlen of the cache,`;
        fail('ERR_SHAPE', 'request.entries', expected, `${after}`);
      }
      return [{ one: held[i], before, tokens: after - before }];
    });
    for (const { one, before } of begin) one.sequence.truncate(before);
    const growing = begin.filter(({ tokens }) => tokens > 0);
    if (growing.length > 0) {
      this.#reserve(growing.map(({ one, tokens }) => ({ state: one.state, tokens, ids: [] })));
    }
    for (const { one } of begin) one.step = step;
    return held.map(({ state }) => state);
  }

  /** The shared pages among those that are written to are copied at once, in all layers. */
  #reserve(requests: ConstructorParameters<typeof Reservation>[0]): void {
    const { layers, pageSize } = this.#memory.shape;
    const reservation = new Reservation(requests);
    try {
      const copies = reservation.entries.flatMap(({ copy }) => copy ?? []);
      const runs = copies.map(({ from, rows }) => ({ slot: from * pageSize, rows }));
      const slots = copies.flatMap(({ to, rows }) =>
        Array.from({ length: rows }, (_, i) => to * pageSize + i),
      );
      for (let layer = 0; layer < layers && runs.length > 0; layer++) {
        this.#memory.move(layer, runs, slots);
      }
    } catch (error) {
      reservation.undo();
      throw error;
    }
    reservation.commit();
  }

  #append(request: AppendRequest, bytes: Uint8Array<ArrayBuffer>): void {
    const { length, tokens } = request;
    const saved = readSaved(bytes, this.#memory.shape);
    const before = tokensOn(this.#cut, length);
    const own = tokensOn(this.#cut, length + tokens) - before;
    if (saved.length !== own || own !== tokens) {
      fail('ERR_SHAPE', 'bytes', `of ${tokens} tokens, all on this part,`, `${saved.length}`);
    }
    const [state] = this.#grown(request, [request]);
    if (own > 0) writeSaved(saved, slotsOf(state, before, own), this.#memory);
  }

  #fork({ owner, sequence, length, to }: ForkRequest): void {
    const parent = this.#held.find(owner, { sequence, length });
    this.#held.drop(owner, to); // of a request that comes again
    const fork = parent.sequence.fork();
    fork.truncate(tokensOn(this.#cut, length));
    this.#held.hold(owner, to, fork);
  }
}
