import { createHash } from 'node:crypto';
import fc from 'fast-check';
import {
  flashAttentionPaged,
  flashAttentionVarlen,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/index.js';
import { flashAttentionRagged } from '../../lib/serving/index.js';
import { onSimt, sized } from '../support/device.js';
import { expectThrow, wrong } from '../support/expect-error.js';
import { floatDTypes, maxError, normals, testedDTypes } from '../support/numerics.js';
import {
  attendRagged,
  cumulative,
  expectRagged,
  mixed,
  raggedCall,
  type RaggedOptions,
  raggedProblem,
  type RaggedShape,
} from '../support/pages.js';

const cases: [string, RaggedOptions][] = [
  ['plain', {}],
  ['causal', { causal: true }],
  ['window and sink tokens', { window: [9, 0], sinkTokens: 3 }],
  ['softcap, scale', { softcap: 2, scale: 0.5, causal: true }],
  ['sinks', { sinks: [0, 1, -1, 2], causal: true }],
  ['ALiBi', { alibiSlopes: [0.5, 0.25, 0.125, 0.1], causal: true }],
  [
    'ALiBi of each sequence',
    { alibiSlopes: Array.from({ length: 28 }, (_, n) => n / 28), causal: true },
  ],
];

describe.each(testedDTypes)('%s', (dtype) => {
  test.each(cases)('%s', async (_, options) => {
    await expectRagged(raggedProblem(mixed, options, 3, dtype), dtype);
  });

  test('a head dim of whole vectors, keys in splits', async () => {
    const shape = { ...mixed, headDim: 64, headDimV: 64 };
    const problem = raggedProblem(shape, { causal: true }, 4, dtype);
    for (const numSplits of [1, 3, 'auto'] as const) {
      await expectRagged(problem, dtype, { numSplits });
    }
  });
});

test.each(testedDTypes)('%s: one long sequence among short ones', async (dtype) => {
  const long = sized(3000, 1200);
  const shape = {
    ...mixed,
    ...{ headDim: 64, headDimV: 64 },
    lengths: [
      [1, 7],
      [2, long],
      [0, 3],
      [40, 60],
      [1, 0],
      [1, 50],
    ] as const,
  };
  const problem = raggedProblem(shape, { causal: true }, 6, dtype);
  for (const numSplits of [2, 'auto'] as const) await expectRagged(problem, dtype, { numSplits });
});

const shapes = fc.record({
  lengths: fc.array(
    fc.tuple(
      fc.oneof(fc.constant(1), fc.integer({ min: 0, max: 30 })),
      fc.integer({ min: 0, max: sized(200, 60) }),
    ),
    { minLength: 1, maxLength: 6 },
  ),
  kvHeads: fc.integer({ min: 1, max: 3 }),
  group: fc.integer({ min: 1, max: 5 }),
  headDim: fc.constantFrom(1, 8, 17, 32, 64, 80, 128),
  headDimV: fc.constantFrom(1, 8, 32, 64, 100),
  pageSize: fc.constantFrom(1, 2, 5, 16, 64, 256),
});
const options = fc.record(
  {
    causal: fc.boolean(),
    window: fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 5 })),
    sinkTokens: fc.integer({ min: 0, max: 5 }),
    softcap: fc.constantFrom(1, 20),
    scale: fc.constantFrom(0.1, -0.3),
  },
  { requiredKeys: [] },
);

test.each([20261129, 20261130])('any shapes and options, seed %i', async (seed) => {
  await fc.assert(
    fc.asyncProperty(
      shapes,
      options,
      fc.constantFrom(...testedDTypes),
      fc.constantFrom<number | 'auto'>('auto', 1, 2, 7),
      async ({ group, ...shape }, given, dtype, numSplits) => {
        const heads = shape.kvHeads * group;
        const problem = raggedProblem({ ...shape, heads }, given, seed % 1000, dtype);
        await expectRagged(problem, dtype, { numSplits });
      },
    ),
    { numRuns: sized(60, 12), seed },
  );
});

test('equals the paged call where all sequences have as many queries', async () => {
  const shape = {
    ...mixed,
    lengths: [
      [6, 30],
      [6, 0],
      [6, 41],
    ] as const,
  };
  for (const dtype of floatDTypes) {
    const { q, kPages, vPages, options } = raggedCall(
      raggedProblem(shape, { causal: true }, 5, dtype),
      dtype,
    );
    const { cuSeqlensQ: _, ...paged } = options;
    const batched = q.reshape([3, 6, shape.heads, shape.headDim]);
    const expected = flashAttentionPaged(batched, kPages, vPages, { ...paged, numSplits: 2 });
    const out = flashAttentionRagged(q, kPages, vPages, { ...options, numSplits: 2 });
    expect(out.shape).toEqual([18, shape.heads, 24]);
    expect(await out.toFloat32()).toEqual(await expected.toFloat32());
  }
});

