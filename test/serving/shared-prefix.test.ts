// Sequences that begin in the same pages, and attend to those together: what is computed is what
// each would have by itself, whatever else the call asks for, and where that could not be, nothing
// is shared.
import { explain, type Tensor } from '../../lib/index.js';
import type { PagedProblem } from '../../lib/reference/index.js';
import { flashAttentionRagged, KvCache } from '../../lib/serving/index.js';
import { onCpu } from '../support/device.js';
import { maxError, normals, testedDTypes } from '../support/numerics.js';
import {
  attendRagged,
  expectRagged,
  type RaggedOptions,
  raggedCall,
  raggedProblem,
} from '../support/pages.js';

const pageSize = 16;
const prefix = 640; // keys: 40 pages
const sharing = [0, 1, 3, 4, 6, 7];

/** Six sequences on one prefix, among others, each with queries and keys of its own. */
const lengths: readonly (readonly [number, number])[] = [
  [1, prefix + 9],
  [1, prefix + 1],
  [3, 70],
  [1, prefix + 200],
  [1, prefix + 77],
  [1, 300],
  [1, prefix + 16],
  [1, prefix + 17],
];
const model = { heads: 8, kvHeads: 1, headDim: 16, pageSize };

/** Has sequences begin in the pages of the first of them. */
function withPrefix(
  problem: PagedProblem,
  sequences: readonly number[],
  keys: number,
): PagedProblem {
  const first = Array.from(problem.pageTable[sequences[0]]).slice(0, keys / pageSize);
  const pageTable = problem.pageTable.map((row, b) =>
    sequences.includes(b) ? [...first, ...Array.from(row).slice(first.length)] : row,
  );
  return { ...problem, pageTable };
}

const problemOf = (options: RaggedOptions = {}, dtype = testedDTypes[0], seed = 3) =>
  withPrefix(raggedProblem({ ...model, lengths }, options, seed, dtype), sharing, prefix);

/** The groups that a call would share. */
function groupsOf(problem: PagedProblem, dtype = testedDTypes[0], numSplits?: number) {
  const { q, kPages, vPages, options } = raggedCall(problem, dtype);
  return explain(q, kPages, vPages, { ...options, numSplits }).sharedPrefixes;
}

const shared = onCpu ? [{ sequences: 6, keys: prefix }] : [];

const shareable: [string, RaggedOptions][] = [
  ['causal', { causal: true }],
  ['no mask', {}],
  ['scale and softcap', { causal: true, scale: 0.7, softcap: 3 }],
  ['sinks', { causal: true, sinks: [0, 1, -1, 2, 8, 0, -3, 4] }],
  ['a window that reaches the first key', { window: [prefix + 199, 0] }],
  ['such a window with sink tokens', { window: [prefix + 199, 0], sinkTokens: 4 }],
];

describe.each(testedDTypes)('%s', (dtype) => {
  test.each(shareable)('shared: %s', async (_, options) => {
    const problem = problemOf(options, dtype);
    expect(groupsOf(problem, dtype)).toEqual(shared);
    await expectRagged(problem, dtype);
  });
});

// The longest sequence decides in the first case, and all of them in the others.
const unlike: [string, RaggedOptions, number][] = [
  ['a window that one sequence has its end in', { window: [prefix + 198, 0] }, 5],
  ['a window that all have their ends in', { window: [300, 0] }, 0],
  ['such a window with sink tokens', { window: [300, 0], sinkTokens: 30 }, 0],
  ['ALiBi', { causal: true, alibiSlopes: Array.from({ length: 8 }, (_, h) => 2 ** -h) }, 0],
  ['keys hidden up to the prefix', { window: [prefix * 2, -5] }, 5],
];

test.each(unlike)(
  'shared by those alone that it hides nothing from: %s',
  async (_, options, count) => {
    const problem = problemOf(options);
    const expected = onCpu && count > 0 ? [{ sequences: count, keys: prefix }] : [];
    expect(groupsOf(problem)).toEqual(expected);
    await expectRagged(problem, testedDTypes[0]);
  },
);

