// A cache beside plain arrays: what sequences hold, what they attend to, what a step leaves behind.
// Every free slot is NaN from the start (serving pitfall 24): what leaked would show.
import fc from 'fast-check';
import { memory, randn, type Tensor, tensor } from '../../lib/index.js';
import { standardAttention } from '../../lib/reference/index.js';
import {
  type CacheDType,
  KvCache,
  type KvCacheOptions,
  type StepAttentionOptions,
} from '../../lib/serving/index.js';
import {
  CachedModel,
  type Feed,
  heads,
  kept,
  prompt,
  shape,
  testedCacheDTypes,
  type Text,
  type Truth,
  untoldTokens,
} from '../support/cached-model.js';
import { onSimtHopper, sized } from '../support/device.js';
import { errorOf, thrownBy } from '../support/expect-error.js';
import { settledMemory } from '../support/gc.js';
import { bound, type FloatDType, maxError, normals, testedDTypes } from '../support/numerics.js';
import { rotaryTables } from '../support/rotary-tables.js';

const { pageSize } = shape;
const feeds = (...all: (readonly [Text, readonly number[]])[]): Feed[] =>
  all.map(([text, tokens]) => ({ text, tokens }));

/** Name, dtype, and what is special about the cache. */
const caches: [name: string, dtype: CacheDType, more: Partial<KvCacheOptions>][] = [
  ...testedCacheDTypes.map((dtype): (typeof caches)[number] => [dtype, dtype, {}]),
  ['latents', testedDTypes[0], { latents: true }],
];

