// Pages in 8 bits whose scales somebody has found beforehand, one per kv head: what is written by
// them, attention over it, and caches that have them.
import fc from 'fast-check';
import { quantize, type Tensor, tensor, zeros } from '../../lib/index.js';
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
  KvCache,
  type KvCacheOptions,
  type Sequence,
} from '../../lib/serving/index.js';
import { elsewhere } from '../support/bad-options.js';
import { appendedCodes, codeDTypes, unwritten } from '../support/codes.js';
import { onSimtHopper, sized, testIf } from '../support/device.js';
import { expectThrow, thrownBy, wrong } from '../support/expect-error.js';
import { bound, maxError, normals, testedDTypes } from '../support/numerics.js';
import { mixed, raggedCall, raggedProblem, shuffled } from '../support/pages.js';
import { rotaryTables } from '../support/rotary-tables.js';

const testOnHopper = testIf(onSimtHopper, 'kernels of float8 queries are those of Hopper');

describe('appended', () => {
  const cases = fc.record({
    ...appendedCodes,
    one: fc.boolean(),
    wide: fc.constantFrom(0.002, 0.03, 1),
  });

  test.each([7, 8])(
    'slots hold the codes of the reference, no other does; seed %i',
    async (seed) => {
      await fc.assert(
        fc.asyncProperty(
          cases,
          async ({ pages, pageSize, kvHeads, dim, dimV, codes, ...given }) => {
            const { from, fromV, turned, one, wide } = given;
            const total = Math.min(given.total, pages * pageSize);
            const slots = shuffled(pages * pageSize, seed + total).slice(0, total);
            const k = normals(total * kvHeads * dim, seed, from);
            const v = normals(total * kvHeads * dimV, 9, fromV);
            const scalesOf = (factor: number) =>
              Float32Array.from({ length: one ? 1 : kvHeads }, (_, head) => wide * (factor + head));
            const scales = [scalesOf(1), scalesOf(1.3)];
            const pairs = Math.ceil(dim / 4);
            const tables = rotaryTables(100, pairs);
            const positions = slots.map((slot) => slot % 100);
            const turn = { positions, interleaved: turned === true, rotaryOffset: dim - 2 * pairs };
            const before = [dim, dimV].map((d) =>
              tensor(
                unwritten(codes, pages * pageSize * kvHeads * d),
                [pages, pageSize, kvHeads, d],
                {
                  dtype: codes,
                },
              ),
            );
            const [kScales, vScales] = scales.map((each) => tensor(each, [each.length]));
            const after = appendKv(
              tensor(k, [total, kvHeads, dim], { dtype: from }),
              tensor(v, [total, kvHeads, dimV], { dtype: fromV }),
              before[0],
              before[1],
              {
                ...{ slots, kScales, vScales },
                ...(turned !== undefined && {
                  rotary: {
                    cos: tensor(tables.cos, [100, pairs]),
                    sin: tensor(tables.sin, [100, pairs]),
                    ...turn,
                  },
                }),
              },
            );
            expect(Object.keys(after)).toEqual(['kPages', 'vPages']);
            const sizes = { tokens: total, heads: kvHeads, headDim: dim };
            const options = { ...tables, ...turn, rotaryDim: 2 * pairs };
            const tokens = turned === undefined ? k : Float32Array.from(rotary(k, sizes, options));
            for (const [n, [got, values, d]] of (
              [
                [after.kPages, tokens, dim],
                [after.vPages, v, dimV],
              ] as const
            ).entries()) {
              const perHead = Float32Array.from({ length: kvHeads }, (_, head) =>
                one ? scales[n][0] : scales[n][head],
              );
              const rows = quantizedCache(values, d, codes, perHead);
              const expected = unwritten(codes, pages * pageSize * kvHeads * d);
              slots.forEach((slot, t) => {
                const width = kvHeads * d;
                expected.set(rows.codes.subarray(t * width, (t + 1) * width), slot * width);
              });
              expect(await got.data()).toEqual(expected);
            }
            expect(await kScales.data()).toEqual(scales[0]);
            expect(await vScales.data()).toEqual(scales[1]);
          },
        ),
        { numRuns: sized(80, 15), seed },
      );
    },
  );

  test.each(codeDTypes)('%s: what is beyond the range saturates', async (codes) => {
    const x = [0, -0, 1, -1, 0.25, 0.75, 1.25, -63.25, 63.5, 63.75, 64, -64, 223.9, 224, 225, -1e9];
    const extreme = [3.4e38, -3.4e38, Infinity, -Infinity, Number.NaN, 1e-45, -1e-30, 0.5];
    const rows = Float32Array.from([...x, ...extreme]);
    const width = 8;
    const count = rows.length / width;
    const tokens = tensor(rows, [count, 1, width]);
    const slots = Array.from({ length: count }, (_, t) => t);
    for (const scale of [0.5, 1e-30, 1e30, 2 ** -140]) {
      const scales = tensor([scale], [1]);
      const pages = () => zeros([1, 4, 1, width], { dtype: codes });
      const { kPages, vPages } = appendKv(tokens, tokens, pages(), pages(), {
        ...{ slots, kScales: scales, vScales: scales },
      });
      const expected = quantizedCache(rows, width, codes, Float32Array.of(scale));
      for (const got of [kPages, vPages]) {
        expect((await got.data()).slice(0, rows.length)).toEqual(expected.codes);
      }
      if (scale !== 0.5) continue;
      const stands = dequantizedCache(expected);
      const largest = codes === 'int8' ? 63.5 : 224;
      expect(Math.max(...stands.filter((each) => !Number.isNaN(each)))).toBe(largest);
      expect(stands[17]).toBe(-largest);
      expect(stands[18]).toBe(largest);
      expect(stands[20]).toBe(codes === 'int8' ? 0 : Number.NaN);
    }
  });

  test.each(codeDTypes)('%s: by scales that are not positive codes are 0', async (codes) => {
    const tokens = tensor([1, -2, 3, 4], [1, 4, 1]);
    const scales = tensor([0, -1, Number.NaN, 2], [4]);
    const pages = () => tensor(unwritten(codes, 4), [1, 1, 4, 1], { dtype: codes });
    const options = { slots: [0], kScales: scales, vScales: scales };
    const { kPages } = appendKv(tokens, tokens, pages(), pages(), options);
    const two = quantizedCache(Float32Array.of(4), 1, codes, Float32Array.of(2)).codes[0];
    expect(Array.from(await kPages.data())).toEqual([0, 0, 0, two]);
  });
});