test('shared by sequences that no decode kernel takes, and by those of many queries not', async () => {
  const queries = lengths.map(([, keys], b) => [b === 1 ? 60 : 2, keys + 60] as const);
  const odd = { heads: 6, kvHeads: 2, headDim: 20, headDimV: 12, pageSize, lengths: queries };
  const problem = withPrefix(raggedProblem(odd, { causal: true }, 9), sharing, prefix);
  expect(groupsOf(problem, 'float32')).toEqual(onCpu ? [{ sequences: 5, keys: prefix }] : []);
  await expectRagged(problem, 'float32');
});

test('trees of draft tokens see the prefix together, and of the tree what is theirs', async () => {
  const parents = [-1, 0, 0];
  const counts = lengths.map(([, keys], b) => [sharing.includes(b) ? 3 : 1, keys] as const);
  const trees = counts.map((_, b) => (sharing.includes(b) ? parents : undefined));
  const own = { heads: 2, kvHeads: 1, headDim: 16, pageSize, lengths: counts };
  const problem = withPrefix(raggedProblem(own, { causal: true, trees }, 5), sharing, prefix - 16);
  // Whole tiles of keys.
  expect(groupsOf(problem)).toEqual(onCpu ? [{ sequences: 6, keys: 512 }] : []);
  await expectRagged(problem, 'float32');
});

test('with a fixed number of splits nothing is shared: bits are those of separate pages', async () => {
  const [dtype] = testedDTypes;
  const problem = problemOf({ causal: true });
  for (const numSplits of [1, 3]) {
    expect(groupsOf(problem, dtype, numSplits)).toEqual([]);
    const together = attendRagged(problem, dtype, { numSplits });
    const outs = await together.out.toFloat32();
    for (const b of sharing) {
      const apart = withPrefix(problem, [b], prefix);
      const one: PagedProblem = {
        ...apart,
        q: problem.q.slice(rowOf(b) * 128, (rowOf(b) + 1) * 128),
        cuSeqlensQ: [0, 1],
        pageTable: [problem.pageTable[b]],
        seqlensK: [problem.seqlensK[b]],
      };
      const alone = await attendRagged(one, dtype, { numSplits }).out.toFloat32();
      expect(alone).toEqual(outs.slice(rowOf(b) * 128, (rowOf(b) + 1) * 128));
    }
  }
});

/** Of a sequence's one query. */
function rowOf(b: number): number {
  return lengths.slice(0, b).reduce((sum, [queries]) => sum + queries, 0);
}

test('groups: where most reads are saved, and no group that is too small', () => {
  const of = (
    groups: readonly (readonly [sequences: readonly number[], keys: number])[],
    count: number,
    heads = model.heads,
  ) => {
    const all = Array.from({ length: count }, () => [1, 1500] as const);
    const start = raggedProblem({ ...model, heads, lengths: all }, { causal: true }, 7);
    const found = groupsOf(
      groups.reduce(
        (problem, [sequences, common]) => withPrefix(problem, sequences, common),
        start,
      ),
      'float32',
    );
    return found.map((group) => [group.sequences, group.keys]);
  };
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
  const expected = (groups: number[][]) => (onCpu ? groups : []);
  expect(of([[range(0, 12), 1024]], 12)).toEqual(expected([[12, 1024]]));
  // Two halves that share more than all of them do.
  const halves = [
    [range(0, 12), 512],
    [range(0, 6), 1408],
    [range(6, 12), 1408],
  ] as const;
  expect(of(halves, 12)).toEqual(
    expected([
      [6, 1408],
      [6, 1408],
    ]),
  );
  // Two that share a little more than all.
  expect(
    of(
      [
        [range(0, 12), 1024],
        [[3, 4], 1152],
      ],
      12,
    ),
  ).toEqual(expected([[12, 1024]]));
  expect(of([[range(0, 12), 496]], 12)).toEqual([]); // too few keys
  expect(of([[[0], 1024]], 12)).toEqual([]);
  expect(of([[range(0, 6), 1024]], 6, 2)).toEqual([]); // 12 rows are too few
});