describe.each(caches)('%s', (_name, dtype, more) => {
  const modelOf = (numPages: number, own: Partial<KvCacheOptions> = {}) =>
    new CachedModel(numPages, dtype, {}, { ...more, ...own });

  test('a prompt in pieces, then token by token, is attention of the whole text', async () => {
    const model = modelOf(8);
    const text = model.create();
    await model.feedAndCheck(feeds([text, prompt(5)]));
    await model.feedAndCheck(feeds([text, prompt(7, 6)]));
    for (let i = 13; i < 19; i++) await model.feedAndCheck(feeds([text, [i]]));
    expect(text.sequence.length).toBe(18); // pitfall 37
    model.end();
  });

  test('pitfall 12: hits and misses in one step, prompts beside decoding', async () => {
    const model = modelOf(32);
    const first = model.create();
    await model.feedAndCheck(feeds([first, prompt(9)]));
    const hit = model.create(prompt(11));
    expect(hit.sequence.length).toBe(8);
    const miss = model.create(prompt(6, 50));
    expect(miss.sequence.length).toBe(0);
    await model.feedAndCheck(
      feeds([hit, [9, 10, 11]], [first, [77]], [miss, prompt(6, 50)], [model.create(), [3]]),
    );
    model.end();
  });

  test('a fork does not see what its parent appends', async () => {
    const model = modelOf(16);
    const parent = model.create();
    await model.feedAndCheck(feeds([parent, prompt(6)]));
    const fork = model.fork(parent);
    await model.feedAndCheck(feeds([parent, [60, 61, 62]]));
    await model.feedAndCheck(feeds([fork, [70, 71]]));
    const both = model.fork(fork);
    await model.feedAndCheck(feeds([fork, [80]], [both, [81]], [parent, [82]]));
    model.end();
  });

  test('pitfall 38: truncate then append equals never having appended', async () => {
    const model = modelOf(16);
    const text = model.create();
    await model.feedAndCheck(feeds([text, prompt(14)]));
    for (const length of [13, 8, 7, 0]) {
      model.truncate(text, length);
      model.checkCounts();
      await model.feedAndCheck(feeds([text, prompt(3, 40 + length)]));
    }
    model.end();
  });

  test('a step that was not committed never happened', async () => {
    const model = modelOf(8);
    const text = model.create();
    await model.feedAndCheck(feeds([text, prompt(6)]));
    const fork = model.fork(text);
    const before = model.cache.stats();
    await model.feedAndCheck(feeds([text, prompt(9, 20)], [fork, [30]]), false);
    expect(model.cache.stats()).toEqual(before);
    await model.feedAndCheck(feeds([text, [21]], [fork, [31]]));
    model.end();
  });

  test('running out of pages leaves every sequence as it was', async () => {
    const model = modelOf(4);
    const [a, b] = [model.create(), model.create()];
    await model.feedAndCheck(feeds([a, prompt(5)], [b, prompt(4, 30)]));
    const before = model.cache.stats();
    const both = feeds([a, prompt(4, 6)], [b, prompt(5, 34)]);
    const error = thrownBy(() => model.open(both));
    expect(error).toMatchObject({ code: 'ERR_CACHE_FULL', argument: 'entries', missingPages: 2 });
    expect(error.message).toMatch(/2 missing/);
    expect(model.cache.stats()).toEqual(before); // pitfall 26
    await model.feedAndCheck(feeds([a, [6]], [b, [34]]));
    model.end();
  });

  // Pitfalls 34 to 36: paths that leave gaps, beside others, and everything after them right.
  test('a tree of drafts: each token sees its path, and the accepted one stays', async () => {
    const model = modelOf(24);
    const [a, b, c] = [model.create(), model.create(), model.create()];
    await model.feedAndCheck(feeds([a, prompt(6)], [b, prompt(3)], [c, prompt(8, 30)]));
    const fork = model.fork(a);
    const tree = { text: a, tokens: [7, 8, 9, 10, 11, 12], tree: [-1, 0, 0, 2, -1, 2] };
    const other = { text: b, tokens: [20, 21, 22], tree: [-1, -1, 1] };
    await model.feedAndCheck([tree, ...feeds([c, [38, 39]]), other], [[0, 2, 5], 1, [1, 2]]);
    expect(a.tokens).toEqual([...prompt(7), 9, 12]);
    model.checkCounts();
    await model.feedAndCheck(feeds([a, [13]], [b, [23]], [c, [40]], [fork, [50]]));
    // The path is findable, and what was not accepted is not.
    expect(model.create([...prompt(7), 9, 12]).sequence.length).toBe(8);
    await model.feedAndCheck(
      [
        { ...tree, tokens: prompt(6, 60) },
        { ...other, tree: [-1, 0, 0] },
      ],
      [[], [0]],
    );
    await model.feedAndCheck(feeds([a, [14]], [b, [24]]));
    model.end();
  });

  test('pitfall 33: a loaded sequence goes on, and its prefix is found', async () => {
    const model = modelOf(16);
    const other = modelOf(9, { pageSize: 4 });
    const text = model.create(undefined, 'x');
    await model.feedAndCheck(feeds([text, prompt(10)]));
    const loaded = await model.reload(text, other);
    expect(loaded.sequence.length).toBe(10);
    expect(Array.from(loaded.sequence.tokens)).toEqual(prompt(10));
    await other.feedAndCheck(feeds([loaded, [11, 12]]));
    const hit = other.create(prompt(12), 'x');
    expect(hit.sequence.length).toBe(8);
    await other.feedAndCheck(feeds([hit, prompt(4, 9)]));
    model.end();
    other.end();
  });
});

