import fc from 'fast-check';
import { concat, flashAttentionPaged, randn, type Tensor, tensor, zeros } from '../../lib/index.js';
import { rotary } from '../../lib/reference/index.js';
import { appendKv, flashAttentionRagged } from '../../lib/serving/index.js';
import { elsewhere, notTensors } from '../support/bad-options.js';
import { sized } from '../support/device.js';
import { errorOf, expectThrow, wrong } from '../support/expect-error.js';
import { settledMemory } from '../support/gc.js';
import { floatDTypes, normals, rounding } from '../support/numerics.js';
import { raggedCall, raggedProblem, shuffled } from '../support/pages.js';
import { rotaryTables } from '../support/rotary-tables.js';

const dtypes = fc.constantFrom(...floatDTypes);
const cases = fc.record({
  total: fc.integer({ min: 0, max: sized(60, 12) }),
  pages: fc.integer({ min: 1, max: 9 }),
  pageSize: fc.constantFrom(1, 2, 3, 16, 64),
  kvHeads: fc.integer({ min: 1, max: 3 }),
  dim: fc.constantFrom(2, 5, 16, 40, 128),
  dimV: fc.constantFrom(1, 7, 16, 64),
  from: dtypes,
  fromV: dtypes,
  to: dtypes,
  turned: fc.constantFrom<undefined | boolean>(undefined, true, false),
  whole: fc.boolean(),
  last: fc.boolean(),
});

test.each([3, 4])(
  'any shape: slots hold the tokens, and no other changes; seed %i',
  async (seed) => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ pages, pageSize, kvHeads, dim, dimV, to, ...given }) => {
        const { from, fromV, turned, whole, last } = given;
        const total = Math.min(given.total, pages * pageSize);
        const slots = shuffled(pages * pageSize, seed + total).slice(0, total);
        const [k, v] = [
          normals(total * kvHeads * dim, seed, from),
          normals(total * kvHeads * dimV, 9, fromV),
        ];
        const old = [dim, dimV].map((d) => normals(pages * pageSize * kvHeads * d, 20 + d, to));
        const pairs = whole ? Math.floor(dim / 2) : 1;
        const rotaryOffset = last ? dim - 2 * pairs : 0;
        const tables = rotaryTables(100, pairs);
        const positions = slots.map((slot) => slot % 100);
        const before = old.map((data, n) =>
          tensor(data, [pages, pageSize, kvHeads, [dim, dimV][n]], { dtype: to }),
        );
        const after = appendKv(
          tensor(k, [total, kvHeads, dim], { dtype: from }),
          tensor(v, [total, kvHeads, dimV], { dtype: fromV }),
          before[0],
          before[1],
          {
            slots,
            ...(turned !== undefined && {
              rotary: {
                cos: tensor(tables.cos, [100, pairs]),
                sin: tensor(tables.sin, [100, pairs]),
                positions,
                interleaved: turned,
                rotaryOffset,
              },
            }),
          },
        );
        const tokens =
          turned === undefined
            ? k
            : rotary(
                k,
                { tokens: total, heads: kvHeads, headDim: dim },
                { ...tables, positions, interleaved: turned, rotaryDim: 2 * pairs, rotaryOffset },
              );
        const expected = (data: Float32Array, values: ArrayLike<number>, d: number) => {
          const result = data.slice();
          slots.forEach((slot, t) => {
            for (let c = 0; c < kvHeads * d; c++) {
              const value = Math.fround(values[t * kvHeads * d + c]);
              result[slot * kvHeads * d + c] = rounding[to](value);
            }
          });
          return result;
        };
        expect(await after.kPages.toFloat32()).toEqual(expected(old[0], tokens, dim));
        expect(await after.vPages.toFloat32()).toEqual(expected(old[1], v, dimV));
        // The tensors given view the same memory.
        expect(await before[0].toFloat32()).toEqual(await after.kPages.toFloat32());
        expect([after.kPages.dtype, ...after.kPages.shape]).toEqual([to, ...before[0].shape]);
      }),
      { numRuns: sized(100, 20), seed },
    );
  },
);

const [pages, pageSize, heads, dim] = [4, 3, 2, 8];
const emptyPages = (d = dim) => zeros([pages, pageSize, heads, d]);
const token = (value: number, d = dim) =>
  tensor(new Float32Array(heads * d).fill(value), [1, heads, d]);

