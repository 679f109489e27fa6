import { inspect } from 'node:util';
import { BlockMask, flashAttention, randn, Tensor, tensor } from '../../lib/index.js';
import { errorOf, expectThrow, thrownBy, wrong } from '../support/expect-error.js';
import { heldMemory, settledMemory } from '../support/gc.js';
import { maxError } from '../support/numerics.js';

const [B, S, H, D] = [2, 100, 4, 24];
const q = randn([B, S, H, D], { seed: 1n });
const k = randn([B, S, 2, D], { seed: 2n });
const v = randn([B, S, 2, D], { seed: 3n });

/** The same mask as a bool tensor [batch, heads, seqlenQ, seqlenK]. */
function dense(mask: BlockMask): Tensor {
  const { batch, heads, seqlenQ, seqlenK } = mask;
  const data = new Uint8Array(batch * heads * seqlenQ * seqlenK);
  let at = 0;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < seqlenQ; i++) {
        for (let j = 0; j < seqlenK; j++) data[at++] = mask.visible(i, j, h, b) ? 1 : 0;
      }
    }
  }
  return tensor(data, [batch, heads, seqlenQ, seqlenK], { dtype: 'bool' });
}

const alternating = (n: number) => Array.from({ length: n }, (_, i) => Math.floor((i * i) / 700));

test.each<[string, () => BlockMask]>([
  [
    'slidingWindow',
    () => BlockMask.slidingWindow({ seqlenQ: S, seqlenK: S, left: 20, right: 5, blockSize: 16 }),
  ],
  [
    'longformer',
    () =>
      BlockMask.longformer({
        seqlen: S,
        window: 9,
        globalTokens: [0, 50, 99],
        blockSize: [32, 16],
      }),
  ],
  [
    'bigBird',
    () =>
      BlockMask.bigBird({
        seqlen: S,
        window: 0,
        globalBlocks: 1,
        randomBlocks: 1,
        seed: 1n,
        blockSize: 10,
        heads: H,
      }),
  ],
  [
    'document',
    () => BlockMask.document([alternating(S), alternating(S).reverse()], { blockSize: 33 }),
  ],
  [
    'fromPredicate',
    () =>
      BlockMask.fromPredicate({
        seqlenQ: S,
        seqlenK: S,
        predicate: (i, j) => (i ^ j) % 3 !== 0,
        blockSize: 40,
      }),
  ],
  [
    'from, per sequence and head',
    () =>
      BlockMask.from(
        { data: Array.from({ length: B * H * 16 }, (_, i) => i % 3 !== 1), shape: [B, H, 4, 4] },
        25,
      ),
  ],
])('%s gives what the same mask as a tensor gives', async (_, make) => {
  using blockMask = make();
  using mask = dense(blockMask);
  for (const options of [{}, { causal: true }, { seqlensK: [90, 13] }]) {
    const sparse = flashAttention(q, k, v, { ...options, blockMask, returnLse: true });
    const full = flashAttention(q, k, v, { ...options, mask, returnLse: true });
    expect(maxError(await sparse.out.toFloat32(), await full.out.toFloat32())).toBeLessThan(2e-6);
    expect(maxError(await sparse.lse.toFloat32(), await full.lse.toFloat32())).toBeLessThan(4e-6);
  }
});

test('takes rows of more blocks than a call takes arguments', () => {
  const cols = 200_000;
  const row = Array.from({ length: cols }, (_, col) => col % 3 === 0);
  const data = Uint8Array.from(row, Number);
  const rows = [
    BlockMask.from([row], [1, 1]),
    BlockMask.from({ data, shape: [1, cols] }, [1, 1]),
    BlockMask.slidingWindow({ seqlenQ: 1, seqlenK: cols, left: cols, right: 0, blockSize: [1, 1] }),
    BlockMask.document({ idsQ: [0], idsK: row.map((kept) => (kept ? 0 : 1)) }, { blockSize: 1 }),
  ];
  for (const mask of rows) {
    expect(mask.seqlenK).toBe(cols);
    expect(mask.visible(0, cols - 2)).toBe(true);
    mask.dispose();
  }
});

test('cannot be cloned or sent to another thread', () => {
  const mask = BlockMask.document([1, 1, 2]);
  expect(() => structuredClone(mask)).toThrow(/BlockMask, which stays in its thread/);
});