describe.each([
  ['bfloat16', 'bfloat16', {}],
  ['int8', 'int8', {}],
  ['latents', 'bfloat16', { latents: true }],
] as const)('options of attention, %s', (_name, dtype, more) => {
  const slopes = [0.5, 0.25, 0.125, 0.0625];
  const sinks = [0.3, -1, 2, 0];
  const tables = rotaryTables(32, 3);
  const rotary = Object.fromEntries(
    Object.entries(tables).map(([name, table]) => [name, tensor(table, [32, 3])]),
  ) as { cos: Tensor; sin: Tensor };
  const cases: [name: string, options: StepAttentionOptions, truth: Truth][] = [
    ['scale and softcap', { scale: 0.7, softcap: 2 }, { scale: 0.7, softcap: 2 }],
    [
      'window and sink tokens',
      { window: [3, 0], sinkTokens: 2 },
      { window: [3, 0], sinkTokens: 2 },
    ],
    [
      'alibiSlopes and sinks',
      { alibiSlopes: tensor(slopes, [4]), sinks: tensor(sinks, [4]) },
      { alibiSlopes: slopes, sinks },
    ],
    ['rotary', { rotary }, { rotary: { ...tables, rotaryDim: 6 } }],
    [
      'rotary of neighbours',
      { rotary: { ...rotary, interleaved: true, rotaryDim: 6 } },
      { rotary: { ...tables, interleaved: true, rotaryDim: 6 } },
    ],
    [
      'rotary of the last elements',
      { rotary: { ...rotary, rotaryOffset: 2 } },
      { rotary: { ...tables, rotaryOffset: 2 } },
    ],
    ['numSplits', { numSplits: 2 }, {}],
    ['automatic splits', { numSplits: 'auto' }, {}],
  ];

  // Pitfall 13: positions go on where the stored prefix ends.
  test.each(cases)('%s', async (_, options, truth) => {
    const model = new CachedModel(24, dtype, options, more);
    model.truth = truth;
    const first = model.create();
    await model.feedAndCheck(feeds([first, prompt(9)]));
    const hit = model.create(prompt(12));
    expect(hit.sequence.length).toBe(8);
    await model.feedAndCheck(feeds([hit, prompt(4, 9)], [first, [70]]));
    await model.feedAndCheck(feeds([first, [71, 72]], [hit, [13]]), [1, 1]);
    await model.feedAndCheck(feeds([hit, [14]], [first, [73]]));
    const tree = { text: hit, tokens: [15, 16, 17, 18], tree: [-1, -1, 1, 2] };
    await model.feedAndCheck([...feeds([first, [74]]), tree], [1, [1, 2]]);
    await model.feedAndCheck(feeds([hit, [19]]));
    model.end();
  });

  test('lse comes with out', async () => {
    const model = new CachedModel(4, dtype);
    using step = model.cache.step([{ sequence: model.cache.createSequence(), tokens: 2 }]);
    const [q, k, v] = [heads, 2, 2].map((count, i) =>
      randn([2, count, i < 2 ? 8 : 4], { seed: BigInt(i), dtype: 'bfloat16' }),
    );
    const { out, lse } = step.attention(0, q, k, v, { returnLse: true });
    expect([out.shape, lse.shape, lse.dtype]).toEqual([[2, 4, 4], [4, 2], 'float32']);
  });
});

test.each<[FloatDType, CacheDType]>([
  ['float32', 'bfloat16'],
  ['float32', 'float16'],
  ['float16', 'bfloat16'],
  ['bfloat16', 'float32'],
  ['bfloat16', 'float16'],
  ['float16', 'int8'],
  ['bfloat16', 'int8'],
  ['float32', 'float8_e4m3'],
])('%s queries, keys and values over a cache of %s', async (given, cacheDType) => {
  const own = { kvHeads: 2, headDim: 16, headDimV: 32 };
  const cache = new KvCache({ ...own, layers: 1, numPages: 4, pageSize: 4, dtype: cacheDType });
  using step = cache.step([{ sequence: cache.createSequence(), tokens: 7 }]);
  const data = [4 * 16, 2 * 16, 2 * 32].map((width, n) => normals(7 * width, 90 + n, given));
  const [q, k, v] = data.map((rows, n) =>
    tensor(rows, [7, n === 0 ? 4 : 2, n < 2 ? 16 : 32], { dtype: given }),
  );
  const out = step.attention(0, q, k, v);
  expect(out.dtype).toBe(given);
  const problem = {
    shape: { ...own, heads, batch: 1, seqlenQ: 7, seqlenK: 7 },
    q: data[0],
    k: kept(data[1], 16, cacheDType),
    v: kept(data[2], 32, cacheDType),
    causal: true,
  };
  const truth = standardAttention(problem).out;
  const standard = standardAttention(problem, { precision: given }).out;
  expect(maxError(await out.toFloat32(), truth)).toBeLessThanOrEqual(bound(standard, truth));
  cache.dispose();
});