/** Integers that the device has worked out. */
const computed = (values: readonly number[]) =>
  concat(
    values.map((value) => tensor(Int32Array.of(value), [1])),
    0,
  );

test('reads before it find the old contents, reads after it the new ones', async () => {
  let [kPages, vPages] = [emptyPages(), emptyPages(5)];
  const reads: Promise<Float32Array>[] = [];
  for (let t = 0; t < 12; t++) {
    reads.push(kPages.toFloat32());
    ({ kPages, vPages } = appendKv(token(t + 1), token(-t, 5), kPages, vPages, { slots: [t] }));
  }
  reads.push(kPages.toFloat32());
  const width = heads * dim;
  for (const [t, read] of reads.entries()) {
    const values = await read;
    const first = Array.from({ length: 12 }, (_, slot) => values[slot * width]);
    expect(first).toEqual(Array.from({ length: 12 }, (_, slot) => (slot < t ? slot + 1 : 0)));
  }
  expect((await vPages.toFloat32())[11 * heads * 5]).toBe(-11);
});

test('reads on the other queue, enqueued before, find the old contents', async () => {
  const [heads, dim] = [sized(64, 2), 256];
  const width = heads * dim;
  let [kPages, vPages] = [zeros([1, 32, heads, dim]), zeros([1, 32, heads, 1])];
  const row = (value: number) => tensor(new Float32Array(width).fill(value), [1, heads, dim]);
  const reads: Promise<Float32Array>[] = [];
  for (let t = 0; t < 32; t++) {
    reads.push(kPages.toFloat32({ priority: t % 2 === 0 ? 'high' : 'normal' }));
    const v = zeros([1, heads, 1]);
    ({ kPages, vPages } = appendKv(row(t + 1), v, kPages, vPages, { slots: [t] }));
  }
  for (const [t, read] of reads.entries()) {
    const values = await read;
    const ends = Array.from({ length: 32 }, (_, slot) => values[(slot + 1) * width - 1]);
    expect(ends).toEqual(Array.from({ length: 32 }, (_, slot) => (slot < t ? slot + 1 : 0)));
  }
});

test('token by token: attention as of keys that were there from the start', async () => {
  const shape = { lengths: [[1, 7]] as const, heads: 4, kvHeads: 2, headDim: 16, pageSize: 3 };
  const problem = raggedProblem(shape, {}, 3);
  const { q, kPages, vPages, options } = raggedCall(problem, 'float32');
  const expected = flashAttentionRagged(q, kPages, vPages, { ...options, numSplits: 1 });
  const blank = () =>
    tensor(new Float32Array(problem.kPages.length).fill(Number.NaN), kPages.shape);
  let now = { kPages: blank(), vPages: blank() };
  for (let j = 0; j < 7; j++) {
    const [page, row] = [problem.pageTable[0][Math.floor(j / 3)], j % 3];
    const rows = (t: Tensor) => t.slice([page, page + 1], [row, row + 1]).reshape([1, 2, 16]);
    now = appendKv(rows(kPages), rows(vPages), now.kPages, now.vPages, { slots: [page * 3 + row] });
  }
  const out = flashAttentionRagged(q, now.kPages, now.vPages, { ...options, numSplits: 1 });
  expect(await out.toFloat32()).toEqual(await expected.toFloat32());
});

test('pages that are views: K and V alternately in one tensor, a layer of many', async () => {
  const cache = zeros([3, pages, 2, pageSize, heads, dim]);
  const layer = cache.slice([1, 2]).reshape([pages, 2, pageSize, heads, dim]);
  const [kPages, vPages] = [0, 1].map((n) =>
    layer.slice(null, [n, n + 1]).reshape([pages, pageSize, heads, dim]),
  );
  appendKv(token(1), token(2), kPages, vPages, { slots: [4] });
  const values = await cache.toFloat32();
  const row = heads * dim;
  const at = (kind: number) => (((1 * pages + 1) * 2 + kind) * pageSize + 1) * row;
  expect(values[at(0)]).toBe(1);
  expect(values[at(1)]).toBe(2);
  expect(values.reduce((a, b) => a + b)).toBe(3 * row);
});