/** A ragged problem whose pages have codes by static scales, some of which saturate. */
function staticProblem(codes: CodeDType, lengths = mixed.lengths, seed = 3) {
  const problem = raggedProblem({ ...mixed, lengths }, { causal: true }, seed);
  const { heads, kvHeads = heads, headDim, headDimV = headDim } = problem.shape;
  const factor = codes === 'int8' ? 1 : 127 / 448;
  const [k, v] = [
    [0.02, 0.025],
    [0.03, 0.018],
  ].map((pair) => Float32Array.from(pair, (each) => each * factor));
  const rows = [
    quantizedCache(problem.kPages, headDim, codes, k),
    quantizedCache(problem.vPages, headDimV, codes, v),
  ];
  const [kStands, vStands] = rows.map(dequantizedCache);
  const { kPages, vPages } = raggedCall(problem, 'float32');
  const pages = [kPages, vPages].map(({ shape }, n) =>
    tensor(rows[n].codes, shape, { dtype: codes }),
  );
  const [kScales, vScales] = [k, v].map((each) => tensor(each, [kvHeads]));
  return { problem: { ...problem, kPages: kStands, vPages: vStands }, pages, kScales, vScales };
}

describe.each(codeDTypes)('attention over pages of %s', (codes) => {
  test.each(testedDTypes)('queries of %s, scales per head', async (dtype) => {
    const { problem, pages, kScales, vScales } = staticProblem(codes);
    const { q, options } = raggedCall(problem, dtype);
    const attend = (k: Tensor, v: Tensor, numSplits: number | 'auto') =>
      flashAttentionRagged(q, pages[0], pages[1], {
        ...{ ...options, kScales: k, vScales: v, numSplits, returnLse: true },
      });
    const rounded = { ...problem, q: await q.toFloat32() };
    const truth = pagedAttention(rounded);
    const standard = pagedAttention(rounded, { precision: dtype });
    for (const numSplits of [1, 3, 'auto'] as const) {
      const { out, lse } = attend(kScales, vScales, numSplits);
      const values = await out.toFloat32();
      expect(maxError(values, truth.out)).toBeLessThanOrEqual(bound(standard.out, truth.out));
      const logs = await lse.toFloat32();
      expect(maxError(logs, truth.lse)).toBeLessThanOrEqual(bound(standard.lse, truth.lse));
      // As if each row had them.
      const [count, pageSize, heads] = pages[0].shape;
      const each = (of: Tensor) => of.reshape([1, 1, heads]).expand([count, pageSize, heads]);
      const repeated = attend(each(kScales), each(vScales).contiguous(), numSplits);
      expect(await repeated.out.toFloat32()).toEqual(values);
    }
    const one = tensor([0.02], [1]);
    const all = one.expand([pages[0].shape[2]]);
    expect(await attend(one, one, 1).out.toFloat32()).toEqual(
      await attend(all, all, 1).out.toFloat32(),
    );
  });
});

