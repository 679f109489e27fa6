// Pages in 8 bits: what is written to them, and attention over what they stand for.
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { explain, flashAttentionPaged, type Tensor, tensor, zeros } from '../../lib/index.js';
import {
  type CodeDType,
  dequantizedCache,
  pagedAttention,
  quantizedCache,
  rotary,
} from '../../lib/reference/index.js';
import {
  appendKv,
  flashAttentionRagged,
  type RaggedAttentionOptions,
} from '../../lib/serving/index.js';
import { elsewhere } from '../support/bad-options.js';
import { appendedCodes, codeDTypes, unwritten } from '../support/codes.js';
import { onSimt, sized } from '../support/device.js';
import { expectThrow, wrong } from '../support/expect-error.js';
import { maxError, normals, testedDTypes } from '../support/numerics.js';
import {
  expectQuantized,
  mixed,
  quantizedProblem,
  raggedCall,
  type RaggedOptions,
  raggedProblem,
  type RaggedShape,
  shuffled,
} from '../support/pages.js';
import { rotaryTables } from '../support/rotary-tables.js';

/** Empty pages of what no sequence may see, and their scales. */
function blank(codes: CodeDType, [pages, pageSize, heads]: readonly number[], dims: number[]) {
  const size = pages * pageSize * heads;
  const make = (dim: number) =>
    tensor(unwritten(codes, size * dim), [pages, pageSize, heads, dim], {
      dtype: codes,
    });
  const scales = () => tensor(new Float32Array(size).fill(Number.NaN), [pages, pageSize, heads]);
  const [kPages, vPages] = dims.map(make);
  return { kPages, vPages, kScales: scales(), vScales: scales() };
}