test('latents: rows of keys alone', async () => {
  const [latents, expected] = [emptyPages(), emptyPages()];
  const { cos, sin } = rotaryTables(10, 2);
  const tables = { cos: tensor(cos, [10, 2]), sin: tensor(sin, [10, 2]) };
  const options = { slots: [4, 11], rotary: { ...tables, positions: [3, 9], rotaryOffset: 4 } };
  const k = randn([2, heads, dim], { seed: 3n });
  const after = appendKv(k, undefined, latents, undefined, options);
  expect(Object.keys(after)).toEqual(['kPages']);
  const both = appendKv(k, k, expected, emptyPages(), options);
  expect(await after.kPages.toFloat32()).toEqual(await both.kPages.toFloat32());
  expect(await latents.toFloat32()).toEqual(await after.kPages.toFloat32());
});

test('NaN and infinities pass unchanged, and so does -0', async () => {
  const special = [Number.NaN, Infinity, -Infinity, -0, 1e-45, 3.4028234663852886e38, 0, 1];
  const k = tensor(Float32Array.from([...special, ...special]), [1, heads, dim]);
  const { kPages } = appendKv(k, k, emptyPages(), emptyPages(), { slots: [0] });
  expect((await kPages.toFloat32()).slice(0, 16)).toEqual(await k.toFloat32());
});

test('results that nobody holds: the tokens are written all the same', async () => {
  const [kPages, vPages] = [emptyPages(), emptyPages()];
  const { kPages: kAfter, vPages: vAfter } = appendKv(token(1), token(2), kPages, vPages, {
    slots: [0],
  });
  kAfter.dispose();
  vAfter.dispose();
  expect((await kPages.toFloat32())[0]).toBe(1);
  expect((await vPages.toFloat32())[0]).toBe(2);
});

test('when k fails the returned pages do, and those given live on', async () => {
  using _busy = randn([sized(1 << 21, 8)], { seed: 1n }); // so that the CPU does not know at the call
  const bad = flashAttentionPaged(zeros([1, 1, heads, dim]), emptyPages(), emptyPages(), {
    pageTable: computed([99]).reshape([1, 1]),
    seqlensK: [1],
  }).reshape([1, heads, dim]);
  const [kPages, vPages] = [emptyPages(), emptyPages()];
  const after = appendKv(bad, token(1), kPages, vPages, { slots: [0] });
  await expect(after.kPages.toFloat32()).rejects.toMatchObject({ code: 'ERR_SHAPE' });
  await expect(after.vPages.toFloat32()).rejects.toMatchObject({ code: 'ERR_SHAPE' });
  const next = appendKv(token(1), token(2), after.kPages, vPages, { slots: [1] });
  await expect(next.kPages.toFloat32()).rejects.toMatchObject({ code: 'ERR_SHAPE' });
  const again = appendKv(token(1), token(2), kPages, vPages, { slots: [1] });
  expect((await again.kPages.toFloat32())[heads * dim]).toBe(1);
});

test('slots that the device alone knows are judged when the work runs; nothing is written', async () => {
  const [kPages, vPages] = [emptyPages(), emptyPages()];
  const two = tensor(new Float32Array(2 * heads * dim).fill(7), [2, heads, dim]);
  for (const [slots, code] of [
    [[0, 12], 'ERR_SHAPE'],
    [[5, 5], 'ERR_OPTION'],
  ] as const) {
    const run = () => appendKv(two, two, kPages, vPages, { slots: computed(slots) });
    expect((await errorOf(() => run().vPages.toFloat32())).code).toBe(code);
  }
  expect((await kPages.toFloat32()).every((x) => x === 0)).toBe(true);
  const after = appendKv(two, two, kPages, vPages, { slots: computed([3, 4]) });
  expect((await after.kPages.toFloat32())[3 * heads * dim]).toBe(7);
});

test('memory: states of pages take none, and go with their tensors', async () => {
  const [kPages, vPages] = [emptyPages(), emptyPages()];
  const [k, v] = [token(1), token(2)];
  const before = await settledMemory();
  const after = appendKv(k, v, kPages, vPages, { slots: [0] });
  const during = await settledMemory();
  expect(during.bytes).toBe(before.bytes);
  expect(during.storages).toBe(before.storages);
  after.kPages.dispose();
  after.vPages.dispose();
  expect(await settledMemory()).toEqual(before);
  // A state keeps the memory it views.
  const last = appendKv(k, v, kPages, vPages, { slots: [1] });
  kPages.dispose();
  vPages.dispose();
  expect((await last.kPages.data()).length).toBe(pages * pageSize * heads * dim);
  const taken = await last.vPages.take();
  expect((taken as Float32Array)[heads * dim]).toBe(2);
});