describe('any actions', () => {
  const index = fc.nat(5);
  const tokens = fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 1, maxLength: 6 });
  const scope = fc.constantFrom('x', undefined);
  const action = fc.oneof(
    fc.record({ kind: fc.constant('create' as const), tokens, scope }),
    fc.record({ kind: fc.constantFrom('fork', 'dispose', 'reload', 'flood'), index }),
    fc.record({ kind: fc.constant('truncate' as const), index, drop: fc.nat(6) }),
    ...[1, 2, 3].map(() =>
      fc.record({
        kind: fc.constant('step' as const),
        feeds: fc.uniqueArray(fc.record({ index, tokens, told: fc.boolean() }), {
          minLength: 1,
          maxLength: 3,
          selector: (feed) => feed.index,
        }),
        commit: fc.oneof(fc.boolean(), fc.array(fc.nat(6), { minLength: 3, maxLength: 3 })),
      }),
    ),
  );

  test.each(testedCacheDTypes)('%s: leave every sequence with its own tokens', async (dtype) => {
    const runs = sized(150, onSimtHopper ? 1 : 2);
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 10 }),
        fc.array(action, { maxLength: sized(25, 10) }),
        async (pages, actions) => {
          const model = new CachedModel(pages, dtype);
          for (const act of actions) {
            const at = (i: number) => model.texts[i % model.texts.length];
            try {
              if (act.kind === 'create') model.create(act.tokens, act.scope);
              else if (model.texts.length === 0) continue;
              else if (act.kind === 'step') {
                const chosen = new Map(act.feeds.map((feed) => [at(feed.index), feed]));
                const all = Array.from(chosen, ([text, { tokens, told }]) => ({
                  text,
                  tokens: told ? tokens : untoldTokens(tokens.length, text.tokens.length),
                }));
                await model.feedAndCheck(all, act.commit);
              } else if (act.kind === 'truncate') {
                const text = at(act.index);
                model.truncate(text, Math.max(0, text.tokens.length - act.drop));
              } else if (act.kind === 'fork') model.fork(at(act.index));
              else if (act.kind === 'dispose') model.dispose(at(act.index));
              else if (act.kind === 'reload') await model.reload(at(act.index));
              else model.flood();
            } catch (error) {
              if ((error as { code?: string }).code !== 'ERR_CACHE_FULL') throw error;
            }
            model.checkCounts();
          }
          model.end();
        },
      ),
      { numRuns: runs },
    );
  });
});