// 12 rows of a kv head, and more than the decode kernel takes.
test.each([2, 4])('NaN in float8 reaches who sees it, nobody else: %d heads', async (heads) => {
  const dtype = testedDTypes[testedDTypes.length - 1];
  const scales = tensor([0.01], [1]);
  for (const where of ['k', 'v'] as const) {
    const row = (seed: number, own: boolean) => {
      const values = Float32Array.from(normals(6 * 32, seed));
      if (own) values[3 * 32 + 5] = Number.NaN; // of token 3, seen by queries 3, 4 and 5
      return tensor(values, [6, 1, 32]);
    };
    const pages = () => zeros([2, 4, 1, 32], { dtype: 'float8_e4m3' });
    const [k, v] = [row(1, where === 'k'), row(2, where === 'v')];
    const options = { slots: [0, 1, 2, 3, 4, 5], kScales: scales, vScales: scales };
    const { kPages, vPages } = appendKv(k, v, pages(), pages(), options);
    const q = tensor(normals(6 * heads * 32, 3), [6, heads, 32], { dtype });
    for (const numSplits of [1, 2]) {
      const out = flashAttentionRagged(q, kPages, vPages, {
        ...{ cuSeqlensQ: [0, 6], pageTable: [[0, 1]], seqlensK: [6], causal: true, numSplits },
        ...{ kScales: scales, vScales: scales },
      });
      const values = await out.toFloat32();
      for (let n = 0; n < 6 * heads; n++) {
        const row = values.subarray(n * 32, (n + 1) * 32);
        const seen = Math.floor(n / heads) >= 3;
        const nan = Array.from(row, (x, d) => Number.isNaN(x) && (where === 'k' || d === 5));
        expect(nan.some((each) => each)).toBe(seen);
        expect(row.filter((x) => Number.isNaN(x)).length).toBe(!seen ? 0 : where === 'k' ? 32 : 1);
      }
    }
  }
});