describe('appended', () => {
  const cases = fc.record(appendedCodes);

  test.each([5, 6])('slots hold the codes and scales of the reference; seed %i', async (seed) => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ pages, pageSize, kvHeads, dim, dimV, codes, ...given }) => {
        const { from, fromV, turned } = given;
        const total = Math.min(given.total, pages * pageSize);
        const slots = shuffled(pages * pageSize, seed + total).slice(0, total);
        const k = normals(total * kvHeads * dim, seed, from);
        const v = normals(total * kvHeads * dimV, 9, fromV);
        const pairs = Math.ceil(dim / 4);
        const tables = rotaryTables(100, pairs);
        const positions = slots.map((slot) => slot % 100);
        const turn = {
          positions,
          interleaved: turned === true,
          rotaryOffset: dim - 2 * pairs,
        };
        const before = blank(codes, [pages, pageSize, kvHeads], [dim, dimV]);
        const after = appendKv(
          tensor(k, [total, kvHeads, dim], { dtype: from }),
          tensor(v, [total, kvHeads, dimV], { dtype: fromV }),
          before.kPages,
          before.vPages,
          {
            slots,
            kScales: before.kScales,
            vScales: before.vScales,
            ...(turned !== undefined && {
              rotary: {
                cos: tensor(tables.cos, [100, pairs]),
                sin: tensor(tables.sin, [100, pairs]),
                ...turn,
              },
            }),
          },
        );
        const sizes = { tokens: total, heads: kvHeads, headDim: dim };
        const options = { ...tables, ...turn, rotaryDim: 2 * pairs };
        const tokens = turned === undefined ? k : Float32Array.from(rotary(k, sizes, options));
        for (const [got, scales, values, d] of [
          [after.kPages, after.kScales, tokens, dim],
          [after.vPages, after.vScales, v, dimV],
        ] as const) {
          const rows = quantizedCache(values, d, codes);
          const expected = unwritten(codes, pages * pageSize * kvHeads * d);
          const expectedScales = new Float32Array(pages * pageSize * kvHeads).fill(Number.NaN);
          slots.forEach((slot, t) => {
            const width = kvHeads * d;
            expected.set(rows.codes.subarray(t * width, (t + 1) * width), slot * width);
            const own = rows.scales.subarray(t * kvHeads, (t + 1) * kvHeads);
            expectedScales.set(own, slot * kvHeads);
          });
          expect(await got.data()).toEqual(expected);
          expect(await scales?.data()).toEqual(expectedScales);
        }
        // The tensors given view the same memory.
        expect(await before.kPages.data()).toEqual(await after.kPages.data());
        expect(await before.vScales.data()).toEqual(await after.vScales?.data());
      }),
      { numRuns: sized(80, 15), seed },
    );
  });

  // Serving pitfall 29: a row of zeros.
  test.each(codeDTypes)('%s: zeros, extremes, ties, NaN and infinities', async (codes) => {
    const rows = [
      [0, -0, 0, 0],
      [3.4028234663852886e38, -1e38, 1, 0],
      [1e-45, -1e-45, 0, 0],
      [1.1754943508222875e-38, 1e-38, -1e-39, 0],
      [127, 0.5, 1.5, -2.5],
      [127, 126.5, -126.5, 125.5],
      [448, 17, 19, -0.0009765625],
      [Number.NaN, 1, 2, 3],
      [1, Infinity, 2, 3],
      [1, 2, -Infinity, Number.NaN],
    ];
    const x = Float32Array.from(rows.flat());
    const { kPages, vPages, ...scales } = blank(codes, [1, 16, 1], [4, 4]);
    const tokens = tensor(x, [rows.length, 1, 4]);
    const slots = rows.map((_, t) => t);
    const after = appendKv(tokens, tokens, kPages, vPages, { slots, ...scales });
    const expected = quantizedCache(x, 4, codes);
    for (const [got, scale] of [
      [after.kPages, after.kScales as Tensor],
      [after.vPages, after.vScales as Tensor],
    ]) {
      expect((await got.data()).slice(0, x.length)).toEqual(expected.codes);
      expect((await scale.data()).slice(0, rows.length)).toEqual(expected.scales);
    }
  });

  test('rows in 8 bits are copied, and so are their scales', async () => {
    const { kPages, vPages, kScales, vScales } = blank('int8', [2, 3, 2], [4, 2]);
    const [k, v] = [4, 2].map((dim) =>
      tensor(
        Int8Array.from({ length: 4 * dim }, (_, n) => n - 128),
        [2, 2, dim],
      ),
    );
    const slots = [4, 1];
    const after = appendKv(k, v, kPages, vPages, { slots });
    expect(after.kScales).toBeUndefined();
    const row = (data: ArrayLike<number>, slot: number, width: number) =>
      Array.from(data).slice(slot * width, (slot + 1) * width);
    expect(row(await after.kPages.data(), 1, 8)).toEqual(row(await k.data(), 1, 8));
    expect(row(await after.vPages.data(), 4, 4)).toEqual(row(await v.data(), 0, 4));
    const columns = (of: Tensor) => of.reshape([2, 3, 2, 1]);
    const own = tensor([1, 2, 3, 4], [2, 2, 1]);
    appendKv(own, own, columns(kScales), columns(vScales), { slots }).vPages.dispose();
    expect(await vScales.data()).toEqual(
      Float32Array.from(
        [0, 1, 2, 3, 4, 5].flatMap((slot) => {
          const at = slots.indexOf(slot);
          return at < 0 ? [Number.NaN, Number.NaN] : [2 * at + 1, 2 * at + 2];
        }),
      ),
    );
  });
});

const cases: [string, RaggedOptions][] = [
  ['plain', {}],
  ['window and sink tokens', { window: [9, 0], sinkTokens: 3 }],
  ['softcap, scale', { softcap: 2, scale: 0.5, causal: true }],
  ['sinks', { sinks: [0, 1, -1, 2], causal: true }],
  ['ALiBi', { alibiSlopes: [0.5, 0.25, 0.125, 0.1], causal: true }],
];