// Pitfalls 13 and 21: every way to come by pages, compared bit for bit with no sharing at all. The
// same query lengths each time, as the bits are those of a sequence's own tokens and query lengths.
describe.each(['bfloat16', 'int8'] as const)('the bits of a sequence are its own, %s', (dtype) => {
  const chunks = [prompt(8), prompt(3, 9), [12], [13], [14]];

  async function run(model: CachedModel, text: Text, others: readonly Text[] = [], skip = 0) {
    const bits: Uint8Array[] = [];
    let fed = 0;
    for (const tokens of chunks) {
      fed += tokens.length;
      if (fed <= skip) continue;
      const crowd = others.map((other, i) => ({
        text: other,
        tokens: prompt(1 + (i % 3), 60 + i),
      }));
      const middle = Math.floor(crowd.length / 2);
      const all = [...crowd.slice(0, middle), { text, tokens }, ...crowd.slice(middle)];
      bits.push((await model.feed(all))[middle]);
    }
    return bits;
  }

  async function alone(numSplits: number) {
    const model = new CachedModel(8, dtype, { numSplits });
    return run(model, model.create());
  }

  test.each([1, 3])(
    'numSplits %d: alone, among 1 to 31 others of any lengths',
    async (numSplits) => {
      const expected = await alone(numSplits);
      for (const count of sized([1, 2, 7, 31], [3])) {
        const model = new CachedModel(256, dtype, { numSplits });
        const others = Array.from({ length: count }, () => model.create());
        await model.feed(
          others.map((text, i) => ({ text, tokens: prompt(1 + ((i * 7) % 20), 100 + i) })),
        );
        expect(await run(model, model.create(), others)).toEqual(expected);
        model.end();
      }
    },
  );

  test('a shared prefix gives the bits of separate ones', async () => {
    const expected = await alone(1);
    const model = new CachedModel(16, dtype);
    const first = model.create();
    await model.feed(feeds([first, prompt(8)]));
    const hit = model.create(prompt(14));
    expect(hit.sequence.length).toBe(8);
    expect(model.cache.stats().shared).toBe(2);
    expect(await run(model, hit, [first], 8)).toEqual(expected.slice(1));
    model.end();
  });

  test('after fork, truncate, save and load', async () => {
    const expected = await alone(1);
    const model = new CachedModel(32, dtype);
    const first = model.create();
    await model.feed(feeds([first, prompt(8)]));
    await model.feed(feeds([first, prompt(3, 9)]));
    const fork = model.fork(first);
    const loaded = await model.reload(first);
    await model.feed(feeds([first, [90, 91, 92, 93, 94, 95]]));
    model.truncate(first, 11);
    for (const text of [fork, loaded, first]) {
      expect(await run(model, text, [], 11)).toEqual(expected.slice(2));
    }
    model.end();
  });

  // Pitfall 8, and every length around whole pages.
  test('every length of a hit', async () => {
    for (let length = pageSize; length < sized(4, 2) * pageSize; length++) {
      const model = new CachedModel(16, dtype);
      const whole = model.create();
      await model.feed(feeds([whole, prompt(length)]));
      const tokens = prompt(length);
      const hit = model.create(tokens);
      const begin = hit.sequence.length;
      expect(begin).toBe(Math.floor((length - 1) / pageSize) * pageSize);
      const [bits] = await model.feed(feeds([hit, tokens.slice(begin)]));
      const cold = new CachedModel(16, dtype);
      const text = cold.create();
      if (begin > 0) await cold.feed(feeds([text, tokens.slice(0, begin)]));
      expect(await cold.feed(feeds([text, tokens.slice(begin)]))).toEqual([bits]);
      model.end();
      cold.end();
    }
  });
});

