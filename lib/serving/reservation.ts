import { FlashAttentionError } from '../native/errors.js';
import type { SequenceState } from './sequence-state.js';

/** A sequence and what it is to take on. */
export interface Request {
  readonly state: SequenceState;
  /** New tokens, at least one. */
  readonly tokens: number;
  /** Their ids; none where they are not known. */
  readonly ids: readonly number[];
  /** Where they are a tree: the index of the one before each, -1 for the last committed token. */
  readonly parents?: readonly number[];
}

/** Leading rows of a page that have to be in another one before that is written to. */
export interface PageCopy {
  readonly from: number;
  readonly to: number;
  readonly rows: number;
}

/** A request with the pages for it. */
export interface Reserved extends Request {
  /** The pages that the new tokens are written to, a partly filled one or its copy among them. */
  readonly tail: number[];
  /** Those of them that are new. */
  readonly fresh: readonly number[];
  readonly copy: PageCopy | undefined;
}

/**
 * Pages for the new tokens of several sequences. Until it is settled the sequences are as they
 * were, and hold their pages beside the new ones.
 */
export class Reservation {
  readonly entries: readonly Reserved[];
  #settled = false;

  /**
   * All requests or none. A shared page that would be written to is replaced by a copy.
   *
   * @throws {@link FlashAttentionError} `ERR_CACHE_FULL`; nothing has changed then.
   */
  constructor(requests: readonly Request[]) {
    const plans = planned(requests);
    const needed = plans.reduce((sum, { fresh, copies }) => sum + fresh + Number(copies), 0);
    const available = requests[0].state.pool.available;
    if (needed > available) throw cacheFull('entries', needed, available);
    for (const { request, partial, copies } of plans) {
      if (partial !== undefined && !copies) request.state.pool.forget(partial);
    }
    this.entries = plans.map(reserved);
    for (const { state } of this.entries) state.open = true;
  }

  get settled(): boolean {
    return this.#settled;
  }

  /**
   * The sequences take on those of their tokens whose indices are accepted; all of them unless
   * told. They stand in the first slots by now.
   */
  commit(accepted?: readonly (readonly number[])[]): void {
    this.#settle(({ state, tail, fresh, tokens, ids, copy }, i) => {
      const path = accepted?.[i];
      const kept = path?.length ?? tokens;
      if (kept === 0) return state.pool.release(fresh);
      if (copy) state.pool.release([copy.from]);
      const needed = Math.ceil((state.length + kept) / state.pageSize) - state.fullPages;
      state.pool.release(tail.splice(needed));
      const known = ids.length > 0;
      state.grow(tail, kept, path && known ? path.map((index) => ids[index]) : ids);
    });
  }

  /** It never happened. */
  undo(): void {
    this.#settle(({ state, fresh }) => state.pool.release(fresh));
  }

  #settle(each: (entry: Reserved, i: number) => void): void {
    if (this.#settled) return;
    this.#settled = true;
    this.entries.forEach((entry, i) => {
      each(entry, i);
      entry.state.close();
    });
  }
}

interface Plan {
  readonly request: Request;
  /** Pages to come after those that the sequence has. */
  readonly fresh: number;
  /** Its last page, where that has room. */
  readonly partial: number | undefined;
  /** Whether others hold that page too. */
  readonly copies: boolean;
}

function planned(requests: readonly Request[]): Plan[] {
  // By page: those of this step that take a copy, and the greatest length among them.
  const leaving = new Map<number, { readonly count: number; readonly longest: number }>();
  return requests.map((request) => {
    const { state, tokens } = request;
    const { pages, length, pageSize, pool } = state;
    const fresh = Math.ceil((length + tokens) / pageSize) - pages.length;
    if (length % pageSize === 0) return { request, fresh, partial: undefined, copies: false };
    const partial = pages[pages.length - 1];
    const { count, longest } = leaving.get(partial) ?? { count: 0, longest: 0 };
    // In place only behind what the others have: they keep the page when the step is undone.
    const copies = pool.holders(partial) - count > 1 || longest > length;
    if (copies) leaving.set(partial, { count: count + 1, longest: Math.max(longest, length) });
    return { request, fresh, partial, copies };
  });
}

function reserved({ request, fresh: count, partial, copies }: Plan): Reserved {
  const { state, tokens, ids, parents } = request;
  const { length, pageSize, pool } = state;
  const fresh: number[] = [];
  for (let i = 0; i < count + Number(copies); i++) fresh.push(pool.take());
  const inPlace = partial !== undefined && !copies;
  const tail = inPlace ? [partial, ...fresh] : fresh.slice();
  const copy =
    partial === undefined || inPlace
      ? undefined
      : { from: partial, to: fresh[0], rows: length % pageSize };
  return { state, tokens, ids, parents, tail, fresh, copy };
}

/** The slot of a token that stands at `index` in pages. */
export function slotIn(pages: ArrayLike<number>, index: number, pageSize: number): number {
  return pages[Math.floor(index / pageSize)] * pageSize + (index % pageSize);
}

/** The slot of a new token. */
export function slotOf({ state, tail }: Reserved, index: number): number {
  const { length, pageSize } = state;
  return slotIn(tail, (length % pageSize) + index, pageSize);
}

/** The error of who needs more pages than there are. */
export function cacheFull(
  argument: string,
  needed: number,
  available: number,
): FlashAttentionError {
  const missing = needed - available;
  return new FlashAttentionError(
    'ERR_CACHE_FULL',
    `Expected ${argument} to need at most the ${available} pages that are free or stored but ` +
      `received what needs ${needed}: ${missing} missing.`,
    { argument, missingPages: missing },
  );
}
