/**
 * Batches whose sequences differ in everything, their keys in shuffled pages: for the library and
 * for the float64 reference. What no sequence holds is NaN.
 */
import { type AttentionResult, type Tensor, tensor } from '../../lib/index.js';
import {
  type CodeDType,
  dequantizedCache,
  type PagedProblem,
  pagedAttention,
  quantizedCache,
} from '../../lib/reference/index.js';
import {
  flashAttentionRagged,
  packTrees,
  type RaggedAttentionOptions,
} from '../../lib/serving/index.js';
import { bound, type FloatDType, maxError, normals, rounding } from './numerics.js';
import { uniform } from './random.js';

export interface RaggedShape {
  /** [queries, keys] of each sequence. */
  readonly lengths: readonly (readonly [queries: number, keys: number])[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly headDimV?: number;
  readonly pageSize: number;
}

/** Decoding rows beside a chunk of a prompt, sequences without queries, and without keys. */
export const mixed: RaggedShape = {
  lengths: [
    [1, 37],
    [20, 45],
    [0, 9],
    [1, 1],
    [3, 0],
    [5, 64],
    [1, 80],
  ],
  heads: 4,
  kvHeads: 2,
  headDim: 40,
  headDimV: 24,
  pageSize: 16,
};

/** What both sides understand of the options. */
export type RaggedOptions = Pick<
  PagedProblem,
  'scale' | 'causal' | 'window' | 'sinkTokens' | 'softcap' | 'alibiSlopes' | 'sinks' | 'trees'
>;

/** Where sequences begin: [0, n0, n0 + n1, ...]. */
export function cumulative(lengths: readonly number[]): number[] {
  const all = [0];
  for (const length of lengths) all.push(all[all.length - 1] + length);
  return all;
}

/** The numbers 0 to count - 1 in any order. */
export function shuffled(count: number, seed: number): number[] {
  const random = uniform(seed);
  const all = Array.from({ length: count }, (_, n) => n);
  for (let n = count - 1; n > 0; n--) {
    const other = Math.floor(random() * (n + 1));
    [all[n], all[other]] = [all[other], all[n]];
  }
  return all;
}

/** A page table of `lengths` keys: rows of pages in any order, no page twice. */
export function pageTableOf(lengths: readonly number[], pageSize: number, seed: number) {
  const counts = lengths.map((keys) => Math.ceil(keys / pageSize));
  const spare = 2;
  const pages = counts.reduce((a, b) => a + b, spare);
  const free = shuffled(pages, seed);
  const width = Math.max(0, ...counts) + 1;
  const rows = counts.map((count) => {
    const own = free.splice(0, count);
    return [...own, ...new Array<number>(width - count).fill(-1)];
  });
  return { pages, rows };
}

export function raggedProblem(
  shape: RaggedShape,
  options: RaggedOptions = {},
  seed = 1,
  dtype: FloatDType = 'float32',
): PagedProblem {
  const { lengths, heads, kvHeads, headDim, headDimV = headDim, pageSize } = shape;
  const keys = lengths.map(([, count]) => count);
  const { pages, rows } = pageTableOf(keys, pageSize, seed);
  const cuSeqlensQ = cumulative(lengths.map(([count]) => count));
  const fill = (dim: number, own: number) => {
    const row = kvHeads * dim;
    const values = normals(pages * pageSize * row, own, dtype);
    const result = new Float32Array(values.length).fill(Number.NaN);
    keys.forEach((count, b) => {
      for (let j = 0; j < count; j++) {
        const at = (rows[b][Math.floor(j / pageSize)] * pageSize + (j % pageSize)) * row;
        result.set(values.subarray(at, at + row), at);
      }
    });
    return result;
  };
  return {
    ...options,
    shape: { heads, kvHeads, headDim, headDimV, pageSize },
    q: normals(cuSeqlensQ[lengths.length] * heads * headDim, 3 * seed, dtype),
    kPages: fill(headDim, 3 * seed + 1),
    vPages: fill(headDimV, 3 * seed + 2),
    cuSeqlensQ,
    pageTable: rows,
    seqlensK: keys,
  };
}

/** Tensors and options of a problem. */
export function raggedCall(
  problem: PagedProblem,
  dtype: FloatDType,
): { q: Tensor; kPages: Tensor; vPages: Tensor; options: RaggedAttentionOptions } {
  const { shape, q, kPages, vPages, cuSeqlensQ, pageTable, seqlensK } = problem;
  const { heads, kvHeads = heads, headDim, headDimV = headDim, pageSize } = shape;
  const { scale, causal, window, sinkTokens, softcap, alibiSlopes, sinks } = problem;
  const pages = kPages.length / (pageSize * kvHeads * headDim);
  const batch = seqlensK.length;
  const slopes = alibiSlopes && Float32Array.from(alibiSlopes);
  return {
    q: tensor(q, [q.length / (heads * headDim), heads, headDim], { dtype }),
    kPages: tensor(kPages, [pages, pageSize, kvHeads, headDim], { dtype }),
    vPages: tensor(vPages, [pages, pageSize, kvHeads, headDimV], { dtype }),
    options: {
      ...Object.fromEntries(
        Object.entries({ scale, causal, window, sinkTokens, softcap }).filter(
          ([, x]) => x !== undefined,
        ),
      ),
      ...(slopes && {
        alibiSlopes: tensor(slopes, slopes.length === heads ? [heads] : [batch, heads]),
      }),
      ...(problem.trees && { tree: treeOf(problem) }),
      ...(sinks && { sinks: tensor(Float32Array.from(sinks), [heads]) }),
      cuSeqlensQ: Array.from(cuSeqlensQ),
      pageTable: tensor(Int32Array.from(pageTable.flatMap((row) => Array.from(row))), [
        batch,
        batch === 0 ? 0 : pageTable[0].length,
      ]),
      seqlensK: Array.from(seqlensK),
    },
  };
}

function treeOf({ cuSeqlensQ, seqlensK, trees = [] }: PagedProblem) {
  const { mask, words, positions } = packTrees(
    Array.from(seqlensK, (keys, b) => {
      return { queries: cuSeqlensQ[b + 1] - cuSeqlensQ[b], keys, parents: trees[b] };
    }),
  );
  return { mask: tensor(mask, [positions.length, words]), positions };
}

/** Runs a problem on the default device. */
export function attendRagged(
  problem: PagedProblem,
  dtype: FloatDType,
  more: Partial<RaggedAttentionOptions> = {},
): AttentionResult {
  const { q, kPages, vPages, options } = raggedCall(problem, dtype);
  return flashAttentionRagged(q, kPages, vPages, { ...options, ...more, returnLse: true });
}

/** A problem over pages in 8 bits. */
export interface QuantizedProblem {
  /** Of what the pages stand for. */
  readonly problem: PagedProblem;
  readonly codes: CodeDType;
  readonly q: Tensor;
  readonly kPages: Tensor;
  readonly vPages: Tensor;
  readonly options: RaggedAttentionOptions;
}

/**
 * The pages of a problem in 8 bits. What no sequence holds has scale NaN, and codes far out. Scales
 * are positive, or of either sign where the caller's own may be.
 */
export function quantizedProblem(
  problem: PagedProblem,
  codes: CodeDType,
  dtype: FloatDType,
  eitherSign = false,
): QuantizedProblem {
  const { heads, kvHeads = heads, headDim, headDimV = headDim, pageSize } = problem.shape;
  const rounded = { ...problem, q: Float32Array.from(problem.q, rounding[dtype]) };
  const { q, kPages, options } = raggedCall(rounded, dtype);
  const [pages] = kPages.shape;
  const make = (data: PagedProblem['kPages'], dim: number) => {
    const positive = quantizedCache(data, dim, codes);
    const sign = (n: number) => (eitherSign && n % 3 === 0 ? -1 : 1);
    const rows = { ...positive, scales: positive.scales.map((scale, n) => sign(n) * scale) };
    const poisoned = rows.codes.map((code, n) =>
      Number.isNaN(rows.scales[Math.floor(n / dim)]) ? (codes === 'int8' ? -128 : 0x7f) : code,
    );
    return {
      values: dequantizedCache(rows),
      pages: tensor(poisoned, [pages, pageSize, kvHeads, dim], { dtype: codes }),
      scales: tensor(rows.scales, [pages, pageSize, kvHeads]),
    };
  };
  const [k, v] = [make(problem.kPages, headDim), make(problem.vPages, headDimV)];
  return {
    problem: { ...rounded, kPages: k.values, vPages: v.values },
    codes,
    q,
    kPages: k.pages,
    vPages: v.pages,
    options: { ...options, kScales: k.scales, vScales: v.scales },
  };
}

/** Within the tolerance of test/support/numerics.ts, of what the pages stand for. */
export async function expectQuantized(
  { problem, q, kPages, vPages, options }: QuantizedProblem,
  more: Partial<RaggedAttentionOptions> = {},
): Promise<void> {
  const all = { ...options, ...more, returnLse: true } as const;
  const result = flashAttentionRagged(q, kPages, vPages, all);
  await compareRagged(result, problem, q.dtype as FloatDType);
}

/** Within the tolerance of test/support/numerics.ts. */
export async function expectRagged(
  problem: PagedProblem,
  dtype: FloatDType,
  more: Partial<RaggedAttentionOptions> = {},
): Promise<void> {
  await compareRagged(attendRagged(problem, dtype, more), problem, dtype);
}

async function compareRagged(
  { out, lse }: AttentionResult,
  problem: PagedProblem,
  dtype: FloatDType,
): Promise<void> {
  const truth = pagedAttention(problem);
  const standard = pagedAttention(problem, { precision: dtype });
  const errors = {
    out: maxError(await out.toFloat32(), truth.out),
    lse: maxError(await lse.toFloat32(), truth.lse),
  };
  expect(errors.out).toBeLessThanOrEqual(bound(standard.out, truth.out));
  expect(errors.lse).toBeLessThanOrEqual(bound(standard.lse, truth.lse));
}
