import { FlashAttentionError } from '../../native/errors.js';
import type { KvCache } from '../kv-cache.js';
import { type Sequence, stateOf } from '../sequence.js';
import type { SequenceState } from '../sequence-state.js';
import { type CutPart, tokensOn } from './cut.js';
import type { EntryRequest } from './request.js';

/** A part's share of a sequence. */
export interface HeldSequence {
  readonly sequence: Sequence;
  readonly state: SequenceState;
  /** The step that it was last made longer in. */
  step: number | undefined;
}

/** The sequences that a part holds pages of, by their owners and the owners' numbers. */
export class HeldSequences {
  readonly #cache: KvCache;
  readonly #cut: CutPart;
  readonly #owners = new Map<string, Map<number, HeldSequence>>();

  constructor(cache: KvCache, cut: CutPart) {
    this.#cache = cache;
    this.#cut = cut;
  }

  get count(): number {
    return [...this.#owners.values()].reduce((sum, { size }) => sum + size, 0);
  }

  get owners(): string[] {
    return [...this.#owners.keys()];
  }

  /**
   * What is held of a sequence; one that has no tokens here yet begins.
   *
   * @throws {@link FlashAttentionError} `ERR_PART_MISSING`.
   */
  find(owner: string, { sequence, length }: Omit<EntryRequest, 'tokens'>): HeldSequence {
    const held = this.#owners.get(owner)?.get(sequence);
    const before = tokensOn(this.#cut, length);
    if (held !== undefined && held.state.length >= before) return held;
    if (before === 0) return this.hold(owner, sequence, this.#cache.createSequence());
    throw new FlashAttentionError(
      'ERR_PART_MISSING',
      `Expected part ${this.#cut.part} to hold ${before} tokens of the sequence but received a ` +
        `request to a worker that holds ${held?.state.length ?? 0}.`,
      { argument: 'sequence' },
    );
  }

  hold(owner: string, number: number, sequence: Sequence): HeldSequence {
    const sequences = this.#owners.get(owner) ?? new Map<number, HeldSequence>();
    this.#owners.set(owner, sequences);
    const state = stateOf(sequence) as SequenceState;
    const held: HeldSequence = { sequence, state, step: undefined };
    sequences.set(number, held);
    return held;
  }

  drop(owner: string, number: number): void {
    const sequences = this.#owners.get(owner);
    sequences?.get(number)?.sequence.dispose();
    sequences?.delete(number);
    if (sequences?.size === 0) this.#owners.delete(owner);
  }

  release(owner: string): void {
    for (const { sequence } of this.#owners.get(owner)?.values() ?? []) sequence.dispose();
    this.#owners.delete(owner);
  }
}
