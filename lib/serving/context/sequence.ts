import { fail } from '../../native/errors.js';
import { keepName } from '../../native/show.js';
import { checkInteger } from '../../tensor/check.js';
import { checkBytes } from '../../tensor/tensor-data.js';
import { savedTokens } from '../saved-sequence.js';
import { partOf, tokensOn } from './cut.js';
import type { ContextLink } from './link.js';
import { asTensor } from './message.js';

/** What a context-parallel sequence is, apart from the object that callers hold. */
export class ContextState {
  readonly link: ContextLink;
  readonly number: number;
  length: number;
  /** Parts that hold, or may hold, something of it. */
  readonly touched = new Set<number>();
  /** Whether it is part of an open step, or of a call that runs. */
  open = false;
  disposed = false;

  constructor(link: ContextLink, length = 0) {
    this.link = link;
    this.number = link.next();
    this.length = length;
  }

  /** Tells the parts that it is gone. */
  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    const body = { kind: 'drop', sequence: this.number };
    await this.link.ask([...this.touched].map((part) => ({ part, body })));
  }
}

/** A sequence, and how many new tokens a step has for it. */
export interface GrowingState {
  /** Kept from being collected while the step is open. */
  readonly sequence: ContextSequence;
  readonly state: ContextState;
  readonly tokens: number;
}

/** The constructor, for this package alone; others use {@link ContextParallel.createSequence}. */
export let newContextSequence: (state: ContextState) => ContextSequence;

/** What is behind a sequence; undefined for anything else. */
export let contextStateOf: (value: unknown) => ContextState | undefined;

/** Pages of sequences that were dropped and not disposed come back too, where parts can be told. */
const dropped = new FinalizationRegistry<ContextState>((state) => {
  state.dispose().catch(() => {});
});

/**
 * The committed tokens of one text whose pages lie on several workers, made by {@link
 * ContextParallel.createSequence} and {@link ContextSequence.fork}. Steps make it longer.
 */
export class ContextSequence {
  readonly #state: ContextState;

  static {
    keepName(ContextSequence, 'ContextSequence');
    newContextSequence = (state) => new ContextSequence(state);
    contextStateOf = (value) =>
      typeof value === 'object' && value !== null && #state in value ? value.#state : undefined;
  }

  private constructor(state: ContextState) {
    this.#state = state;
    dropped.register(this, state);
  }

  /** Committed tokens, on all parts. */
  get length(): number {
    return this.#state.length;
  }

  get disposed(): boolean {
    return this.#state.disposed;
  }

  /**
   * Another sequence of the same tokens; on each part pages are shared, as by {@link
   * Sequence.fork}.
   *
   * @throws {@link FlashAttentionError} as a rejection: `ERR_STATE` while it is part of an open
   * step or another call runs, `ERR_DISPOSED`, `ERR_PART_MISSING`, `ERR_PART_TIMEOUT`.
   */
  async fork(): Promise<ContextSequence> {
    const { link, number, length } = this.#settled('fork');
    const fork = new ContextState(link, length);
    const body = { kind: 'fork', sequence: number, length, to: fork.number };
    const parts = this.#parts(length);
    for (const part of parts) fork.touched.add(part);
    const made = newContextSequence(fork);
    try {
      await this.#alone(() => link.ask(parts.map((part) => ({ part, body }))));
    } catch (error) {
      await made.dispose().catch(() => {}); // what can't be told has nothing, or is released
      throw error;
    }
    return made;
  }

  /**
   * Forgets all but the first `length` tokens. Workers get to know in the next step that they are
   * part of, and pages come free then.
   *
   * @param length 0 to {@link ContextSequence.length}.
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`, `ERR_STATE`, `ERR_DISPOSED`.
   */
  truncate(length: number): void {
    const state = this.#settled('truncate');
    state.length = checkInteger(length, 0, state.length, 'length');
  }

  /**
   * Takes on tokens that were computed elsewhere, such as by a worker that prefills: `bytes` of
   * {@link Sequence.save} go to the part that the tokens behind `length` lie on. They are what a
   * step would have written, and of the dtype of that part's cache.
   *
   * @param bytes Of tokens that lie on one part: a run, or a piece of one that begins at `length`.
   * @throws {@link FlashAttentionError} as a rejection: `ERR_SHAPE` for tokens of two runs; as
   * {@link KvCache.load} and {@link ContextSequence.fork}. Nothing has changed then.
   */
  async append(bytes: Uint8Array): Promise<void> {
    const state = this.#settled('append');
    const { link, number, length } = state;
    const saved = checkBytes(bytes, 'bytes');
    const tokens = savedTokens(saved);
    const room = link.cut.tokensPerRun - (length % link.cut.tokensPerRun);
    if (tokens > room) {
      fail('ERR_SHAPE', 'bytes', `of at most ${room} tokens, the rest of a run,`, `${tokens}`);
    }
    const part = partOf(link.cut, length);
    const body = { kind: 'append', step: link.next(), sequence: number, length, tokens };
    state.touched.add(part);
    await this.#alone(() => link.ask([{ part, body, tensors: { saved: asTensor(saved) } }]));
    state.length += tokens;
  }

  /**
   * Gives its pages back on all parts. Idempotent.
   *
   * @throws {@link FlashAttentionError} as a rejection: `ERR_STATE` while it is part of an open
   * step or another call runs; `ERR_PART_MISSING` and `ERR_PART_TIMEOUT` of parts that could not be
   * told. It is disposed then too, and {@link ContextPart.release} gives back what is left.
   */
  async dispose(): Promise<void> {
    if (this.#state.disposed) return;
    await this.#settled('dispose').dispose();
  }

  /** Parts that tokens lie on. */
  #parts(length: number): number[] {
    const { cut } = this.#state.link;
    const all = Array.from({ length: cut.parts }, (_, part) => part);
    return all.filter((part) => tokensOn({ ...cut, part }, length) > 0);
  }

  /** Runs a call that no other one of this sequence may overlap. */
  async #alone<T>(run: () => Promise<T>): Promise<T> {
    this.#state.open = true;
    try {
      return await run();
    } finally {
      this.#state.open = false;
    }
  }

  #settled(what: string): ContextState {
    const state = this.#state;
    if (state.disposed) {
      fail('ERR_DISPOSED', 'sequence', 'a live ContextSequence', 'one that was disposed');
    }
    if (state.open) {
      const received = 'one that is part of a step or a call';
      fail('ERR_STATE', 'sequence', `in no open step at ${what}()`, received);
    }
    return state;
  }
}