testOnHopper(
  'float8 queries over what was appended, as over codes that were made elsewhere',
  async () => {
    const [heads, dim, tokens] = [2, 64, 40];
    const shape = [6, 8, heads, dim];
    const first = 8; // slot of token 0
    const slots = Array.from({ length: tokens }, (_, t) => first + t);
    const scales = [Float32Array.of(0.01, 0.008), Float32Array.of(0.009, 0.011)];
    const rows = [2, 3].map((seed) => normals(tokens * heads * dim, seed));
    const [kScales, vScales] = scales.map((each) => tensor(each, [heads]));
    const empty = () => zeros(shape, { dtype: 'float8_e4m3' });
    const [k, v] = rows.map((each) => tensor(each, [tokens, heads, dim]));
    const appended = appendKv(k, v, empty(), empty(), { slots, kScales, vScales });
    const made = rows.map((each, n) => {
      const all = new Uint8Array(6 * 8 * heads * dim);
      all.set(quantizedCache(each, dim, 'float8_e4m3', scales[n]).codes, first * heads * dim);
      return tensor(all, shape, { dtype: 'float8_e4m3' });
    });
    const q = tensor(normals(tokens * heads * dim, 1), [tokens, heads, dim], { dtype: 'bfloat16' });
    const q8 = quantize(q, 'float8_e4m3', { per: 'block', cuSeqlens: [0, tokens] });
    const attend = (kPages: Tensor, vPages: Tensor) =>
      flashAttentionRagged(q8.values, kPages, vPages, {
        ...{ cuSeqlensQ: [0, tokens], pageTable: [[1, 2, 3, 4, 5]], seqlensK: [tokens] },
        ...{ causal: true, scales: { q: q8.scales, k: kScales, v: vScales } },
      }).toFloat32();
    const out = await attend(appended.kPages, appended.vPages);
    expect(out).toEqual(await attend(made[0], made[1]));
    expect(out.some((each) => each !== 0)).toBe(true);
  },
);

