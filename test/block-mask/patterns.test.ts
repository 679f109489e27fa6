import fc from 'fast-check';
import { BlockMask } from '../../lib/index.js';

type Rule = (i: number, j: number) => boolean;

/** Every pair of the mask against the rule, and the density against the count. */
function expectRule(mask: BlockMask, rule: Rule, head = 0, batch = 0): void {
  let count = 0;
  for (let i = 0; i < mask.seqlenQ; i++) {
    for (let j = 0; j < mask.seqlenK; j++) {
      const expected = rule(i, j);
      if (expected) count++;
      if (mask.visible(i, j, head, batch) !== expected) {
        throw new Error(`(${i}, ${j}) of head ${head}, batch ${batch}: expected ${expected}`);
      }
    }
  }
  if (mask.batch === 1 && mask.heads === 1) {
    expect(mask.density).toBeCloseTo(count / (mask.seqlenQ * mask.seqlenK), 12);
  }
}

const seqlen = fc.integer({ min: 1, max: 48 });
const side = fc.integer({ min: 1, max: 40 });
const blockSize = fc.oneof(side, fc.tuple(side, side));
const bound = fc.oneof(fc.integer({ min: -20, max: 50 }), fc.constant(Infinity));

test('slidingWindow: p - left <= j <= p + right', () => {
  fc.assert(
    fc.property(seqlen, seqlen, bound, bound, blockSize, (seqlenQ, seqlenK, left, right, size) => {
      const mask = BlockMask.slidingWindow({ seqlenQ, seqlenK, left, right, blockSize: size });
      expectRule(mask, (i, j) => {
        const p = i + seqlenK - seqlenQ;
        return p - left <= j && j <= p + right;
      });
    }),
    { numRuns: 120 },
  );
});

test('longformer: a window, and global tokens both ways', () => {
  fc.assert(
    fc.property(
      seqlen,
      fc.nat(20),
      fc.oneof(fc.nat(70), fc.array(fc.nat(69), { maxLength: 6 })),
      blockSize,
      (length, window, given, size) => {
        const globalTokens =
          typeof given === 'number' ? Math.min(given, length) : given.filter((i) => i < length);
        const isGlobal = (i: number) =>
          typeof globalTokens === 'number' ? i < globalTokens : globalTokens.includes(i);
        const mask = BlockMask.longformer({
          seqlen: length,
          window,
          globalTokens,
          blockSize: size,
        });
        expectRule(mask, (i, j) => Math.abs(i - j) <= window || isGlobal(i) || isGlobal(j));
      },
    ),
    { numRuns: 120 },
  );
});

const ids = fc.array(fc.integer({ min: -1, max: 4 }), { minLength: 1, maxLength: 70 });

test('document: the same id, sorted or not', () => {
  fc.assert(
    fc.property(ids, ids, fc.boolean(), blockSize, (idsQ, idsK, sorted, size) => {
      if (sorted) {
        idsQ.sort((a, b) => a - b);
        idsK.sort((a, b) => a - b);
      }
      const both = BlockMask.document({ idsQ, idsK: Int32Array.from(idsK) }, { blockSize: size });
      expectRule(both, (i, j) => idsQ[i] === idsK[j]);
      const self = BlockMask.document(idsQ, { blockSize: size });
      expectRule(self, (i, j) => idsQ[i] === idsQ[j]);
    }),
    { numRuns: 80 },
  );
});

test('document: one list per sequence of the batch', () => {
  const lists = [
    [0, 0, 0, 1, 1, 2],
    [5, 5, 5, 5, 5, 5],
    [1, 0, 1, 0, 1, 0],
  ];
  const mask = BlockMask.document(lists, { blockSize: 4 });
  expect(mask).toMatchObject({ batch: 3, heads: 1, seqlenQ: 6, seqlenK: 6 });
  lists.forEach((list, b) => {
    expectRule(mask, (i, j) => list[i] === list[j], 0, b);
  });
  expect(mask.density).toBeCloseTo((9 + 4 + 1 + 36 + 18) / 108, 12);
});

test('fromPredicate: any rule', () => {
  fc.assert(
    fc.property(
      seqlen,
      seqlen,
      fc.integer({ min: 1, max: 9 }),
      blockSize,
      (seqlenQ, seqlenK, n, size) => {
        const rule: Rule = (i, j) => (i * 31 + j * 17) % 10 < n;
        const mask = BlockMask.fromPredicate({
          seqlenQ,
          seqlenK,
          predicate: rule,
          blockSize: size,
        });
        expectRule(mask, rule);
      },
    ),
    { numRuns: 50 },
  );
});