describe('bad input', () => {
  const [kPages, vPages] = [emptyPages(), emptyPages(5)];
  const [k, v] = [randn([2, heads, dim], { seed: 1n }), randn([2, heads, 5], { seed: 2n })];
  const tables = rotaryTables(10, 4);
  const cos = tensor(tables.cos, [10, 4]);
  const sin = tensor(tables.sin, [10, 4]);
  const rotary = { cos, sin, positions: [0, 9] };
  const slots = [0, 1];
  const gone = emptyPages();
  gone.dispose();

  test.each(notTensors)('tensors are %s', (_, value) => {
    const bad = wrong(value);
    expectThrow(() => appendKv(bad, v, kPages, vPages, { slots }), 'ERR_TYPE', 'k');
    expectThrow(() => appendKv(k, bad, kPages, vPages, { slots }), 'ERR_TYPE', 'v');
    expectThrow(() => appendKv(k, v, bad, vPages, { slots }), 'ERR_TYPE', 'kPages');
    expectThrow(() => appendKv(k, v, kPages, bad, { slots }), 'ERR_TYPE', 'vPages');
  });

  const overlapping = zeros([pages * pageSize * heads * dim + 8]);
  const part = (from: number) => {
    const length = pages * pageSize * heads * dim;
    return overlapping.slice([from, from + length]).reshape([pages, pageSize, heads, dim]);
  };
  test.each<[string, unknown[], string, string]>([
    ['k of other heads', [randn([2, 3, dim], { seed: 1n }), v, kPages, vPages], 'ERR_SHAPE', 'k'],
    ['k of another dim', [randn([2, heads, 7], { seed: 1n }), v, kPages, vPages], 'ERR_SHAPE', 'k'],
    ['k of 4 axes', [zeros([1, 2, heads, dim]), v, kPages, vPages], 'ERR_SHAPE', 'k'],
    [
      'k of integers',
      [zeros([2, heads, dim], { dtype: 'int32' }), v, kPages, vPages],
      'ERR_DTYPE',
      'k',
    ],
    ['more tokens than slots', [zeros([13, heads, dim]), v, kPages, vPages], 'ERR_SHAPE', 'k'],
    ['k elsewhere', [elsewhere(k), v, kPages, vPages], 'ERR_DEVICE', 'k'],
    ['v of more tokens', [k, zeros([3, heads, 5]), kPages, vPages], 'ERR_SHAPE', 'v'],
    ['v of bools', [k, zeros([2, heads, 5], { dtype: 'bool' }), kPages, vPages], 'ERR_DTYPE', 'v'],
    ['pages of 3 axes', [k, v, zeros([4, 3, 16]), vPages], 'ERR_SHAPE', 'kPages'],
    [
      'pages of integers',
      [k, v, zeros([4, 3, 2, 8], { dtype: 'int32' }), vPages],
      'ERR_DTYPE',
      'kPages',
    ],
    ['disposed pages', [k, v, gone, vPages], 'ERR_DISPOSED', 'kPages'],
    ['pages of two dtypes', [k, v, kPages, vPages.to('float16')], 'ERR_DTYPE', 'vPages'],
    ['fewer pages of values', [k, v, kPages, zeros([3, 3, 2, 5])], 'ERR_SHAPE', 'vPages'],
    ['values elsewhere', [k, v, kPages, elsewhere(vPages)], 'ERR_DEVICE', 'vPages'],
    ['pages in one place', [k, k, kPages, kPages], 'ERR_OPTION', 'vPages'],
    ['pages that overlap', [k, k, part(0), part(8)], 'ERR_OPTION', 'vPages'],
    [
      'k is part of the pages',
      [kPages.slice([0, 1], [0, 2]).reshape([2, heads, dim]), v, kPages, vPages],
      'ERR_OPTION',
      'k',
    ],
    [
      'v is part of the pages',
      [k, vPages.slice([0, 1], [0, 2]).reshape([2, heads, 5]), kPages, vPages],
      'ERR_OPTION',
      'v',
    ],
    [
      'rows in one place',
      [k, v, zeros([1, 1, heads, dim]).expand([pages, pageSize, heads, dim]), vPages],
      'ERR_SHAPE',
      'kPages',
    ],
    [
      'rows that are strided',
      [k, v, zeros([pages, pageSize, dim, heads]).transpose(0, 1, 3, 2), vPages],
      'ERR_SHAPE',
      'kPages',
    ],
  ])('%s', (_, tensors, code, argument) => {
    const [a, b, c, d] = tensors.map(wrong);
    expectThrow(() => appendKv(a, b, c, d, { slots }), wrong(code), argument);
  });

  test('values of keys alone, or pages of values alone', () => {
    const append = (...tensors: unknown[]) => {
      const [a, b, c, d] = tensors.map(wrong);
      return () => appendKv(a, b, c, d, { slots });
    };
    expectThrow(append(k, v, kPages, undefined), 'ERR_TYPE', 'vPages');
    expectThrow(append(k, undefined, kPages, vPages), 'ERR_TYPE', 'v');
    const codes = zeros([pages, pageSize, heads, dim], { dtype: 'int8' });
    expectThrow(append(k, undefined, codes, undefined), 'ERR_DTYPE', 'kPages', /without v/);
  });

  test.each([
    [undefined, 'ERR_TYPE', 'options'],
    [null, 'ERR_TYPE', 'options'],
    [{}, 'ERR_TYPE', 'options.slots'],
    [{ slots: 3 }, 'ERR_TYPE', 'options.slots'],
    [{ slots: [0] }, 'ERR_SHAPE', 'options.slots'],
    [{ slots: [0, -1] }, 'ERR_OPTION', 'options.slots[1]'],
    [{ slots: [0, 1.5] }, 'ERR_OPTION', 'options.slots[1]'],
    [{ slots: [0, 12] }, 'ERR_SHAPE', 'options.slots'],
    [{ slots: [3, 3] }, 'ERR_OPTION', 'options.slots'],
    [{ slots: tensor(Int32Array.of(-1, 3), [2]) }, 'ERR_SHAPE', 'options.slots'],
    [{ slots: zeros([2]) }, 'ERR_DTYPE', 'options.slots'],
    [{ slots: zeros([2, 1], { dtype: 'int32' }) }, 'ERR_SHAPE', 'options.slots'],
    [{ slots: elsewhere(zeros([2], { dtype: 'int32' })) }, 'ERR_DEVICE', 'options.slots'],
    [{ slots, pages: 3 }, 'ERR_OPTION', 'options.pages'],
    [{ slots, rotary: 3 }, 'ERR_TYPE', 'options.rotary'],
    [{ slots, rotary: {} }, 'ERR_TYPE', 'options.rotary.positions'],
    [{ slots, rotary: { cos, sin } }, 'ERR_TYPE', 'options.rotary.positions'],
    [{ slots, rotary: { ...rotary, cos: [1] } }, 'ERR_TYPE', 'options.rotary.cos'],
    [{ slots, rotary: { ...rotary, cos: zeros([10, 5]) } }, 'ERR_SHAPE', 'options.rotary.cos'],
    [{ slots, rotary: { ...rotary, sin: zeros([9, 4]) } }, 'ERR_SHAPE', 'options.rotary.sin'],
    [{ slots, rotary: { ...rotary, positions: [0, 10] } }, 'ERR_SHAPE', 'options.rotary.positions'],
    [{ slots, rotary: { ...rotary, positions: [0] } }, 'ERR_SHAPE', 'options.rotary.positions'],
    [{ slots, rotary: { ...rotary, theta: 1 } }, 'ERR_OPTION', 'options.rotary.theta'],
    [{ slots, rotary: { ...rotary, interleaved: 'no' } }, 'ERR_TYPE', 'options.rotary.interleaved'],
    [{ slots, rotary: { ...rotary, rotaryDim: 6 } }, 'ERR_OPTION', 'options.rotary.rotaryDim'],
    [
      { slots, rotary: { ...rotary, rotaryOffset: 9 } },
      'ERR_OPTION',
      'options.rotary.rotaryOffset',
    ],
    [{ slots, signal: true }, 'ERR_TYPE', 'options.signal'],
  ] as const)('options %#', (options, code, argument) => {
    expectThrow(() => appendKv(k, v, kPages, vPages, wrong(options)), code, argument);
  });

  test('nothing was written by any of them', async () => {
    expect((await kPages.toFloat32()).every((x) => x === 0)).toBe(true);
    expect((await vPages.toFloat32()).every((x) => x === 0)).toBe(true);
  });
});