test('dropout and splits are those of packed keys', async () => {
  const lengths = [
    [1, 20],
    [9, 33],
  ] as const;
  const shape = { ...mixed, headDimV: 40, lengths, pageSize: 1 };
  const problem = raggedProblem(shape, {}, 6);
  const { q, kPages, vPages, options } = raggedCall(problem, 'float32');
  const dropout = { p: 0.3, seed: 7n };
  const slots = problem.pageTable.flatMap((row, b) => Array.from(row).slice(0, lengths[b][1]));
  const packed = (pages: ArrayLike<number>) =>
    tensor(
      Float32Array.from(
        slots.flatMap((slot) => Array.from(pages).slice(slot * 80, (slot + 1) * 80)),
      ),
      [slots.length, 2, 40],
    );
  const expected = flashAttentionVarlen(q, packed(problem.kPages), packed(problem.vPages), {
    cuSeqlensQ: problem.cuSeqlensQ as number[],
    cuSeqlensK: cumulative(lengths.map(([, keys]) => keys)),
    dropout,
  });
  const out = flashAttentionRagged(q, kPages, vPages, { ...options, dropout });
  expect(maxError(await out.toFloat32(), await expected.toFloat32())).toBeLessThan(2e-6);
});

test.each(['bool', 'float32'] as const)(
  'a %s mask: row by row of the packed queries',
  async (kind) => {
    const lengths = [
      [6, 30],
      [6, 47],
    ] as const;
    const problem = raggedProblem({ ...mixed, lengths }, {}, 8, 'float16');
    const { q, kPages, vPages, options } = raggedCall(problem, 'float16');
    const keys = problem.pageTable[0].length * 16;
    const random = normals(12 * 4 * keys, 3);
    const data =
      kind === 'bool'
        ? Uint8Array.from(random, (x) => (x > -0.5 ? 1 : 0))
        : Float32Array.from(random);
    const mask = tensor(data, [4, 12, keys], { dtype: kind });
    const { cuSeqlensQ: _, ...paged } = options;
    const expected = flashAttentionPaged(q.reshape([2, 6, 4, 40]), kPages, vPages, {
      ...paged,
      mask: mask.reshape([4, 2, 6, keys]).transpose(1, 0, 2, 3),
      numSplits: 1,
    });
    const out = flashAttentionRagged(q, kPages, vPages, { ...options, mask, numSplits: 1 });
    expect(await out.toFloat32()).toEqual(await expected.toFloat32());
  },
);

test('bad input', () => {
  const { q, kPages, vPages, options } = raggedCall(
    raggedProblem({ ...mixed, lengths: [[2, 8]] }, {}, 7),
    'float32',
  );
  const [first, second] = [kPages, vPages].map((pages) => pages.to('float16'));
  for (const [more, code, argument] of [
    [{ cuSeqlensQ: undefined }, 'ERR_TYPE', 'options.cuSeqlensQ'],
    [{ cuSeqlensQ: [0, 3] }, 'ERR_SHAPE', 'options.cuSeqlensQ'],
    [{ cuSeqlensQ: [1, 2] }, 'ERR_SHAPE', 'options.cuSeqlensQ'],
    [{ cuSeqlensQ: [0, 1, 2] }, 'ERR_SHAPE', 'options.pageTable'],
    [{ maxSeqlenQ: 1 }, 'ERR_OPTION', 'options.maxSeqlenQ'],
    [{ maxSeqlenQ: '2' }, 'ERR_TYPE', 'options.maxSeqlenQ'],
    [{ pageTable: [[99]] }, 'ERR_SHAPE', 'options.pageTable'],
    [{ pageTable: [[99], [0]] }, 'ERR_SHAPE', 'options.pageTable'],
    [{ pageTable: 3 }, 'ERR_TYPE', 'options.pageTable'],
    [{ seqlensK: [9, 9] }, 'ERR_SHAPE', 'options.seqlensK'],
    [{ seqlensK: [1e6] }, 'ERR_SHAPE', 'options.seqlensK'],
    [{ mask: zeros([3, 8], { dtype: 'bool' }) }, 'ERR_SHAPE', 'options.mask'],
    [{ blockMask: 1 }, 'ERR_OPTION', 'options.blockMask'],
    [{ layout: 'bshd' }, 'ERR_OPTION', 'options.layout'],
    [{ causal: 1 }, 'ERR_TYPE', 'options.causal'],
  ] as const) {
    const given = wrong({ ...options, ...more });
    expectThrow(() => flashAttentionRagged(q, kPages, vPages, given), code, argument);
  }
  const call = (a: Tensor, b: Tensor, c: Tensor) => flashAttentionRagged(a, b, c, options);
  expectThrow(() => call(q.reshape([1, 2, 4, 40]), kPages, vPages), 'ERR_SHAPE', 'q');
  expectThrow(() => call(q, first, vPages), 'ERR_DTYPE', 'kPages');
  expectThrow(() => call(q.to('float16'), kPages, vPages), 'ERR_DTYPE', 'kPages');
  expectThrow(() => call(q.to('bfloat16'), first, second), 'ERR_DTYPE', 'kPages');
});