test('draws its blocks', () => {
  const mask = BlockMask.slidingWindow({
    seqlenQ: 64,
    seqlenK: 64,
    left: 16,
    right: 0,
    blockSize: 8,
  });
  expect(mask.toString()).toBe(
    [
      '+.......',
      '#+......',
      '+#+.....',
      '.+#+....',
      '..+#+...',
      '...+#+..',
      '....+#+.',
      '.....+#+',
    ].join('\n'),
  );
  const large = BlockMask.slidingWindow({ seqlenQ: 20000, seqlenK: 10000, left: 64, right: 64 });
  const lines = large.toString().split('\n');
  expect(lines.length).toBeLessThanOrEqual(64);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(64);
  expect(lines[0]).toMatch(/^\.+$/);
});

test('prints what it is', () => {
  const mask = BlockMask.document([1, 1, 2], { blockSize: 2 });
  expect(inspect(mask)).toBe('BlockMask(3 x 3 in blocks of 2 x 2, batch 1, heads 1)');
  mask.dispose();
  expect(inspect(mask)).toContain('disposed');
});

test('is copied to the device once, and given back', async () => {
  const before = await settledMemory();
  const blockMask = BlockMask.slidingWindow({
    seqlenQ: S,
    seqlenK: S,
    left: 9,
    right: 0,
    blockSize: 16,
  });
  expect(heldMemory()).toEqual(before);
  const outs = [1, 2, 3].map(() => flashAttention(q, k, v, { blockMask }));
  expect(heldMemory().tensors).toBe(before.tensors + 3 + 2);
  blockMask.dispose();
  blockMask.dispose();
  expect(heldMemory().tensors).toBe(before.tensors + 3);
  const first = await outs[0].data();
  expect(await outs[2].data()).toEqual(first);
  for (const out of outs) out.dispose();
  expect(heldMemory()).toEqual(before);
});

test('disposed', async () => {
  let mask: BlockMask;
  {
    using made = BlockMask.document([1, 2, 3]);
    mask = made;
  }
  expect(mask.disposed).toBe(true);
  for (const use of [() => mask.density, () => mask.visible(0, 0), () => mask.toString()]) {
    expect(thrownBy(use)).toMatchObject({ code: 'ERR_DISPOSED' });
  }
  expectThrow(
    () => flashAttention(q, k, v, { blockMask: mask }),
    'ERR_DISPOSED',
    'options.blockMask',
  );
});

test('must fit the call', () => {
  const fits = (mask: BlockMask) => () => flashAttention(q, k, v, { blockMask: mask });
  const window = { left: 1, right: 1, blockSize: 16 };
  expectThrow(
    fits(BlockMask.slidingWindow({ seqlenQ: 99, seqlenK: S, ...window })),
    'ERR_SHAPE',
    'options.blockMask',
    /100 queries/,
  );
  expectThrow(
    fits(BlockMask.slidingWindow({ seqlenQ: S, seqlenK: 101, ...window })),
    'ERR_SHAPE',
    'options.blockMask',
  );
  const planes = (shape: number[]) =>
    BlockMask.from({ data: new Uint8Array(shape[0] * shape[1]), shape: [...shape, 1, 1] }, S);
  expectThrow(fits(planes([3, 1])), 'ERR_SHAPE', 'options.blockMask', /batch 1 or 2/);
  expectThrow(fits(planes([1, 2])), 'ERR_SHAPE', 'options.blockMask', /heads 1 or 4/);
  expect(fits(planes([2, 4]))()).toBeInstanceOf(Tensor);
});