describe('a cache', () => {
  const [layers, kvHeads, heads, headDim, headDimV] = [2, 2, 4, 32, 16];
  const scales = { k: [0.02, 0.03, 0.015, 0.02], v: Float32Array.of(0.03, 0.02, 0.01, 0.025) };
  const shape: KvCacheOptions = {
    ...{ layers, numPages: 12, pageSize: 4, kvHeads, headDim, headDimV, dtype: 'int8', scales },
  };
  const dtype = testedDTypes[testedDTypes.length - 1];

  /** Tokens `begin` to `end` of a text whose rows are known; what each layer gives. */
  function feed(cache: KvCache, sequence: Sequence, begin: number, end: number): Tensor[] {
    const rows = (count: number, dim: number, seed: number) => {
      const all = normals(40 * count * dim, seed, dtype).subarray(begin * count * dim);
      return tensor(all.slice(0, (end - begin) * count * dim), [end - begin, count, dim], {
        dtype,
      });
    };
    const ids = Array.from({ length: end - begin }, (_, i) => begin + i);
    const step = cache.step([{ sequence, tokens: ids }]);
    const outs = Array.from({ length: layers }, (_, n) =>
      step.attention(
        n,
        rows(heads, headDim, 3 * n),
        rows(kvHeads, headDim, 3 * n + 1),
        rows(kvHeads, headDimV, 3 * n + 2),
        { numSplits: 1 },
      ),
    );
    step.commit();
    return outs;
  }

  test.each(codeDTypes)('of %s: each layer has its scales', async (codes) => {
    const factor = codes === 'int8' ? 1 : 127 / 448;
    const own = {
      k: scales.k.map((each) => each * factor),
      v: Array.from(scales.v, (each) => each * factor),
    };
    using cache = new KvCache({ ...shape, dtype: codes, scales: own });
    const sequence = cache.createSequence();
    const prompt = feed(cache, sequence, 0, 11);
    const fork = sequence.fork(); // of a page that is not full
    const [ofFork, next] = [feed(cache, fork, 11, 12), feed(cache, sequence, 11, 12)];
    for (let n = 0; n < layers; n++) {
      const stands = (['k', 'v'] as const).map((name, i) => {
        const dim = name === 'k' ? headDim : headDimV;
        const rows = normals(40 * kvHeads * dim, 3 * n + 1 + i, dtype).slice(0, 12 * kvHeads * dim);
        const perHead = Float32Array.from(own[name].slice(n * kvHeads, (n + 1) * kvHeads));
        return dequantizedCache(quantizedCache(rows, dim, codes, perHead));
      });
      const problem = {
        shape: { heads, kvHeads, headDim, headDimV, pageSize: 12 },
        q: normals(40 * heads * headDim, 3 * n, dtype).slice(0, 12 * heads * headDim),
        ...{ kPages: stands[0], vPages: stands[1], cuSeqlensQ: [0, 12] },
        ...{ pageTable: [[0]], seqlensK: [12], causal: true },
      };
      const truth = pagedAttention(problem).out;
      const standard = pagedAttention(problem, { precision: dtype }).out;
      const row = heads * headDimV;
      const [first, last] = [await prompt[n].toFloat32(), await next[n].toFloat32()];
      expect(await ofFork[n].toFloat32()).toEqual(last);
      const got = Float32Array.from([...first, ...last]);
      expect(got).toHaveLength(12 * row);
      expect(maxError(got, truth)).toBeLessThanOrEqual(bound(standard, truth));
    }
    for (const each of [sequence, fork]) each.dispose();
    expect(cache.stats().used).toBe(0);
  });

  test('has four bytes for each scale, not for each row', () => {
    using cache = new KvCache(shape);
    const rows = layers * 12 * 4 * kvHeads;
    expect(cache.stats().bytes).toBe(rows * (headDim + headDimV) + layers * kvHeads * 2 * 4);
  });

  test('a saved sequence has them, and is for caches with the same', async () => {
    using cache = new KvCache(shape);
    const sequence = cache.createSequence();
    feed(cache, sequence, 0, 9);
    const bytes = await sequence.save();
    using other = new KvCache({ ...shape, pageSize: 3, numPages: 20 });
    const loaded = other.load(bytes);
    expect(await loaded.save()).toEqual(bytes);
    const [ofLoaded, expected] = [feed(other, loaded, 9, 10), feed(cache, sequence, 9, 10)];
    for (const [n, out] of ofLoaded.entries()) {
      expect(await out.toFloat32()).toEqual(await expected[n].toFloat32());
    }
    using differs = new KvCache({ ...shape, scales: { ...scales, k: [0.02, 0.03, 0.015, 0.021] } });
    const error = thrownBy(() => differs.load(bytes));
    expect(error).toMatchObject({ code: 'ERR_OPTION', argument: 'bytes' });
    expect(error.message).toMatch(/key_scales\.1 0\.0209.* of head 1.*received 0\.019/);
    using rows = new KvCache({ ...shape, scales: undefined });
    expectThrow(() => rows.load(bytes), 'ERR_SHAPE', 'bytes', /key_scales\.0/);
    const ofRows = await rows.createSequence().save();
    expectThrow(() => cache.load(ofRows), 'ERR_SHAPE', 'bytes', /key_scales\.0/);
    expect([differs, rows].map((each) => each.stats().used)).toEqual([0, 0]);
  });

  test.each<[string, object, string, string]>([
    ['of no numbers', { scales: 3 }, 'ERR_TYPE', 'options.scales'],
    ['of k alone', { scales: { k: scales.k } }, 'ERR_TYPE', 'options.scales.v'],
    ['of q', { scales: { ...scales, q: [1] } }, 'ERR_OPTION', 'options.scales.q'],
    ['a tensor', { scales: { ...scales, v: zeros([4]) } }, 'ERR_TYPE', 'options.scales.v'],
    ['of one layer', { scales: { ...scales, k: [1, 1] } }, 'ERR_SHAPE', 'options.scales.k'],
    ['zero', { scales: { ...scales, k: [1, 0, 1, 1] } }, 'ERR_OPTION', 'options.scales.k[1]'],
    [
      'NaN',
      { scales: { ...scales, v: [1, 1, Number.NaN, 1] } },
      'ERR_OPTION',
      'options.scales.v[2]',
    ],
    [
      'too small',
      { scales: { ...scales, v: [1e-50, 1, 1, 1] } },
      'ERR_OPTION',
      'options.scales.v[0]',
    ],
    ['strings', { scales: { ...scales, v: ['x', 1, 1, 1] } }, 'ERR_OPTION', 'options.scales.v[0]'],
    ['of bfloat16', { dtype: 'bfloat16' }, 'ERR_OPTION', 'options.scales'],
  ])('refused: scales %s', (_, more, code, argument) => {
    expectThrow(() => new KvCache(wrong({ ...shape, ...more })), wrong(code), argument);
  });
});