test('rows past the last sequence are 0, and see nothing', async () => {
  const problem = raggedProblem({ ...mixed, lengths: [[2, 8]] }, {}, 7);
  const { q: _, kPages, vPages, options } = raggedCall(problem, 'float32');
  const q = tensor(normals(5 * 160, 1), [5, 4, 40]);
  const { out, lse } = flashAttentionRagged(q, kPages, vPages, { ...options, returnLse: true });
  const values = await out.toFloat32();
  expect(values.subarray(2 * 96).every((x) => x === 0)).toBe(true);
  expect(values.subarray(0, 2 * 96).every((x) => x !== 0)).toBe(true);
  const sums = await lse.toFloat32();
  expect(Array.from(sums, (x) => x === -Infinity)).toEqual(
    Array.from({ length: 20 }, (_, n) => n % 5 >= 2),
  );
});

describe('with a fixed numSplits the bits of a sequence are its own', () => {
  const digest = (data: Float32Array) =>
    createHash('sha256').update(new Uint8Array(data.slice().buffer)).digest('hex');
  const [heads, headDim, width] = [4, 32, 4 * 32];

  /** Of the last sequence: the bits of its rows and sums. */
  async function bits(
    lengths: RaggedShape['lengths'],
    dtype: 'float32' | 'bfloat16',
    more: object,
  ) {
    const [rows, keys] = lengths[lengths.length - 1];
    const shape = { lengths, heads, kvHeads: 2, headDim, pageSize: 16 };
    const problem = raggedProblem(shape, {}, lengths.length, dtype);
    const own = { q: normals(rows * width, 91, dtype), kv: normals(keys * 64, 92, dtype) };
    const total = problem.q.length / width;
    const q = problem.q.slice();
    q.set(own.q, (total - rows) * width);
    const put = (pages: ArrayLike<number>) => {
      const result = Float32Array.from(pages);
      for (let j = 0; j < keys; j++) {
        const page = problem.pageTable[lengths.length - 1][Math.floor(j / 16)];
        result.set(own.kv.subarray(j * 64, (j + 1) * 64), (page * 16 + (j % 16)) * 64);
      }
      return result;
    };
    const same = { ...problem, q, kPages: put(problem.kPages), vPages: put(problem.vPages) };
    const { out, lse } = attendRagged(same, dtype, more);
    const [values, sums] = [await out.toFloat32(), await lse.toFloat32()];
    for (const t of [out, lse]) t.dispose();
    return {
      out: digest(values.subarray((total - rows) * width)),
      lse: Array.from({ length: heads }, (_, h) =>
        digest(sums.subarray((h + 1) * total - rows, (h + 1) * total)),
      ),
    };
  }

  const beside: RaggedShape['lengths'][] = [
    [],
    [[1, 5]],
    [[60, 300]],
    [
      [1, 700],
      [33, 33],
      [0, 50],
      [2, 0],
    ],
    Array.from({ length: sized(31, 9) }, (_, n) => [1 + (n % 3), 10 * n + 3] as const),
  ];

  test.each([
    ['a decoding row, 1 split', [1, 260], { numSplits: 1 }],
    ['a decoding row, 4 splits', [1, 260], { numSplits: 4 }],
    ['a decoding row in a window', [1, 260], { numSplits: 3, causal: true, window: [200, 0] }],
    ['a chunk', [40, 150], { numSplits: 1, causal: true }],
    ['a chunk in splits', [40, 150], { numSplits: 4, causal: true }],
  ] as const)('%s', async (_, own, more) => {
    for (const dtype of ['float32', 'bfloat16'] as const) {
      if (onSimt && dtype === 'float32') continue;
      const alone = await bits([own], dtype, more);
      for (const others of beside) {
        expect(await bits([...others, own], dtype, more)).toEqual(alone);
      }
    }
  });
});