describe('bad input', () => {
  const window = { seqlenQ: 8, seqlenK: 8, left: 1, right: 1 };
  const bird = { seqlen: 64, window: 1, globalBlocks: 1, randomBlocks: 1, seed: 1n, blockSize: 8 };
  const former = { seqlen: 64, window: 4, globalTokens: 1 };
  const rule = { seqlenQ: 8, seqlenK: 8, predicate: () => true };
  const endless: unknown[] = [];
  endless.push(endless);
  const grid = [
    [true, false],
    [false, true],
  ];
  const cases: [string, () => unknown, string, string][] = [
    [
      'slidingWindow of nothing',
      () => BlockMask.slidingWindow(wrong(undefined)),
      'ERR_TYPE',
      'options.seqlenQ',
    ],
    ['slidingWindow null', () => BlockMask.slidingWindow(wrong(null)), 'ERR_TYPE', 'options'],
    ['slidingWindow of a number', () => BlockMask.slidingWindow(wrong(128)), 'ERR_TYPE', 'options'],
    [
      'a string length',
      () => BlockMask.slidingWindow(wrong({ ...window, seqlenQ: '8' })),
      'ERR_TYPE',
      'options.seqlenQ',
    ],
    [
      'length 0',
      () => BlockMask.slidingWindow({ ...window, seqlenK: 0 }),
      'ERR_OPTION',
      'options.seqlenK',
    ],
    [
      'a fractional length',
      () => BlockMask.slidingWindow({ ...window, seqlenK: 8.5 }),
      'ERR_OPTION',
      'options.seqlenK',
    ],
    [
      'no left',
      () => BlockMask.slidingWindow(wrong({ seqlenQ: 8, seqlenK: 8 })),
      'ERR_TYPE',
      'options.left',
    ],
    [
      'NaN left',
      () => BlockMask.slidingWindow({ ...window, left: Number.NaN }),
      'ERR_OPTION',
      'options.left',
    ],
    [
      'fractional right',
      () => BlockMask.slidingWindow({ ...window, right: 0.5 }),
      'ERR_OPTION',
      'options.right',
    ],
    [
      'block size 0',
      () => BlockMask.slidingWindow({ ...window, blockSize: 0 }),
      'ERR_OPTION',
      'options.blockSize',
    ],
    [
      'block size NaN',
      () => BlockMask.slidingWindow({ ...window, blockSize: Number.NaN }),
      'ERR_OPTION',
      'options.blockSize',
    ],
    [
      'block size of one',
      () => BlockMask.slidingWindow(wrong({ ...window, blockSize: [8] })),
      'ERR_SHAPE',
      'options.blockSize',
    ],
    [
      'block size [8, -1]',
      () => BlockMask.slidingWindow({ ...window, blockSize: [8, -1] }),
      'ERR_OPTION',
      'options.blockSize[1]',
    ],
    [
      'too many blocks',
      () => BlockMask.slidingWindow({ ...window, seqlenQ: 1e6, seqlenK: 1e6, blockSize: 1 }),
      'ERR_OPTION',
      'options.blockSize',
    ],
    [
      'an unknown key',
      () => BlockMask.slidingWindow(wrong({ ...window, block_size: 8 })),
      'ERR_OPTION',
      'options.block_size',
    ],
    [
      'longformer window',
      () => BlockMask.longformer({ ...former, window: -1 }),
      'ERR_OPTION',
      'options.window',
    ],
    [
      'longformer pair',
      () => BlockMask.longformer(wrong({ ...former, window: [1, 1] })),
      'ERR_TYPE',
      'options.window',
    ],
    [
      'longformer without globals',
      () => BlockMask.longformer(wrong({ seqlen: 64, window: 4 })),
      'ERR_TYPE',
      'options.globalTokens',
    ],
    [
      'too many globals',
      () => BlockMask.longformer({ ...former, globalTokens: 65 }),
      'ERR_OPTION',
      'options.globalTokens',
    ],
    [
      'a global outside',
      () => BlockMask.longformer({ ...former, globalTokens: [3, 64] }),
      'ERR_OPTION',
      'options.globalTokens[1]',
    ],
    [
      'a negative global',
      () => BlockMask.longformer({ ...former, globalTokens: [-1] }),
      'ERR_OPTION',
      'options.globalTokens[0]',
    ],
    [
      'bigBird seed',
      () => BlockMask.bigBird(wrong({ ...bird, seed: 1 })),
      'ERR_TYPE',
      'options.seed',
    ],
    [
      'bigBird without seed',
      () => BlockMask.bigBird(wrong({ ...bird, seed: undefined })),
      'ERR_TYPE',
      'options.seed',
    ],
    [
      'bigBird random',
      () => BlockMask.bigBird({ ...bird, randomBlocks: -1 }),
      'ERR_OPTION',
      'options.randomBlocks',
    ],
    [
      'bigBird window',
      () => BlockMask.bigBird({ ...bird, window: 1.5 }),
      'ERR_OPTION',
      'options.window',
    ],
    [
      'bigBird global',
      () => BlockMask.bigBird({ ...bird, globalBlocks: [8] }),
      'ERR_OPTION',
      'options.globalBlocks[0]',
    ],
    [
      'bigBird heads',
      () => BlockMask.bigBird({ ...bird, heads: 0 }),
      'ERR_OPTION',
      'options.heads',
    ],
    ['document of nothing', () => BlockMask.document(wrong(undefined)), 'ERR_TYPE', 'ids'],
    ['document of a string', () => BlockMask.document(wrong('aab')), 'ERR_TYPE', 'ids'],
    ['document without ids', () => BlockMask.document([]), 'ERR_OPTION', 'ids.length'],
    ['document of fractions', () => BlockMask.document([1, 1.5]), 'ERR_TYPE', 'ids[1]'],
    ['document of strings', () => BlockMask.document(wrong(['a', 'b'])), 'ERR_TYPE', 'ids[0]'],
    ['ragged batch', () => BlockMask.document([[1, 2], [1]]), 'ERR_SHAPE', 'ids[1]'],
    ['half a pair', () => BlockMask.document(wrong({ idsQ: [1] })), 'ERR_TYPE', 'ids.idsK'],
    [
      'unequal batches',
      () => BlockMask.document({ idsQ: [[1]], idsK: [[1], [2]] }),
      'ERR_SHAPE',
      'ids.idsK',
    ],
    [
      'an unknown id list',
      () => BlockMask.document(wrong({ idsQ: [1], idsK: [1], idsV: [1] })),
      'ERR_OPTION',
      'ids.idsV',
    ],
    [
      'no predicate',
      () => BlockMask.fromPredicate(wrong({ ...rule, predicate: undefined })),
      'ERR_TYPE',
      'options.predicate',
    ],
    ['a constructor', () => new (wrong(BlockMask))(), 'ERR_TYPE', 'BlockMask'],
    ['from nothing', () => BlockMask.from(wrong(undefined), 8), 'ERR_TYPE', 'blocks'],
    ['from a bare array', () => BlockMask.from(wrong(new Uint8Array(4)), 8), 'ERR_TYPE', 'blocks'],
    ['from one axis', () => BlockMask.from(wrong([true]), 8), 'ERR_SHAPE', 'blocks'],
    [
      'from a ragged array',
      () => BlockMask.from([[true, true], [true]], 8),
      'ERR_SHAPE',
      'blocks[1]',
    ],
    ['from an array in itself', () => BlockMask.from(wrong(endless), 8), 'ERR_SHAPE', 'blocks'],
    ['from an empty array', () => BlockMask.from([[]], 8), 'ERR_SHAPE', 'blocks'],
    ['from strings', () => BlockMask.from(wrong([['x']]), 8), 'ERR_TYPE', 'blocks (element 0)'],
    ['from numbers', () => BlockMask.from(wrong([[2]]), 8), 'ERR_TYPE', 'blocks (element 0)'],
    [
      'from flat data of a wrong size',
      () => BlockMask.from({ data: [true], shape: [1, 2] }, 8),
      'ERR_SHAPE',
      'blocks.data',
    ],
    [
      'from flat data without shape',
      () => BlockMask.from(wrong({ data: [true] }), 8),
      'ERR_TYPE',
      'blocks.shape',
    ],
    [
      'from without a block size',
      () => BlockMask.from(grid, wrong(undefined)),
      'ERR_TYPE',
      'blockSize',
    ],
    ['from with block size 0', () => BlockMask.from(grid, 0), 'ERR_OPTION', 'blockSize'],
    [
      'from with lengths that make other blocks',
      () => BlockMask.from(grid, 8, { seqlenQ: 17 }),
      'ERR_SHAPE',
      'blocks',
    ],
    [
      'from with an unknown option',
      () => BlockMask.from(grid, 8, wrong({ seqlen: 16 })),
      'ERR_OPTION',
      'options.seqlen',
    ],
    ['visible outside', () => BlockMask.document([1, 2]).visible(0, 2), 'ERR_OPTION', 'j'],
    [
      'visible of a string',
      () => BlockMask.document([1, 2]).visible(wrong('0'), 0),
      'ERR_TYPE',
      'i',
    ],
    [
      'visible of a head that is not',
      () => BlockMask.bigBird({ ...bird, heads: 2 }).visible(0, 0, 2),
      'ERR_OPTION',
      'head',
    ],
  ];
  test.each(cases.map(([name, run, code, argument]) => ({ name, run, code, argument })))(
    '$name',
    ({ run, code, argument }) => {
      expectThrow(run, code as 'ERR_TYPE', argument);
    },
  );

  test('what a predicate throws passes', async () => {
    const boom = new Error('boom');
    const throwing = () => {
      throw boom;
    };
    expect(() => BlockMask.fromPredicate({ ...rule, predicate: throwing })).toThrow(boom);
    expect((await errorOf(() => BlockMask.document([]))).code).toBe('ERR_OPTION');
  });
});