describe.each(codeDTypes)('attention over pages of %s', (codes) => {
  describe.each(testedDTypes)('queries of %s', (dtype) => {
    test.each(cases)('%s', async (_, options) => {
      await expectQuantized(quantizedProblem(raggedProblem(mixed, options, 3), codes, dtype));
    });

    test('a head dim of whole vectors, keys in splits', async () => {
      const shape = { ...mixed, headDim: 64, headDimV: 64 };
      const problem = raggedProblem(shape, { causal: true }, 4);
      const quantized = quantizedProblem(problem, codes, dtype);
      for (const numSplits of [1, 3, 'auto'] as const) {
        await expectQuantized(quantized, { numSplits });
      }
    });
  });

  const dtype = testedDTypes[testedDTypes.length - 1];

  test('scales of either sign', async () => {
    const problem = raggedProblem(mixed, { causal: true }, 3);
    await expectQuantized(quantizedProblem(problem, codes, dtype, true));
  });

  test.each([1, 2, 4, 8, 16])('%d query heads per kv head', async (group) => {
    const lengths = [
      [1, 150],
      [1, 31],
      [2, 70],
    ] as const;
    const shape = { lengths, heads: 2 * group, kvHeads: 2, headDim: 32, pageSize: 8 };
    await expectQuantized(quantizedProblem(raggedProblem(shape, {}, group), codes, dtype));
  });

  test.each([1, 16])('every length from 1 to 33 in pages of %d', async (pageSize) => {
    const lengths = Array.from({ length: 33 }, (_, n) => [n % 3 === 2 ? 2 : 1, n + 1] as const);
    const shape = { lengths, heads: 2, kvHeads: 1, headDim: 32, pageSize };
    const problem = raggedProblem(shape, { causal: true }, 5);
    await expectQuantized(quantizedProblem(problem, codes, dtype), { numSplits: 1 });
  });

  test('trees of drafts beside other sequences', async () => {
    const lengths = [
      [5, 64],
      [1, 40],
      [4, 19],
    ] as const;
    for (const headDim of [40, 64]) {
      const shape = { ...mixed, headDim, headDimV: headDim, lengths };
      const trees = [[-1, 0, 0, 2, 1], undefined, [-1, -1, 1, 1]];
      const given = raggedProblem(shape, { causal: true, window: [30, 0], trees }, 9);
      await expectQuantized(quantizedProblem(given, codes, dtype));
    }
  });

  test('a mask, a block of batched queries', async () => {
    const lengths = [
      [6, 30],
      [6, 47],
    ] as const;
    const { problem, q, kPages, vPages, options } = quantizedProblem(
      raggedProblem({ ...mixed, lengths }, { causal: true }, 8),
      codes,
      dtype,
    );
    const { cuSeqlensQ: _, ...paged } = options;
    const expected = flashAttentionRagged(q, kPages, vPages, { ...options, numSplits: 1 });
    const batched = q.reshape([2, 6, 4, 40]);
    const mask = zeros([problem.pageTable[0].length * 16], { dtype: 'float32' });
    const out = flashAttentionPaged(batched, kPages, vPages, { ...paged, mask, numSplits: 1 });
    expect(maxError(await out.toFloat32(), await expected.toFloat32())).toBeLessThan(
      dtype === 'float32' ? 1e-6 : 1e-2,
    );
  });

  test('outliers, and values next to the ends of float32', async () => {
    const lengths = [
      [1, 60],
      [9, 70],
    ] as const;
    const shape = { lengths, heads: 4, kvHeads: 2, headDim: 64, pageSize: 16 };
    for (const [scaleK, scaleV] of sized(
      [
        [1, 1],
        [1e-30, 1e30],
        [1e4, 1e-30],
      ],
      [[1, 1]],
    )) {
      const problem = raggedProblem(shape, { causal: true, scale: 0.125 / scaleK }, 6);
      const outliers = (data: ArrayLike<number>, factor: number) =>
        Float32Array.from(data, (x, n) => x * factor * (n % 97 === 0 ? 30 : 1));
      const given = {
        ...problem,
        kPages: outliers(problem.kPages, scaleK),
        vPages: outliers(problem.vPages, scaleV),
      };
      if (scaleV === 1) await expectQuantized(quantizedProblem(given, codes, dtype));
      if (onSimt) continue;
      const {
        problem: stands,
        q,
        kPages,
        vPages,
        options,
      } = quantizedProblem(given, codes, 'float32');
      const out = await flashAttentionRagged(q, kPages, vPages, options).toFloat32();
      const truth = pagedAttention(stands).out;
      const relative = maxError(
        out.map((x) => x / scaleV),
        truth.map((x) => x / scaleV),
      );
      expect(relative).toBeLessThan(1e-4);
    }
  });

  test.each(['float32', 'bfloat16'] as const)(
    'queries at the ends of %s, and ordinary ones beside them',
    async (own) => {
      const lengths = [
        [1, 60],
        [2, 70],
      ] as const;
      const shape = { lengths, heads: 8, kvHeads: 2, headDim: 64, pageSize: 16 };
      for (const size of sized([1e-38, 1e-20, 1e20, 1e36], [1])) {
        const given = raggedProblem(shape, { causal: true, scale: 0.125 / size }, 6);
        const q = Float32Array.from(given.q, (x) => x * size);
        await expectQuantized(quantizedProblem({ ...given, q }, codes, own));
        const few = Float32Array.from(given.q, (x, n) => (n % 100 === 0 ? x * size : x));
        const scale = size > 1 ? 0.125 / size : 0.125;
        await expectQuantized(quantizedProblem({ ...given, scale, q: few }, codes, own));
      }
    },
  );

  test('what differs from the unquantised is what the documents say', async () => {
    const lengths = [
      [1, 300],
      [8, 200],
    ] as const;
    const shape = { lengths, heads: 4, kvHeads: 2, headDim: 64, pageSize: 16 };
    const problem = raggedProblem(shape, {}, 7);
    const { kPages, vPages, q, options } = quantizedProblem(problem, codes, dtype);
    const out = await flashAttentionRagged(q, kPages, vPages, options).toFloat32();
    const truth = pagedAttention(problem).out;
    const rms = (x: ArrayLike<number>) =>
      Math.sqrt(Array.from(x).reduce((sum, each) => sum + each * each, 0) / x.length);
    const relative = rms(truth.map((x, n) => x - out[n])) / rms(truth);
    expect(relative).toBeLessThan(codes === 'int8' ? 0.012 : 0.06);
    expect(relative).toBeGreaterThan(1e-4);
  });

  test.each(testedDTypes)('values that are hidden do not coarsen others, %s', async (own) => {
    const shape = { lengths: [[6, 20]] as const, heads: 2, kvHeads: 1, headDim: 32, pageSize: 4 };
    const problem = raggedProblem(shape, { causal: true }, 10);
    const attend = async (factor: number) => {
      const row = (problem.pageTable[0][4] * 4 + 3) * 32; // key 19: seen by the last query alone
      const vPages = Float32Array.from(problem.vPages, (x, n) =>
        n >= row && n < row + 32 ? factor * x : x,
      );
      const call = quantizedProblem({ ...problem, vPages }, codes, own);
      const options = { ...call.options, numSplits: 1 };
      return flashAttentionRagged(call.q, call.kPages, call.vPages, options).toFloat32();
    };
    const [plain, large] = [await attend(1), await attend(1e4)];
    expect(large.subarray(0, 5 * 64)).toEqual(plain.subarray(0, 5 * 64));
    expect(large.subarray(5 * 64)).not.toEqual(plain.subarray(5 * 64));
  });

  // 12 rows of a kv head, and more than the decode kernel takes.
  test.each([2, 4])('NaN or infinity reaches who sees it, nobody else: %d heads', async (heads) => {
    const shape = { lengths: [[6, 20]] as const, heads, kvHeads: 1, headDim: 32, pageSize: 4 };
    const problem = raggedProblem(shape, { causal: true }, 8);
    const { kPages, vPages, q, options } = quantizedProblem(problem, codes, dtype);
    for (const bad of [Number.NaN, Infinity]) {
      for (const where of ['k', 'v'] as const) {
        const row = Float32Array.from(normals(32, 1));
        const [k, v] = [row.slice(), row.slice()];
        (where === 'k' ? k : v)[5] = bad;
        const slot = problem.pageTable[0][4] * 4 + 1; // key 17: seen by queries 3, 4 and 5
        const { kScales, vScales } = options;
        const copy = (t?: Tensor) => (t as Tensor).contiguous().to(t?.dtype ?? 'float32');
        const pages = [kPages, vPages, kScales, vScales].map(copy);
        const after = appendKv(tensor(k, [1, 1, 32]), tensor(v, [1, 1, 32]), pages[0], pages[1], {
          slots: [slot],
          kScales: pages[2],
          vScales: pages[3],
        });
        for (const numSplits of [1, 2]) {
          const { out, lse } = flashAttentionRagged(q, after.kPages, after.vPages, {
            ...options,
            kScales: after.kScales,
            vScales: after.vScales,
            numSplits,
            returnLse: true,
          });
          const values = await out.toFloat32();
          for (let n = 0; n < 6 * heads; n++) {
            const row = values.subarray(n * 32, (n + 1) * 32);
            const seen = Math.floor(n / heads) >= 3;
            expect(row.every((x) => Number.isNaN(x) === seen)).toBe(true);
          }
          const sums = await lse.toFloat32();
          const nan = Array.from({ length: 6 * heads }, (_, n) => where === 'k' && n % 6 >= 3);
          expect(Array.from(sums, (x) => Number.isNaN(x))).toEqual(nan);
        }
      }
    }
  });

  describe('with a fixed numSplits the bits of a sequence are its own', () => {
    const width = 4 * 32;
    async function bits(lengths: RaggedShape['lengths'], more: Partial<RaggedAttentionOptions>) {
      const [rows, keys] = lengths[lengths.length - 1];
      const shape = { lengths, heads: 4, kvHeads: 2, headDim: 32, pageSize: 16 };
      const problem = raggedProblem(shape, {}, lengths.length, dtype);
      const total = problem.q.length / width;
      const q = problem.q.slice();
      q.set(normals(rows * width, 91, dtype), (total - rows) * width);
      const own = normals(keys * 64, 92);
      const put = (data: ArrayLike<number>) => {
        const result = Float32Array.from(data);
        for (let j = 0; j < keys; j++) {
          const page = problem.pageTable[lengths.length - 1][Math.floor(j / 16)];
          result.set(own.subarray(j * 64, (j + 1) * 64), (page * 16 + (j % 16)) * 64);
        }
        return result;
      };
      const same = { ...problem, q, kPages: put(problem.kPages), vPages: put(problem.vPages) };
      const call = quantizedProblem(same, codes, dtype);
      const out = flashAttentionRagged(call.q, call.kPages, call.vPages, {
        ...call.options,
        ...more,
      });
      const values = (await out.toFloat32()).slice((total - rows) * width);
      return createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
    }

    test.each([
      ['a decoding row, 1 split', [1, 260], { numSplits: 1 }],
      ['a decoding row, 4 splits', [1, 260], { numSplits: 4 }],
      ['a chunk', [40, 150], { numSplits: 1, causal: true }],
    ] as const)('%s', async (_, own, more) => {
      const alone = await bits([own], more);
      const others: RaggedShape['lengths'][] = [
        [[60, 300]],
        Array.from({ length: sized(31, 5) }, (_, n) => [1 + (n % 3), 10 * n + 3] as const),
      ];
      for (const beside of others) expect(await bits([...beside, own], more)).toBe(alone);
    });
  });

  test('explain counts the bytes of codes and scales', () => {
    const problem = raggedProblem({ ...mixed, lengths: [[1, 48]] }, {}, 3);
    const wide = raggedCall(problem, 'float32');
    const { q, kPages, vPages, options } = quantizedProblem(problem, codes, 'float32');
    const difference =
      explain(wide.q, wide.kPages, wide.vPages, wide.options).bytes -
      explain(q, kPages, vPages, options).bytes;
    expect(difference).toBe(48 * 2 * ((40 + 24) * 3 - 8));
  });
});

