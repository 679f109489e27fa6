import '../tensor/symbol-dispose.js';

import { fail } from '../native/errors.js';
import { keepName } from '../native/show.js';
import { checkInteger, checkOptions } from '../tensor/check.js';
import type { PageMemory } from './page-memory.js';
import { saveSequence } from './saved-sequence.js';
import type { SequenceState } from './sequence-state.js';

/** Options of {@link Sequence.save}. */
export interface SaveOptions {
  /** The first token that is saved. Default 0. */
  begin?: number;
  /** The token after the last one. Default: the length of the sequence. */
  end?: number;
}

const saveKeys: ReadonlySet<string> = new Set(['begin', 'end']);

/** The constructor, for this package alone; others use {@link KvCache.createSequence}. */
export let newSequence: (state: SequenceState, memory: PageMemory) => Sequence;

/** What is behind a sequence; undefined for anything else. */
export let stateOf: (value: unknown) => SequenceState | undefined;

/** Pages of sequences that were dropped and not disposed come back too. */
const dropped = new FinalizationRegistry<SequenceState>((state) => state.dispose());

/**
 * The committed tokens of one text in a {@link KvCache}, made by {@link KvCache.createSequence},
 * {@link KvCache.load} and {@link Sequence.fork}. Steps make it longer.
 */
export class Sequence {
  readonly #state: SequenceState;
  readonly #memory: PageMemory;

  static {
    keepName(Sequence, 'Sequence');
    newSequence = (state, memory) => new Sequence(state, memory);
    stateOf = (value) =>
      typeof value === 'object' && value !== null && #state in value ? value.#state : undefined;
  }

  private constructor(state: SequenceState, memory: PageMemory) {
    this.#state = state;
    this.#memory = memory;
    dropped.register(this, state);
  }

  /** Committed tokens. */
  get length(): number {
    return this.#state.length;
  }

  /** Pages that it holds, those that others hold too counted in. */
  get pages(): number {
    return this.#state.disposed ? 0 : this.#state.pages.length;
  }

  /** Ids of its first tokens, as far as steps were told them. */
  get tokens(): Int32Array {
    return Int32Array.from(this.#state.ids);
  }

  get disposed(): boolean {
    return this.#state.disposed;
  }

  /**
   * Another sequence of the same tokens. Nothing is copied: pages are shared, and the last, partly
   * filled one is copied in the step in which either side writes to it.
   *
   * @throws {@link FlashAttentionError} `ERR_STATE` while it is part of an open step,
   * `ERR_DISPOSED`.
   */
  fork(): Sequence {
    return newSequence(this.#settled('fork').fork(), this.#memory);
  }

  /**
   * Forgets all but the first `length` tokens, as if the others had never been. Pages go back, or
   * stay findable as a stored prefix until they are needed.
   *
   * @param length 0 to {@link Sequence.length}.
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`; `ERR_STATE` while it is part of
   * an open step; `ERR_DISPOSED`.
   */
  truncate(length: number): void {
    const state = this.#settled('truncate');
    state.truncate(checkInteger(length, 0, state.length, 'length'));
  }

  /**
   * Its committed tokens as bytes in the safetensors format, in the dtype of the cache: for {@link
   * KvCache.load} or {@link ContextSequence.append}, here, in another process or after it. They are
   * those of the moment of the call, whatever is done to the sequence afterwards.
   *
   * @param options See {@link SaveOptions}.
   * @throws {@link FlashAttentionError} as a rejection: `ERR_TYPE`, `ERR_OPTION`, `ERR_DISPOSED`,
   * `ERR_OUT_OF_MEMORY`, or whatever went wrong in the work that should have filled its pages.
   */
  async save(options?: SaveOptions): Promise<Uint8Array<ArrayBuffer>> {
    const state = this.#live();
    const given = checkOptions(options, saveKeys);
    const end = checkInteger(given?.end ?? state.length, 0, state.length, 'options.end');
    const begin = checkInteger(given?.begin ?? 0, 0, end, 'options.begin');
    return saveSequence(state, this.#memory, { begin, end });
  }

  /**
   * Gives its pages back: those of whole pages of known tokens stay findable as a stored prefix
   * until they are needed. While it is part of an open step they go back when that ends.
   * Idempotent.
   */
  dispose(): void {
    this.#state.dispose();
  }

  /** `using sequence = cache.createSequence()` disposes it at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #live(): SequenceState {
    if (this.#state.disposed) {
      fail('ERR_DISPOSED', 'sequence', 'a live Sequence', 'one that was disposed');
    }
    if (this.#memory.disposed) {
      fail('ERR_DISPOSED', 'sequence', 'of a live KvCache', 'one of a cache that was disposed');
    }
    return this.#state;
  }

  #settled(what: string): SequenceState {
    const state = this.#live();
    if (state.open) {
      fail('ERR_STATE', 'sequence', `in no open step at ${what}()`, 'one that is part of a step');
    }
    return state;
  }
}
