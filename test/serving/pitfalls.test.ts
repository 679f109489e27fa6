// What went wrong in other servers and has no test beside what it is about: numbers are those of
// the collection that the names of tests in this folder cite.
import { tensor } from '../../lib/index.js';
import { type CacheDType, flashAttentionRagged } from '../../lib/serving/index.js';
import {
  CachedModel,
  type Feed,
  prompt,
  shape,
  testedCacheDTypes,
  type Text,
} from '../support/cached-model.js';
import { thrownBy } from '../support/expect-error.js';

const { pageSize } = shape;

const feeds = (...all: (readonly [Text, readonly number[]])[]): Feed[] =>
  all.map(([text, tokens]) => ({ text, tokens }));

/** A model whose cache has the first tokens of `prompt` stored. */
async function withStored(pages: number, tokens: number, dtype?: CacheDType) {
  const model = new CachedModel(pages, dtype);
  const first = model.create();
  await model.feedAndCheck(feeds([first, prompt(tokens)]));
  model.dispose(first);
  return model;
}

test('pitfall 10: who needs the logits of a whole prompt asks for no stored prefix', async () => {
  const model = await withStored(16, 12);
  const text = model.create();
  expect(text.sequence.length).toBe(0);
  await model.feedAndCheck(feeds([text, prompt(14)])); // every row is computed, and right
  // The pages that were there already stay, and those computed again went back.
  const { used, stored } = model.cache.stats();
  expect({ used, stored }).toEqual({ used: 4, stored: 0 });
  model.end();
});

test('pitfall 11: what a prompt found is held from then on, whatever others take', async () => {
  const model = await withStored(6, 12);
  const hit = model.create(prompt(13));
  expect(hit.sequence.length).toBe(12);
  const other = model.create();
  await model.feedAndCheck(feeds([other, prompt(12, 50)]));
  expect(model.cache.stats()).toMatchObject({ free: 0, stored: 0 });
  const error = thrownBy(() => model.open(feeds([hit, [13]])));
  expect(error).toMatchObject({ code: 'ERR_CACHE_FULL', missingPages: 1 });
  expect(hit.sequence.length).toBe(12); // as it was found
  model.dispose(other);
  await model.feedAndCheck(feeds([hit, [13]]));
  model.end();
});

describe('pitfall 16', () => {
  test('pages are stored when all layers are in them, or not at all', async () => {
    const model = new CachedModel(16);
    const text = model.create();
    const feed = feeds([text, prompt(9)]);
    {
      using step = model.open(feed);
      const first = model.layer(0, feed);
      for (const each of [step.attention(0, ...first), ...first]) each?.dispose();
      expect(thrownBy(() => step.commit())).toMatchObject({ code: 'ERR_STATE' });
    }
    expect(model.create(prompt(9)).sequence.length).toBe(0);
    expect(model.cache.stats()).toMatchObject({ used: 0, stored: 0 });
    model.end();
  });

  test('layers with windows keep what they do not see: others see it', async () => {
    const window = [2, 0] as [number, number];
    const narrow = new CachedModel(16, 'float32', { window });
    narrow.truth = { window };
    const text = narrow.create();
    await narrow.feedAndCheck(feeds([text, prompt(6)]));
    for (let i = 7; i < 15; i++) await narrow.feedAndCheck(feeds([text, [i]]));
    narrow.dispose(text);
    const hit = narrow.create(prompt(16));
    expect(hit.sequence.length).toBe(12);
    narrow.truth = {};
    Object.assign(narrow.options, { window: undefined });
    await narrow.feedAndCheck(feeds([hit, prompt(4, 13)]));
    narrow.end();
  });
});

test('pitfall 23: after one round of victims the end of the step is what frees pages', async () => {
  const model = new CachedModel(4);
  const [a, b, c] = [model.create(), model.create(), model.create()];
  await model.feedAndCheck(feeds([a, prompt(8)], [b, prompt(7, 30)]));
  const feed = feeds([b, [37]]);
  const step = model.open(feed);
  const wanting = () => model.open(feeds([c, prompt(5, 60)]));
  expect(thrownBy(wanting)).toMatchObject({ missingPages: 2 });
  const before = model.cache.stats();
  model.dispose(b); // the victim is in the step
  expect(model.cache.stats()).toEqual(before);
  expect(thrownBy(wanting)).toMatchObject({ missingPages: 2 }); // another victim would not help
  for (const out of model.attend(step, feed)) out.dispose();
  step.commit();
  await model.feedAndCheck(feeds([c, prompt(5, 60)]));
  await model.feedAndCheck(feeds([c, [65]]));
  model.end();
});