describe('queries wider than pages', () => {
  test.each(['float16', 'bfloat16'] as const)('float32 over %s', async (dtype) => {
    for (const headDim of [40, 64]) {
      const problem = raggedProblem({ ...mixed, headDim }, { causal: true }, 9, dtype);
      const { kPages, vPages, options } = raggedCall(problem, dtype);
      const own = normals(problem.q.length, 50);
      const q = tensor(own, [own.length / (4 * headDim), 4, headDim]);
      for (const numSplits of [1, 3]) {
        const all = { ...options, numSplits, returnLse: true } as const;
        const { out, lse } = flashAttentionRagged(q, kPages, vPages, all);
        expect(out.dtype).toBe('float32');
        const truth = pagedAttention({ ...problem, q: own });
        expect(maxError(await out.toFloat32(), truth.out)).toBeLessThan(1e-5);
        expect(maxError(await lse.toFloat32(), truth.lse)).toBeLessThan(1e-5);
      }
    }
  });
});

describe('bad input', () => {
  const problem = raggedProblem({ ...mixed, lengths: [[2, 8]] }, {}, 7);
  const { q, kPages, vPages, options } = quantizedProblem(problem, 'int8', 'float32');
  const { kScales, vScales } = options;
  const [count] = kPages.shape;
  const other = zeros([count, 16, 2]);

  test.each<[string, object, string, string]>([
    ['no scales', { kScales: undefined, vScales: undefined }, 'ERR_OPTION', 'options.kScales'],
    ['no scales of v', { vScales: undefined }, 'ERR_OPTION', 'options.vScales'],
    ['scales that are none', { kScales: 3 }, 'ERR_TYPE', 'options.kScales'],
    ['null', { vScales: null }, 'ERR_TYPE', 'options.vScales'],
    ['scales of another dtype', { kScales: other.to('float16') }, 'ERR_DTYPE', 'options.kScales'],
    ['scales of fewer pages', { kScales: zeros([1, 16, 2]) }, 'ERR_SHAPE', 'options.kScales'],
    ['scales of other heads', { vScales: zeros([count, 16, 4]) }, 'ERR_SHAPE', 'options.vScales'],
    ['scales of 4 axes', { vScales: zeros([count, 16, 2, 1]) }, 'ERR_SHAPE', 'options.vScales'],
    ['scales elsewhere', { kScales: elsewhere(other) }, 'ERR_DEVICE', 'options.kScales'],
    ['scales of float8 calls', { scales: {} }, 'ERR_OPTION', 'options.scales'],
  ])('attention: %s', (_, more, code, argument) => {
    const given = wrong({ ...options, ...more });
    expectThrow(() => flashAttentionRagged(q, kPages, vPages, given), wrong(code), argument);
  });

  test('attention: dtypes and scales that do not fit each other', () => {
    const attend = (a: Tensor, b: Tensor, c: Tensor, more: object) => () =>
      flashAttentionRagged(a, b, c, { ...options, ...more });
    const plain = raggedCall(problem, 'float32');
    const none = { kScales: undefined, vScales: undefined };
    expectThrow(attend(q, plain.kPages, plain.vPages, {}), 'ERR_OPTION', 'options.kScales');
    expectThrow(attend(q, kPages, plain.vPages, {}), 'ERR_DTYPE', 'kPages');
    expectThrow(attend(q, plain.kPages, vPages, none), 'ERR_DTYPE', 'vPages');
    const codes = zeros(q.shape, { dtype: 'int8' });
    expectThrow(attend(codes, kPages, vPages, {}), 'ERR_DTYPE', 'q');
    const float8 = zeros(q.shape, { dtype: 'float8_e4m3' });
    expectThrow(attend(float8, kPages, vPages, {}), 'ERR_DTYPE', 'kPages');
  });

  const [k, v] = [zeros([2, 2, 40]), zeros([2, 2, 24])];
  test.each<[string, object, string, string]>([
    ['one alone', { vScales: undefined }, 'ERR_OPTION', 'options.vScales'],
    ['the other alone', { kScales: undefined }, 'ERR_OPTION', 'options.kScales'],
    ['neither, with floats', { kScales: undefined, vScales: undefined }, 'ERR_DTYPE', 'k'],
    ['no tensor', { kScales: [1] }, 'ERR_TYPE', 'options.kScales'],
    ['another dtype', { kScales: other.to('bfloat16') }, 'ERR_DTYPE', 'options.kScales'],
    ['another shape', { vScales: zeros([count, 16, 1]) }, 'ERR_SHAPE', 'options.vScales'],
    ['one place', { vScales: kScales }, 'ERR_OPTION', 'options.vScales'],
    [
      'one place for all',
      { kScales: zeros([1, 1, 1]).expand([count, 16, 2]) },
      'ERR_SHAPE',
      'options.kScales',
    ],
    ['elsewhere', { kScales: elsewhere(other) }, 'ERR_DEVICE', 'options.kScales'],
  ])('appendKv: scales: %s', (_, more, code, argument) => {
    const given = wrong({ slots: [0, 1], kScales, vScales, ...more });
    expectThrow(() => appendKv(k, v, kPages, vPages, given), wrong(code), argument);
  });

  test('appendKv: what does not go together', () => {
    const slots = [0, 1];
    const [wideK, wideV] = [zeros([count, 16, 2, 40]), zeros([count, 16, 2, 24])];
    const scaled = { slots, kScales, vScales };
    expectThrow(() => appendKv(k, v, wideK, wideV, scaled), 'ERR_OPTION', 'options.kScales');
    const [k8, v8] = [k, v].map(({ shape }) => zeros(shape, { dtype: 'int8' }));
    expectThrow(() => appendKv(k8, v8, kPages, vPages, scaled), 'ERR_DTYPE', 'k');
    expectThrow(() => appendKv(k8, v, kPages, vPages, { slots }), 'ERR_DTYPE', 'v');
    expectThrow(() => appendKv(k8, v8, wideK, wideV, { slots }), 'ERR_DTYPE', 'k');
    const tables = { cos: zeros([4, 4]), sin: zeros([4, 4]), positions: slots };
    const turned = { slots, rotary: tables };
    expectThrow(() => appendKv(k8, v8, kPages, vPages, turned), 'ERR_OPTION', 'options.rotary');
    const gone = zeros([count, 16, 2]);
    gone.dispose();
    const disposed = { ...scaled, kScales: gone };
    expectThrow(() => appendKv(k, v, kPages, vPages, disposed), 'ERR_DISPOSED', 'options.kScales');
    const part = (kScales as Tensor)
      .reshape([count * 16, 2, 1])
      .slice([0, 2])
      .expand([2, 2, 40]);
    expectThrow(() => appendKv(part, v, kPages, vPages, scaled), 'ERR_OPTION', 'k');
  });

  test('the reference', () => {
    const rows = new Float32Array(6);
    expectThrow(() => quantizedCache(wrong([1]), 1, 'int8'), 'ERR_TYPE', 'rows');
    expectThrow(() => quantizedCache(rows, 4, 'int8'), 'ERR_SHAPE', 'rows');
    expectThrow(() => quantizedCache(rows, 0, 'int8'), 'ERR_SHAPE', 'dim');
    expectThrow(() => quantizedCache(rows, 3, wrong('int4')), 'ERR_OPTION', 'dtype');
    const quantized = quantizedCache(rows, 3, 'int8');
    expect(dequantizedCache(quantized)).toEqual(new Float64Array(6));
    expectThrow(() => dequantizedCache({ ...quantized, dim: 1.5 }), 'ERR_SHAPE', 'dim');
  });
});
