import fc from 'fast-check';
import { tensor, zeros } from '../../lib/index.js';
import { treeMask } from '../../lib/reference/index.js';
import { flashAttentionRagged, packTrees } from '../../lib/serving/index.js';
import { sized } from '../support/device.js';
import { expectThrow, wrong } from '../support/expect-error.js';
import { maxError, testedDTypes } from '../support/numerics.js';
import {
  attendRagged,
  expectRagged,
  type RaggedOptions,
  type RaggedShape,
  raggedCall,
  raggedProblem,
} from '../support/pages.js';
import { uniform } from '../support/random.js';

test('packTrees: bits of the path, positions by depth', () => {
  const { mask, words, positions } = packTrees([
    { queries: 4, keys: 104, parents: [-1, 0, 0, 1] },
    { queries: 1, keys: 9 },
    { queries: 0, keys: 3, parents: [] },
    { queries: 2, keys: 2, parents: [-1, -1] },
  ]);
  expect(words).toBe(1);
  expect(Array.from(positions)).toEqual([100, 101, 101, 102, 8, 0, 0]);
  expect(Array.from(mask, (word) => word >>> 0)).toEqual([1, 3, 5, 11, 0xffffffff, 1, 2]);
});

test('packTrees: as the reference, beyond a word', () => {
  const random = uniform(5);
  const parents = Array.from({ length: 70 }, (_, i) => Math.floor(random() * (i + 1)) - 1);
  const { depths, sees } = treeMask(parents);
  const { mask, words, positions } = packTrees([{ queries: 70, keys: 80, parents }]);
  expect(words).toBe(3);
  expect(Array.from(positions)).toEqual(depths.map((depth) => 10 + depth));
  const bit = (i: number, t: number) => ((mask[i * words + (t >> 5)] >>> (t & 31)) & 1) === 1;
  const bits = parents.map((_, i) => parents.map((_, t) => bit(i, t)));
  expect(bits).toEqual(sees);
});

/** Trees of a few tokens and of many, beside sequences that are none. */
const shape: RaggedShape = {
  lengths: [
    [5, 37],
    [1, 20],
    [2, 90],
    [40, 75],
    [3, 3],
    [80, 130],
  ],
  heads: 4,
  kvHeads: 2,
  headDim: 32,
  pageSize: 16,
};
const random = uniform(9);
const trees = [
  [-1, 0, 0, 1, 1],
  undefined,
  [-1, -1],
  Array.from({ length: 40 }, (_, i) => Math.floor(random() * (i + 1)) - 1),
  [-1, 0, 1],
  undefined, // longer than any tree
];
const cases: [string, RaggedOptions][] = [
  ['causal', { causal: true }],
  ['not causal', {}],
  ['window', { window: [20, 0] }],
  ['a window within the tree, sink tokens', { window: [1, 0], sinkTokens: 2 }],
  ['a window that ends early', { window: [30, -1] }],
  ['ALiBi', { causal: true, alibiSlopes: [0.5, 0.25, 0.1, 1] }],
  ['softcap and sinks', { causal: true, softcap: 3, sinks: [0, 1, -1, 2] }],
];

describe.each(testedDTypes)('%s', (dtype) => {
  test.each(cases)('%s', async (_, options) => {
    for (const group of [1, 2]) {
      const grouped = { ...shape, kvHeads: shape.heads / group };
      const problem = raggedProblem(grouped, { ...options, trees }, 3, dtype);
      for (const numSplits of [1, 3]) await expectRagged(problem, dtype, { numSplits });
    }
  });
});

const any = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 0, max: 60 }), fc.nat()), {
    minLength: 1,
    maxLength: 4,
  })
  .map((sequences) => ({
    lengths: sequences.map(([queries, before]) => [queries, queries + before] as const),
    trees: sequences.map(([queries, , seed]) => {
      const chance = uniform(seed);
      return Array.from({ length: queries }, (_, i) => Math.floor(chance() * (i + 1)) - 1);
    }),
  }));

test('any trees', async () => {
  await fc.assert(
    fc.asyncProperty(
      any,
      fc.constantFrom(...testedDTypes),
      fc.constantFrom(16, 40, 128),
      fc.constantFrom<RaggedOptions>({}, { causal: true }, { window: [3, 0], sinkTokens: 1 }),
      async ({ lengths, trees: drafts }, dtype, headDim, options) => {
        const of = { ...shape, lengths, headDim, kvHeads: 1, pageSize: 3 };
        await expectRagged(raggedProblem(of, { ...options, trees: drafts }, 7, dtype), dtype);
      },
    ),
    { numRuns: sized(60, 12), seed: 4 },
  );
});