describe('bigBird', () => {
  const options = {
    seqlen: 640,
    window: 1,
    globalBlocks: 1,
    randomBlocks: 2,
    seed: 5n,
    blockSize: 32,
  };

  /** Blocks that a row of blocks sees. */
  const seen = (mask: BlockMask, row: number, head = 0) =>
    Array.from({ length: 20 }, (_, col) => mask.visible(row * 32, col * 32, head));

  test('has windows, global blocks and as many random blocks as asked', () => {
    const mask = BlockMask.bigBird(options);
    for (let row = 0; row < 20; row++) {
      const cols = seen(mask, row);
      if (row === 0) {
        expect(cols.every(Boolean)).toBe(true);
        continue;
      }
      const fixed = cols.map((_, col) => col === 0 || Math.abs(col - row) <= 1);
      fixed.forEach((must, col) => {
        if (must) expect(cols[col]).toBe(true);
      });
      const random = cols.filter((on, col) => on && !fixed[col]).length;
      expect(random).toBe(Math.min(2, fixed.filter((must) => !must).length));
    }
    // Whole blocks only.
    for (let i = 0; i < 640; i += 7) {
      for (let j = 0; j < 640; j += 5) {
        expect(mask.visible(i, j)).toBe(mask.visible(i - (i % 32), j - (j % 32)));
      }
    }
  });

  test('is a function of its seed, and heads draw separately', () => {
    const picture = `${BlockMask.bigBird(options)}`;
    expect(`${BlockMask.bigBird(options)}`).toBe(picture);
    expect(`${BlockMask.bigBird({ ...options, seed: 6n })}`).not.toBe(picture);
    const mask = BlockMask.bigBird({ ...options, heads: 2 });
    expect(mask.heads).toBe(2);
    const rows = (head: number) => Array.from({ length: 20 }, (_, row) => seen(mask, row, head));
    expect(rows(0)).not.toEqual(rows(1));
  });

  test('draws every free block about equally often', () => {
    const counts = new Array(20).fill(0);
    for (let seed = 0n; seed < 400n; seed++) {
      const mask = BlockMask.bigBird({
        ...options,
        window: 0,
        globalBlocks: 0,
        randomBlocks: 3,
        seed,
      });
      seen(mask, 10).forEach((on, col) => {
        if (on) counts[col]++;
      });
    }
    counts.forEach((count, col) => {
      if (col === 10) expect(count).toBe(400);
      else expect(Math.abs(count - (400 * 3) / 19)).toBeLessThan(40);
    });
  });

  test('listed global blocks, more random blocks than there are, oblong and ragged blocks', () => {
    const listed = BlockMask.bigBird({ ...options, globalBlocks: [3, 19] });
    expect(seen(listed, 3).every(Boolean) && seen(listed, 19).every(Boolean)).toBe(true);
    for (let row = 0; row < 20; row++)
      expect(seen(listed, row)[3] && seen(listed, row)[19]).toBe(true);
    expect(BlockMask.bigBird({ ...options, randomBlocks: 99 }).density).toBe(1);
    const oblong = BlockMask.bigBird({
      ...options,
      seqlen: 601,
      blockSize: [64, 32],
      randomBlocks: 0,
    });
    expectRule(oblong, (i, j) => {
      const [first, col] = [2 * Math.floor(i / 64), Math.floor(j / 32)];
      return col === 0 || (col >= first - 1 && col <= Math.min(first + 1, 18) + 1);
    });
  });
});

describe('from', () => {
  const pattern = [
    [true, false, true],
    [false, true, false],
  ];

  test('one pattern for all heads', () => {
    const mask = BlockMask.from(pattern, 4);
    expect(mask).toMatchObject({
      seqlenQ: 8,
      seqlenK: 12,
      blockQ: 4,
      blockK: 4,
      batch: 1,
      heads: 1,
    });
    expectRule(mask, (i, j) => pattern[Math.floor(i / 4)][Math.floor(j / 4)]);
    const cut = BlockMask.from(pattern, [4, 5], { seqlenQ: 5, seqlenK: 11 });
    expectRule(cut, (i, j) => pattern[Math.floor(i / 4)][Math.floor(j / 5)]);
  });

  test('per head and per sequence, nested or flat', () => {
    const heads = [pattern, pattern.map((row) => row.map((on) => !on))];
    const perHead = BlockMask.from(heads, 4);
    expect(perHead).toMatchObject({ batch: 1, heads: 2 });
    const flat = {
      data: Uint8Array.from(heads.flat(2), Number),
      shape: [2, 1, 2, 3],
    };
    const perSequence = BlockMask.from(flat, 4);
    expect(perSequence).toMatchObject({ batch: 2, heads: 1 });
    heads.forEach((one, n) => {
      const rule: Rule = (i, j) => one[Math.floor(i / 4)][Math.floor(j / 4)];
      expectRule(perHead, rule, n, 0);
      expectRule(perSequence, rule, 0, n);
    });
    expect(perHead.density).toBe(0.5);
    expectRule(
      BlockMask.from([heads, heads], 4),
      (i, j) => heads[1][Math.floor(i / 4)][Math.floor(j / 4)],
      1,
      1,
    );
  });
});

describe('scale', () => {
  const N = 131072;
  test.each<[string, () => BlockMask, (mask: BlockMask) => void]>([
    [
      'slidingWindow',
      () => BlockMask.slidingWindow({ seqlenQ: N, seqlenK: N, left: 4096, right: 0 }),
      (mask) => {
        expect(mask.density).toBeCloseTo((4097 * N - (4096 * 4097) / 2) / N ** 2, 12);
        expect([mask.visible(70000, 65904), mask.visible(70000, 65903)]).toEqual([true, false]);
      },
    ],
    [
      'longformer',
      () => BlockMask.longformer({ seqlen: N, window: 256, globalTokens: [0, 1, 5000, 99999] }),
      (mask) => {
        expect([
          mask.visible(70000, 5000),
          mask.visible(5000, 70000),
          mask.visible(70000, 70257),
        ]).toEqual([true, true, false]);
        expect(mask.density).toBeLessThan(0.005);
      },
    ],
    [
      'document',
      () => BlockMask.document(Int32Array.from({ length: N }, (_, i) => Math.floor(i / 1000))),
      (mask) => {
        expect([mask.visible(70999, 70000), mask.visible(71000, 70999)]).toEqual([true, false]);
        expect(mask.density).toBeCloseTo((131 * 1e6 + 72 ** 2) / N ** 2, 12);
      },
    ],
  ])('%s of 131072 tokens is small', (_, make, check) => {
    const before = process.memoryUsage().arrayBuffers;
    const mask = make();
    check(mask);
    // The table of 1024 x 1024 cells takes 4 MiB.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(24 * 2 ** 20);
    mask.dispose();
  });
});
