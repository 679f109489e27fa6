// What sequences, steps and stored prefixes do to the pages of a cache, without any tensor: a page
// holds a text per slot that tells all tokens up to it, as keys and values would.
import fc from 'fast-check';
import { PagePool } from '../../lib/serving/page-pool.js';
import { Reservation } from '../../lib/serving/reservation.js';
import { SequenceState } from '../../lib/serving/sequence-state.js';
import { thrownBy } from '../support/expect-error.js';

/** A sequence, and the ids that it was fed; below 0: none that the cache was told. */
interface Fed {
  readonly state: SequenceState;
  tokens: number[];
}

/** Pages whose contents are texts, and everything that must hold after every action. */
class World {
  readonly pool: PagePool;
  readonly live: Fed[] = [];
  readonly #slots: string[][];
  readonly #pageSize: number;
  #unknown = 0;

  constructor(pages: number, pageSize: number) {
    this.pool = new PagePool(pages);
    this.#pageSize = pageSize;
    this.#slots = Array.from({ length: pages }, () => new Array(pageSize).fill('nothing'));
  }

  create(tokens: readonly number[] = [], scope?: string): Fed {
    const state = new SequenceState(this.pool, this.#pageSize, scope);
    if (tokens.length > 0) state.begin(tokens);
    const fed = { state, tokens: tokens.slice(0, state.length) };
    this.live.push(fed);
    this.check();
    return fed;
  }

  fork({ state, tokens }: Fed): Fed {
    const fed = { state: state.fork(), tokens: tokens.slice() };
    this.live.push(fed);
    this.check();
    return fed;
  }

  truncate(fed: Fed, length: number): void {
    fed.state.truncate(length);
    fed.tokens.length = length;
    this.check();
  }

  dispose(fed: Fed): void {
    fed.state.dispose();
    if (!fed.state.open) this.live.splice(this.live.indexOf(fed), 1);
    this.check();
  }

  /** Ids that the cache is not told. */
  unknown(count: number): number[] {
    return Array.from({ length: count }, () => --this.#unknown);
  }

  /** Writes new tokens as a step does. `during` runs while it is open. */
  step(
    requests: readonly (readonly [fed: Fed, tokens: readonly number[]])[],
    commit: boolean | readonly number[] = true,
    during: () => void = () => {},
  ): void {
    const reservation = new Reservation(
      requests.map(([{ state }, tokens]) => ({
        state,
        tokens: tokens.length,
        ids: tokens[0] < 0 ? [] : tokens,
      })),
    );
    this.check();
    for (const { copy } of reservation.entries) {
      if (!copy) continue;
      for (let row = 0; row < copy.rows; row++) {
        this.#slots[copy.to][row] = this.#slots[copy.from][row];
      }
    }
    reservation.entries.forEach(({ state, tail }, i) => {
      const [fed, tokens] = requests[i];
      const all = [...fed.tokens, ...tokens];
      for (let p = state.length; p < all.length; p++) {
        const page = this.#slots[tail[Math.floor(p / this.#pageSize) - state.fullPages]];
        page[p % this.#pageSize] = this.#content(state, all, p);
      }
    });
    this.check();
    during();
    if (commit) {
      const accepted = requests.map(([, tokens], i) =>
        commit === true ? tokens.length : commit[i] % (tokens.length + 1),
      );
      const first = accepted.map((count) => Array.from({ length: count }, (_, n) => n));
      reservation.commit(commit === true ? undefined : first);
      requests.forEach(([fed, tokens], i) => {
        fed.tokens.push(...tokens.slice(0, accepted[i]));
      });
    } else {
      reservation.undo();
    }
    for (const [fed] of requests) {
      if (fed.state.disposed) this.live.splice(this.live.indexOf(fed), 1);
    }
    this.check();
  }

  #content({ scope }: SequenceState, tokens: readonly number[], p: number): string {
    return `${scope === undefined ? 'no scope' : `scope ${scope}`}: ${tokens.slice(0, p + 1)}`;
  }

  check(): void {
    const { pages, free, used, stored, shared } = this.pool.counts();
    expect(free + used + stored).toBe(pages); // serving pitfalls 4 and 5
    expect(this.pool.available).toBe(free + stored);
    const holders = new Map<number, number>();
    for (const { state, tokens } of this.live) {
      expect(state.length).toBe(tokens.length); // pitfall 37
      expect(state.pages.length).toBe(Math.ceil(tokens.length / this.#pageSize)); // pitfall 35
      for (const page of state.pages) holders.set(page, (holders.get(page) ?? 0) + 1);
      tokens.forEach((_, p) => {
        const page = this.#slots[state.pages[Math.floor(p / this.#pageSize)]];
        expect(page[p % this.#pageSize]).toBe(this.#content(state, tokens, p));
      });
    }
    if (this.live.every(({ state }) => !state.open)) {
      expect(used).toBe(holders.size);
      expect(shared).toBe([...holders.values()].filter((count) => count > 1).length);
    }
    // Pitfall 24: what nobody holds or may find is poison.
    for (let page = 0; page < pages; page++) {
      const findable = this.pool.isStored(page);
      if (this.pool.holders(page) === 0 && !findable) this.#slots[page].fill('poison');
    }
  }
}

const prompt = (length: number, first = 1) => Array.from({ length }, (_, i) => first + i);

describe('prefixes', () => {
  test('pitfall 8: a hit leaves a token to compute, for prompts of 16, 32 and 33 tokens', () => {
    for (const [length, found] of [
      [16, 0],
      [32, 16],
      [33, 32],
    ]) {
      const world = new World(8, 16);
      const first = world.create(prompt(length));
      world.step([[first, prompt(length)]]);
      world.dispose(first);
      expect(world.create(prompt(length)).state.length).toBe(found);
    }
  });

  test('pitfall 9: after a hit of all but the last page the next pages are findable', () => {
    const world = new World(16, 4);
    const first = world.create(prompt(8));
    world.step([[first, prompt(8)]]);
    world.dispose(first);
    const again = world.create(prompt(8));
    world.step([[again, prompt(8).slice(again.state.length)]]);
    world.step([[again, [9, 10, 11, 12]]]);
    world.dispose(again);
    expect(world.create(prompt(13)).state.length).toBe(12);
    expect(world.pool.counts()).toMatchObject({ used: 3, stored: 0 });
  });

  test('pitfall 7: pages of an open step are not findable, nor those of one undone', () => {
    const world = new World(16, 4);
    const first = world.create();
    const probe = () => {
      const other = world.create(prompt(9));
      expect(other.state.length).toBe(0);
      world.dispose(other);
    };
    world.step([[first, prompt(9)]], false, probe);
    probe();
    world.step([[first, prompt(9)]], true, probe);
    expect(world.create(prompt(9)).state.length).toBe(8);
  });

  test('pitfall 6: what was never committed is not stored', () => {
    const world = new World(4, 4);
    const one = world.create();
    world.step([[one, prompt(9)]], false, () => world.dispose(one));
    expect(world.pool.counts()).toMatchObject({ free: 4, stored: 0 });
  });

  test('pitfall 14: a chain is given up from its tail', () => {
    const world = new World(4, 2);
    const long = world.create();
    world.step([[long, prompt(8)]]);
    world.dispose(long);
    for (const left of [3, 2, 1]) {
      const other = world.create();
      world.step([[other, world.unknown(1)]]); // takes one page
      const again = world.create(prompt(9));
      expect(again.state.length).toBe(2 * left);
      world.dispose(again);
    }
  });

  test('pitfall 15: a hit touches all pages of its chain', () => {
    const world = new World(4, 2);
    for (const first of [1, 101]) {
      const one = world.create();
      world.step([[one, prompt(4, first)]]);
      world.dispose(one);
    }
    world.dispose(world.create(prompt(5))); // older, used again
    const other = world.create();
    world.step([[other, world.unknown(4)]]);
    expect(world.create(prompt(5)).state.length).toBe(4);
    expect(world.create(prompt(5, 101)).state.length).toBe(0);
  });

  test('pitfall 17 and 18: other tokens, scopes or no scope never find them', () => {
    const world = new World(32, 2);
    for (const scope of ['a', 'b', '', 'undefined']) {
      const one = world.create([], scope);
      world.step([[one, [1, 23, 1, 2]]]);
    }
    expect(world.create([1, 23, 1, 2, 3], 'a').state.length).toBe(4);
    expect(world.create([1, 23, 1, 2, 3]).state.length).toBe(0);
    expect(world.create([1, 23, 1, 2, 3], 'c').state.length).toBe(0);
    expect(world.create([12, 3, 1, 2, 3], 'a').state.length).toBe(0);
    expect(world.create([1, 2, 1, 2, 3], 'a').state.length).toBe(0);
  });

  test('pitfall 36: what was fed without ids, or after such tokens, is never found', () => {
    const world = new World(16, 2);
    const one = world.create();
    world.step([[one, [1, 2]]]);
    world.step([[one, world.unknown(1)]]);
    world.step([[one, [3, 4, 5]]]);
    world.dispose(one);
    expect(world.pool.counts().stored).toBe(1);
  });

  test('after truncate other tokens do not come under the old ids', () => {
    const world = new World(16, 4);
    const one = world.create();
    world.step([[one, prompt(8)]]);
    world.truncate(one, 6);
    world.step([[one, [50, 51, 52]]]);
    expect(world.create(prompt(9)).state.length).toBe(4);
    expect(world.create([1, 2, 3, 4, 5, 6, 50, 51, 9]).state.length).toBe(8);
  });

  test('equal tokens computed side by side end in one page', () => {
    const world = new World(16, 4);
    const [a, b] = [world.create(), world.create()];
    world.step([
      [a, prompt(6)],
      [b, prompt(6)],
    ]);
    expect(world.pool.counts()).toMatchObject({ used: 3, shared: 1 });
  });
});

describe('pages', () => {
  test('pitfall 1: pages of a hit are not counted as available to it', () => {
    const world = new World(4, 4);
    const one = world.create();
    world.step([[one, prompt(8)]]);
    world.dispose(one); // 2 stored, 2 free
    const hit = world.create(prompt(9));
    const before = world.pool.counts();
    const error = thrownBy(() => world.step([[hit, world.unknown(9)]])); // 3 pages
    expect(error).toMatchObject({ code: 'ERR_CACHE_FULL', missingPages: 1 });
    expect(world.pool.counts()).toEqual(before); // pitfall 26
    world.step([[hit, world.unknown(8)]]);
    expect(world.pool.counts()).toMatchObject({ free: 0, used: 4, stored: 0 });
  });

  test('an undone step leaves rows of a longer sequence that shares the page', () => {
    const world = new World(4, 16);
    const short = world.create();
    world.step([[short, world.unknown(10)]]);
    const long = world.fork(short);
    world.truncate(short, 2);
    const both = () =>
      [
        [long, world.unknown(1)],
        [short, world.unknown(3)],
      ] as const;
    world.step(both(), false);
    world.step(both(), [0, 3]);
    world.step(both());
  });

  test('pitfall 19: forks given back in any order leave nothing', () => {
    const orders = [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ];
    for (const order of orders) {
      const world = new World(8, 4);
      const root = world.create();
      world.step([[root, world.unknown(6)]]);
      const fork = world.fork(root);
      const all = [root, fork, world.fork(fork)];
      for (const i of order) world.dispose(all[i]);
      expect(world.pool.counts()).toMatchObject({ free: 8, shared: 0 });
    }
  });

  test('pitfall 20: of two that write to a shared page in one step, one takes a copy', () => {
    const world = new World(4, 4);
    const a = world.create();
    world.step([[a, prompt(6)]]);
    const b = world.fork(a);
    world.step([
      [a, [7]],
      [b, [70]],
    ]);
    expect(world.pool.counts()).toMatchObject({ free: 1, used: 3, shared: 1 });
  });

  test('a full page is copied too, where a truncated sequence goes on in it', () => {
    const world = new World(8, 4);
    const a = world.create();
    world.step([[a, prompt(8)]]);
    const b = world.fork(a);
    world.truncate(b, 7);
    world.step([[b, [80]]]);
    expect(world.create(prompt(9)).state.length).toBe(8);
  });

  test('pitfall 22: pages of who is disposed in mid-step go back with its end', () => {
    const world = new World(8, 4);
    const one = world.create();
    world.step([[one, world.unknown(4)]]);
    world.step([[one, world.unknown(3)]], true, () => {
      world.dispose(one);
      expect(world.pool.counts().used).toBe(2);
    });
    expect(world.pool.counts()).toMatchObject({ free: 8, used: 0 });
  });

  test('pitfall 34 and 35: what of a draft is not accepted gives its pages back', () => {
    const world = new World(8, 4);
    const one = world.create();
    world.step([[one, prompt(6)]]);
    const other = world.fork(one);
    world.step([[one, prompt(9, 7)]], [3]);
    expect(one.tokens).toEqual(prompt(9));
    expect(world.pool.counts()).toMatchObject({ used: 4 });
    world.step([[one, prompt(9, 10)]], [0]);
    expect(world.pool.counts()).toMatchObject({ used: 4 });
    world.step([[other, prompt(9, 60)]], [0]);
    expect(world.pool.counts()).toMatchObject({ used: 4 });
    // Pitfall 36: nor is it findable.
    world.step([[one, prompt(9, 10)]], [1]);
    expect(world.create(prompt(13)).state.length).toBe(8);
  });

  test('a sequence alone in a full pool is cut and goes on in place', () => {
    const world = new World(2, 4);
    const one = world.create();
    world.step([[one, prompt(8)]]);
    world.truncate(one, 7);
    world.step([[one, [80]]]);
    expect(world.pool.counts()).toMatchObject({ free: 0, used: 2 });
  });
});

// Pitfalls 2 and 3 among others: a pool that is often full, and everything checked at every turn.
describe('any actions', () => {
  const index = fc.nat(7);
  const tokens = fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 1, maxLength: 7 });
  const action = fc.oneof(
    fc.record({
      kind: fc.constant('create' as const),
      tokens,
      scope: fc.constantFrom('x', undefined),
    }),
    fc.record({ kind: fc.constant('fork' as const), index }),
    fc.record({
      kind: fc.constant('truncate' as const),
      index,
      keep: fc.double({ noNaN: true, min: 0, max: 1 }),
    }),
    fc.record({ kind: fc.constant('dispose' as const), index }),
    ...[1, 2].map(() =>
      fc.record({
        kind: fc.constant('step' as const),
        feeds: fc.uniqueArray(fc.record({ index, tokens, known: fc.boolean() }), {
          minLength: 1,
          maxLength: 3,
          selector: (feed) => feed.index,
        }),
        commit: fc.oneof(fc.boolean(), fc.array(fc.nat(7), { minLength: 3, maxLength: 3 })),
        disposes: fc.option(index),
      }),
    ),
  );

  test('leave every sequence with its own tokens, and every page accounted for', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 4 }),
        fc.array(action, { maxLength: 60 }),
        (pages, pageSize, actions) => {
          const world = new World(pages, pageSize);
          for (const act of actions) {
            const at = (i: number) => world.live[i % world.live.length];
            if (act.kind === 'create') world.create(act.tokens, act.scope);
            else if (world.live.length === 0) continue;
            else if (act.kind === 'fork') world.fork(at(act.index));
            else if (act.kind === 'dispose') world.dispose(at(act.index));
            else if (act.kind === 'truncate') {
              const fed = at(act.index);
              world.truncate(fed, Math.round(act.keep * fed.tokens.length));
            } else {
              const feeds = new Map(act.feeds.map((feed) => [at(feed.index), feed]));
              const requests = Array.from(feeds, ([fed, feed]) => {
                const ids = feed.known ? feed.tokens : world.unknown(feed.tokens.length);
                return [fed, ids] as const;
              });
              const mid = () => {
                if (act.disposes !== null) world.dispose(at(act.disposes));
              };
              const before = world.pool.counts();
              try {
                world.step(requests, act.commit, mid);
              } catch (error) {
                if ((error as { code?: string }).code !== 'ERR_CACHE_FULL') throw error;
                expect(world.pool.counts()).toEqual(before);
                world.check();
              }
            }
          }
          while (world.live.length > 0) world.dispose(world.live[0]);
          const { free, stored } = world.pool.counts();
          expect(free + stored).toBe(pages);
        },
      ),
      { numRuns: 400 },
    );
  });
});