test('a path is what it would be without a tree', async () => {
  const options = { causal: true, window: [12, 0], alibiSlopes: [0.5, 0.25, 0.1, 1] } as const;
  const of = { ...shape, lengths: [[6, 50]] as const };
  const path = [-1, 0, 1, 2, 3, 4];
  const tree = attendRagged(raggedProblem(of, { ...options, trees: [path] }), 'float32');
  const plain = attendRagged(raggedProblem(of, options), 'float32');
  expect(maxError(await tree.out.toFloat32(), await plain.out.toFloat32())).toBeLessThanOrEqual(
    1e-6,
  );
});

test('NaN in a sibling does not reach a token', async () => {
  const of = { ...shape, lengths: [[3, 20]] as const, headDim: 64 };
  const clean = raggedProblem(of, { causal: true, trees: [[-1, 0, 0]] });
  const expected = await attendRagged(clean, 'float32').out.toFloat32();
  const slot = clean.pageTable[0][1] * 16 + 2; // of key 18, token 1 of the tree
  const poisoned = (pages: ArrayLike<number>) =>
    Float32Array.from(pages).fill(Number.NaN, slot * 128, (slot + 1) * 128);
  const problem = {
    ...clean,
    kPages: poisoned(clean.kPages),
    vPages: poisoned(clean.vPages),
  };
  const out = await attendRagged(problem, 'float32').out.toFloat32();
  const row = (i: number, data: Float32Array) => data.slice(i * 256, (i + 1) * 256);
  expect(row(0, out)).toEqual(row(0, expected));
  expect(row(1, out).every(Number.isNaN)).toBe(true);
  expect(row(2, out)).toEqual(row(2, expected));
});

describe('bad input', () => {
  const { q, kPages, vPages, options } = raggedCall(
    raggedProblem({ ...shape, lengths: [[3, 10]] }, { trees: [[-1, 0, 0]] }),
    'float32',
  );
  const { mask, positions } = options.tree ?? wrong(undefined);
  test.each([
    [3, 'ERR_TYPE', 'options.tree'],
    [{}, 'ERR_TYPE', 'options.tree.positions'],
    [{ positions }, 'ERR_TYPE', 'options.tree.mask'],
    [{ mask, positions, depth: 1 }, 'ERR_OPTION', 'options.tree.depth'],
    [{ mask: zeros([3, 1]), positions }, 'ERR_DTYPE', 'options.tree.mask'],
    [{ mask: zeros([2, 1], { dtype: 'int32' }), positions }, 'ERR_SHAPE', 'options.tree.mask'],
    [{ mask: zeros([3], { dtype: 'int32' }), positions }, 'ERR_SHAPE', 'options.tree.mask'],
    [{ mask, positions: [7, 8] }, 'ERR_SHAPE', 'options.tree.positions'],
    [{ mask, positions: [7, 8, 6] }, 'ERR_SHAPE', 'options.tree.positions'],
    [{ mask, positions: [7, 8, 10] }, 'ERR_SHAPE', 'options.tree.positions'],
    [{ mask, positions: [7, 8, -1] }, 'ERR_OPTION', 'options.tree.positions[2]'],
    [{ mask, positions: tensor([7, 8, 8], [3]) }, 'ERR_DTYPE', 'options.tree.positions'],
  ] as const)('tree %#', (tree, code, argument) => {
    const given = { ...options, tree: wrong(tree) };
    expectThrow(() => flashAttentionRagged(q, kPages, vPages, given), code, argument);
  });

  test.each([
    [undefined, 'ERR_TYPE', 'sequences'],
    [[3], 'ERR_TYPE', 'sequences[0]'],
    [[{ queries: 1 }], 'ERR_TYPE', 'sequences[0].keys'],
    [[{ queries: 1, keys: 1, parent: [-1] }], 'ERR_OPTION', 'sequences[0].parent'],
    [[{ queries: -1, keys: 2 }], 'ERR_OPTION', 'sequences[0].queries'],
    [[{ queries: 1, keys: 2, parents: 3 }], 'ERR_TYPE', 'sequences[0].parents'],
    [[{ queries: 2, keys: 2, parents: [-1] }], 'ERR_SHAPE', 'sequences[0].parents'],
    [[{ queries: 2, keys: 1, parents: [-1, 0] }], 'ERR_SHAPE', 'sequences[0].parents'],
    [[{ queries: 2, keys: 2, parents: [-1, 1] }], 'ERR_OPTION', 'sequences[0].parents[1]'],
    [[{ queries: 1, keys: 2, parents: [-2] }], 'ERR_OPTION', 'sequences[0].parents[0]'],
  ] as const)('packTrees %#', (sequences, code, argument) => {
    expectThrow(() => packTrees(wrong(sequences)), code, argument);
  });
});