describe('steps', () => {
  test('pitfall 22: pages of who is disposed in mid-step go back with its end', async () => {
    const model = new CachedModel(8);
    const text = model.create();
    await model.feed(feeds([text, untoldTokens(6)]));
    const step = model.open(feeds([text, untoldTokens(3)]));
    model.dispose(text);
    expect(text.sequence.disposed).toBe(true);
    expect(model.cache.stats().used).toBe(3);
    for (const out of model.attend(step, feeds([text, untoldTokens(3)]))) out.dispose();
    step.commit();
    expect(model.cache.stats()).toMatchObject({ free: 8, used: 0 });
  });

  test('pitfall 6: what is disposed before it is committed is not stored', () => {
    const model = new CachedModel(8);
    const text = model.create();
    const step = model.open(feeds([text, prompt(9)]));
    model.dispose(text);
    step.dispose();
    step.dispose();
    expect(model.cache.stats()).toMatchObject({ free: 8, used: 0, stored: 0 });
  });

  test('pitfall 39: pages may go and be written to while they are saved', async () => {
    const model = new CachedModel(4);
    const text = model.create();
    await model.feed(feeds([text, prompt(15)]));
    const saving = text.sequence.save();
    model.dispose(text);
    model.dispose(text);
    const other = model.create();
    await model.feed(feeds([other, untoldTokens(16)]));
    model.dispose(other);
    const loaded = model.cache.load(await saving);
    const again: Text = { sequence: loaded, tokens: prompt(15) };
    model.texts.push(again);
    await model.feedAndCheck(feeds([again, [16]]));
    model.end();
  });

  test('say which rows are the last tokens', () => {
    const model = new CachedModel(8);
    const step = model.open(
      feeds([model.create(), prompt(3)], [model.create(), prompt(1)], [model.create(), prompt(5)]),
    );
    expect(step.totalTokens).toBe(9);
    expect(step.lastTokens).toEqual(Int32Array.of(2, 3, 8));
    step.dispose();
  });

  test('a failing launch costs no committed token', async () => {
    const model = new CachedModel(8);
    const text = model.create();
    await model.feed(feeds([text, prompt(6)]));
    {
      using step = model.open(feeds([text, [7]]));
      const [out] = model.attend(step, feeds([text, [7]]));
      const stop = new AbortController();
      const read = errorOf(() => out.toFloat32({ signal: stop.signal }));
      stop.abort();
      expect((await read).code).toBe('ERR_ABORTED');
    }
    await model.feedAndCheck(feeds([text, [7]]));
    model.end();
  });

  test('pitfall 32: an empty sequence is saved and loaded', async () => {
    const model = new CachedModel(2);
    const loaded = model.cache.load(await model.cache.createSequence().save());
    expect(loaded.length).toBe(0);
    expect(loaded.pages).toBe(0);
  });
});

describe('memory', () => {
  test.each<[CacheDType, number]>([
    ['bfloat16', 12 * 2],
    ['int8', 12 + 8],
    ['float8_e4m3', 12 + 8],
  ])('bytes of a cache of %s', (dtype, bytes) => {
    const model = new CachedModel(3, dtype);
    expect(model.cache.stats().bytes).toBe(2 * 3 * pageSize * 2 * bytes);
    model.end();
  });

  test('what is dropped comes back: sequences, steps, caches', async () => {
    const before = await settledMemory();
    const model = new CachedModel(8);
    (() => {
      const text = model.create();
      model.texts.length = 0;
      model.open(feeds([text, prompt(9)]));
    })();
    expect(model.cache.stats().used).toBe(3);
    for (let i = 0; i < 100 && model.cache.stats().used > 0; i++) await settledMemory();
    expect(model.cache.stats()).toMatchObject({ free: 8, used: 0 });
    model.cache.dispose();
    expect(await settledMemory()).toEqual(before);
  });

  test('a soak of steps leaves as much as it found', async () => {
    const before = await settledMemory();
    const model = new CachedModel(24);
    const steps = sized(10_000, 40);
    const held: number[] = [];
    const texts = [model.create(), model.create()];
    for (let n = 0; n < steps; n++) {
      const i = n % 2;
      if (texts[i].tokens.length > 40) {
        model.dispose(texts[i]);
        texts[i] = n % 3 === 0 ? model.fork(texts[1 - i]) : model.create(prompt(9));
      }
      const batch = n % 5 === 0 ? [texts[0], texts[1]] : [texts[i]];
      const all = batch.map((text) => ({ text, tokens: [1 + (n % 50)] }));
      const step = model.open(all);
      for (const out of model.attend(step, all)) out.dispose();
      if (n % 7 === 0) {
        step.dispose();
      } else {
        step.commit();
        for (const { text, tokens } of all) text.tokens.push(...tokens);
      }
      if (n % (steps / 10) === 0) {
        await model.feedAndCheck(feeds([texts[i], [n]]), false);
        model.checkCounts();
        await settledMemory();
        held.push(process.memoryUsage().heapUsed);
      }
    }
    // Whatever grew with the steps would double from the fifth tenth to the last.
    expect(held[9] - held[4]).toBeLessThan(4 * 2 ** 20);
    model.end();
    expect(await settledMemory()).toEqual(before);
    expect(memory().tensors).toBe(before.tensors);
  });
});