test('pitfall 25: rows of sequences without keys are zeros, whatever their memory held', async () => {
  const [heads, dim, queries] = [2, 64, 4096];
  const bytes = queries * heads * dim;
  const nan = () => tensor(new Float32Array(bytes).fill(Number.NaN), [queries, heads, dim]);
  const pages = tensor(new Float32Array(4 * pageSize * dim).fill(1), [4, pageSize, 1, dim]);
  const q = tensor(new Float32Array(bytes).fill(0.5), [queries, heads, dim]);
  nan().dispose(); // memory of that size is used again
  const { out, lse } = flashAttentionRagged(q, pages, pages, {
    cuSeqlensQ: [0, 1000, 1000, 3000, 3001],
    pageTable: [[0], [1], [2], [3]],
    seqlensK: [0, 3, 0, 2],
    returnLse: true,
  });
  const rows = await out.data();
  const row = heads * dim;
  expect(rows.subarray(0, 3000 * row).every((x) => x === 0)).toBe(true);
  expect(rows.subarray(3000 * row, 3001 * row).every((x) => Math.abs(x - 1) < 1e-6)).toBe(true);
  expect(rows.subarray(3001 * row).every((x) => x === 0)).toBe(true); // of no sequence
  const sums = await lse.data();
  expect(sums.filter((x) => x !== -Infinity)).toHaveLength(heads);
});

const length = 11;

/** Where the first tokens of a text may come from. */
const reuses = {
  'no reuse': async (model: CachedModel) => model.create(),
  'a stored prefix': async (model: CachedModel) => {
    const first = model.create();
    await model.feedAndCheck(feeds([first, prompt(length)]));
    model.dispose(first);
    return model.create(prompt(length));
  },
  'a fork': async (model: CachedModel) => {
    const first = model.create();
    await model.feedAndCheck(feeds([first, prompt(6)]));
    const fork = model.fork(first);
    await model.feedAndCheck(feeds([first, [90, 91]]));
    return fork;
  },
  'a loaded sequence': async (model: CachedModel) => {
    const first = model.create();
    await model.feedAndCheck(feeds([first, prompt(7)]));
    const loaded = await model.reload(first);
    model.dispose(first);
    return loaded;
  },
};

describe.each(testedCacheDTypes)('pitfall 31: %s', (dtype) => {
  describe.each(Object.entries(reuses))('%s', (_, begin) => {
    test.each([
      ['all at once', length, false],
      ['in pieces', 3, false],
      ['token by token', 1, false],
      ['in pieces, given up and computed again in the middle', 3, true],
    ] as const)('%s', async (_how, chunk, preempted) => {
      const model = new CachedModel(12, dtype);
      let text = await begin(model);
      const neighbour = model.create();
      let left: boolean = preempted;
      for (let n = 0; text.tokens.length < length; n++) {
        if (left && text.tokens.length > 4) {
          model.dispose(text); // what is whole stays to be found
          model.flood();
          text = model.create(prompt(length));
          left = false;
        }
        const from = text.tokens.length;
        const tokens = prompt(Math.min(chunk, length - from), from + 1);
        await model.feedAndCheck(feeds([neighbour, [200 + n]], [text, tokens]));
      }
      await model.feedAndCheck(feeds([text, [70]], [neighbour, [71]]));
      model.checkCounts();
      model.end();
    });
  });
});

// Pitfall 28, and 27: the pages lie all over the pool, and nothing of it is free in the end.
const quantized = testedCacheDTypes.filter((dtype) => dtype === 'int8' || dtype === 'float8_e4m3');

describe.each(quantized)('pitfall 28: %s, a full pool', (dtype) => {
  test.each(Array.from({ length: pageSize }, (_, residue) => residue))(
    'prompts of whole pages and %i tokens, one that hits and one that misses',
    async (residue) => {
      const total = 2 * pageSize + residue;
      const model = await withStored(7, pageSize, dtype);
      const hit = model.create(prompt(total));
      expect(hit.sequence.length).toBe(pageSize);
      const miss = model.create();
      await model.feedAndCheck(
        feeds([miss, prompt(total, 40)], [hit, prompt(total - pageSize, pageSize + 1)]),
      );
      const filler = model.create();
      const { free, stored } = model.cache.stats();
      if (free + stored > 0) {
        const tokens = prompt((free + stored) * pageSize, 60);
        await model.feedAndCheck(feeds([filler, tokens]));
      }
      expect(model.cache.stats()).toMatchObject({ free: 0, stored: 0 });
      // To the end of the pages that each of them has.
      for (let n = total; n % pageSize !== 0; n++) {
        await model.feedAndCheck(feeds([hit, [80 + n]], [miss, [90 + n]]));
      }
      model.checkCounts();
      model.end();
    },
  );
});

test('tensors of a layer may be disposed as soon as it is enqueued', async () => {
  const model = new CachedModel(4);
  const feed = feeds([model.create(), prompt(3)]);
  using step = model.open(feed);
  const outs = [0, 1].map((layer) => {
    const rows = model.layer(layer, feed);
    const out = step.attention(layer, ...rows);
    for (const each of rows) each?.dispose();
    return out;
  });
  for (const out of outs) expect((await out.toFloat32()).every(Number.isFinite)).toBe(true);
});