test('what is NaN in the keys of one sequence stays there, and in the prefix reaches all that have it', async () => {
  const [dtype] = testedDTypes;
  const width = model.headDim;
  const poisoned = async (page: number) => {
    const problem = problemOf({ causal: true });
    const vPages = Float32Array.from(problem.vPages);
    vPages[page * pageSize * width] = Number.NaN;
    const { out } = attendRagged({ ...problem, vPages }, dtype);
    const rows = await out.toFloat32();
    return lengths.flatMap((_, b) => {
      const own = rows.subarray(rowOf(b) * 128, (rowOf(b) + 1) * 128);
      return own.some((x) => Number.isNaN(x)) ? [b] : [];
    });
  };
  const { pageTable } = problemOf();
  expect(await poisoned(pageTable[3][prefix / pageSize])).toEqual([3]);
  expect(await poisoned(pageTable[3][2])).toEqual(sharing);
});

test.each(['float32', 'int8'] as const)(
  'a step finds the groups by itself: forks and stored prefixes of %s',
  (dtype) => {
    const tokens = Array.from({ length: prefix }, (_, i) => i);
    const cache = new KvCache({ layers: 1, numPages: 200, kvHeads: 1, headDim: 16, dtype });
    const rows = (count: number, heads: number, seed: number): Float32Array =>
      normals(count * heads * 16, seed);
    const attend = (
      step: ReturnType<KvCache['step']>,
      seed: number,
      options: { numSplits?: number; window?: [number, number] } = {},
    ): Float32Array => {
      const count = step.totalTokens;
      const [q, k, v] = [8, 1, 1].map((heads, i) => rows(count, heads, seed + i));
      return step.attention(0, q, k, v, { ...options, sync: true });
    };
    const first = cache.createSequence();
    const fill = cache.step([{ sequence: first, tokens }]);
    attend(fill, 1);
    fill.commit();
    const forks = Array.from({ length: 3 }, () => first.fork());
    const hits = Array.from({ length: 2 }, () => cache.createSequence({ tokens: [...tokens, 7] }));
    expect(hits.map(({ length }) => length)).toEqual([prefix, prefix]);
    const all = [first, ...forks, ...hits];
    const entries = all.map((sequence) => ({ sequence, tokens: 1 }));
    const [auto, alone] = [undefined, 1].map((numSplits) => {
      using step = cache.step(entries);
      return attend(step, 20, { numSplits });
    });
    expect(maxError(auto, alone)).toBeLessThan(1e-5);
    if (onCpu) expect(auto).not.toEqual(alone); // by another kernel: it was shared
    const narrow = [undefined, 1].map((numSplits) => {
      using step = cache.step(entries);
      return attend(step, 20, { numSplits, window: [64, 0] });
    });
    expect(maxError(narrow[0], narrow[1])).toBeLessThan(1e-5);
    for (const each of all) each.dispose();
    expect(cache.stats().used).toBe(0);
  },
);

test('queries of one width, keys of another, and rows that lie apart', async () => {
  const problem = problemOf({ causal: true }, 'float32');
  const { q, kPages, vPages, options } = raggedCall(problem, 'float32');
  const expected = await flashAttentionRagged(q, kPages, vPages, {
    ...options,
    numSplits: 1,
  }).data();
  const apart = q.transpose(1, 0, 2).contiguous().transpose(1, 0, 2);
  const strided = await flashAttentionRagged(apart, kPages, vPages, options).data();
  expect(maxError(strided, expected)).toBeLessThan(1e-5);
  if (!onCpu) return;
  const narrow = [kPages, vPages].map((pages) => pages.to('bfloat16')) as [Tensor, Tensor];
  const all = { ...options, numSplits: 1 };
  const [together, alone] = await Promise.all([
    flashAttentionRagged(q, ...narrow, options).data(),
    flashAttentionRagged(q, ...narrow, all).data(),
  ]);
  expect(maxError(together, alone)).toBeLessThan(1e-5);
});