describe('bad input', () => {
  const [k, v] = [zeros([2, 2, 8]), zeros([2, 2, 4])];
  const kPages = zeros([3, 4, 2, 8], { dtype: 'int8' });
  const vPages = zeros([3, 4, 2, 4], { dtype: 'int8' });
  const scales = zeros([2]);
  const rows = zeros([3, 4, 2]);

  test.each<[string, object, string, string]>([
    ['of other heads', { kScales: zeros([3]) }, 'ERR_SHAPE', 'options.kScales'],
    ['of two axes', { kScales: zeros([1, 2]) }, 'ERR_SHAPE', 'options.kScales'],
    [
      'of another dtype',
      { vScales: zeros([2], { dtype: 'float16' }) },
      'ERR_DTYPE',
      'options.vScales',
    ],
    ['beside those of rows', { vScales: rows }, 'ERR_SHAPE', 'options.vScales'],
    ['of rows beside them', { kScales: zeros([3, 4, 2]) }, 'ERR_SHAPE', 'options.vScales'],
    ['elsewhere', { kScales: elsewhere(zeros([2])) }, 'ERR_DEVICE', 'options.kScales'],
    ['alone', { vScales: undefined }, 'ERR_OPTION', 'options.vScales'],
  ])('appendKv: %s', (_, more, code, argument) => {
    const options = wrong({ slots: [0, 1], kScales: scales, vScales: scales, ...more });
    expectThrow(() => appendKv(k, v, kPages, vPages, options), wrong(code), argument);
  });

  test('appendKv: pages that are not in 8 bits, codes', () => {
    const options = { slots: [0, 1], kScales: scales, vScales: scales };
    const wide = [zeros([3, 4, 2, 8]), zeros([3, 4, 2, 4])];
    expectThrow(() => appendKv(k, v, wide[0], wide[1], options), 'ERR_OPTION', 'options.kScales');
    const codes = [k, v].map(({ shape }) => zeros(shape, { dtype: 'int8' }));
    expectThrow(() => appendKv(codes[0], codes[1], kPages, vPages, options), 'ERR_DTYPE', 'k');
  });

  test('attention', () => {
    const q = zeros([1, 2, 8]);
    const attend = (more: object) => () =>
      flashAttentionRagged(q, kPages, vPages, {
        ...{ cuSeqlensQ: [0, 1], pageTable: [[0]], seqlensK: [3] },
        ...{ kScales: scales, vScales: scales, ...more },
      });
    const message = /\[3, 4, 2\].*\[kvHeads\] or \[1\]/;
    expectThrow(attend({ kScales: zeros([3]) }), 'ERR_SHAPE', 'options.kScales', message);
    expectThrow(attend({ vScales: zeros([2, 1]) }), 'ERR_SHAPE', 'options.vScales', message);
    expect(attend({})().shape).toEqual([1, 2, 4]);
    expect(attend({ vScales: rows })().shape).toEqual([1, 2, 4]);
  });
});
