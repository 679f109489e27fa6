/**
 * With a fixed number of splits the bits of a sequence's result depend on that sequence alone: not
 * on how many query rows its neighbours have, which another kernel may be better for, nor on how
 * many keys, which more splits may be for (docs/architecture.md, "Reproducible").
 */
import { createHash } from 'node:crypto';
import {
  flashAttention,
  flashAttentionPaged,
  flashAttentionVarlen,
  type Tensor,
  tensor,
} from '../../lib/index.js';
import { sized } from '../support/device.js';
import { normals, testedDTypes } from '../support/numerics.js';

const [heads, kvHeads, headDim] = [14, 2, 32];
const ownKeys = 300;

interface Result {
  readonly out: Tensor;
  readonly lse: Tensor;
}

/** Which bits `values` have. */
const digest = (values: Float32Array) =>
  createHash('sha256').update(new Uint8Array(values.slice().buffer)).digest('hex');

/** Rows [begin, end) of packed results: the bits of out, and of every head's lse. */
async function bitsOfRows({ out, lse }: Result, begin: number, end: number) {
  const total = out.shape[0];
  const [values, sums] = await Promise.all([out.toFloat32(), lse.toFloat32()]);
  for (const t of [out, lse]) t.dispose();
  const width = heads * headDim;
  const ofHead = (h: number) => digest(sums.subarray(h * total + begin, h * total + end));
  return {
    out: digest(values.subarray(begin * width, end * width)),
    lse: Array.from({ length: heads }, (_, h) => ofHead(h)),
  };
}

describe.each(testedDTypes)('%s', (dtype) => {
  const random = (rows: number, ofHeads: number, seed: number) =>
    normals(rows * ofHeads * headDim, seed, dtype);
  const packed = ([a, b]: Float32Array[], ofHeads: number) => {
    const data = new Float32Array(a.length + b.length);
    data.set(a);
    data.set(b, a.length);
    return tensor(data, [data.length / (ofHeads * headDim), ofHeads, headDim], { dtype });
  };
  const ownK = random(ownKeys, kvHeads, 2);
  const ownV = random(ownKeys, kvHeads, 3);
  const neighbourK = random(700, kvHeads, 4);
  const neighbourV = random(700, kvHeads, 5);

  /** The sequence of `ownRows` queries beside a neighbour, before or behind it. */
  function varlen(ownRows: number, rows: number, keys: number, before: boolean, options: object) {
    const order = <T>(own: T, other: T) => (before ? [other, own] : [own, other]);
    const keysOf = (data: Float32Array) => data.subarray(0, keys * kvHeads * headDim);
    const cumulative = ([a, b]: number[]) => [0, a, a + b];
    using qs = packed(order(random(ownRows, heads, 1), random(rows, heads, 6)), heads);
    using ks = packed(order(ownK, keysOf(neighbourK)), kvHeads);
    using vs = packed(order(ownV, keysOf(neighbourV)), kvHeads);
    const result = flashAttentionVarlen(qs, ks, vs, {
      cuSeqlensQ: cumulative(order(ownRows, rows)),
      cuSeqlensK: cumulative(order(ownKeys, keys)),
      returnLse: true,
      ...options,
    });
    const begin = before ? rows : 0;
    return bitsOfRows(result, begin, begin + ownRows);
  }

  const neighbours = [
    ...Array.from({ length: 12 }, (_, n) => ({ rows: n + 1, keys: [1, 130, 700][n % 3] })),
    { rows: 1, keys: 0 },
    { rows: 0, keys: 700 },
    { rows: 70, keys: 70 },
  ];

  test.each([
    ['1 query, 1 split', 1, { numSplits: 1 }],
    ['1 query, 4 splits', 1, { numSplits: 4 }],
    ['1 query, 64 splits', 1, { numSplits: 64 }],
    ['1 query, a window in 3 splits', 1, { numSplits: 3, causal: true, window: [200, 0] }],
    ['1 query, softcap in 2 splits', 1, { numSplits: 2, softcap: 5 }],
    ['12 queries, 1 split', 12, { numSplits: 1, causal: true }],
    ['12 queries, 4 splits', 12, { numSplits: 4 }],
  ])('varlen, %s', async (_name, ownRows, options) => {
    let first: Awaited<ReturnType<typeof varlen>> | undefined;
    for (const [n, { rows, keys }] of neighbours.entries()) {
      const result = await varlen(ownRows, rows, keys, n % 2 === 1, options);
      first ??= result;
      expect({ rows, keys, ...result }).toEqual({ rows, keys, ...first });
    }
  });

  /** One query of each of two sequences over `longest` keys; of which the first's bits. */
  async function batched(longest: number, seqlensK: number[], numSplits: number, pageSize = 0) {
    const pad = (own: Float32Array, other: Float32Array) => {
      const data = new Float32Array(2 * longest * kvHeads * headDim);
      data.set(own);
      data.set(other.subarray(0, data.length / 2), data.length / 2);
      return data;
    };
    const q = tensor(random(2, heads, 1), [2, 1, heads, headDim], { dtype });
    const shape = pageSize
      ? [(2 * longest) / pageSize, pageSize, kvHeads, headDim]
      : [2, longest, kvHeads, headDim];
    const k = tensor(pad(ownK, neighbourK), shape, { dtype });
    const v = tensor(pad(ownV, neighbourV), shape, { dtype });
    const common = { seqlensK, numSplits, returnLse: true } as const;
    const pageTable = tensor(
      Int32Array.from({ length: pageSize && shape[0] }, (_, page) => page),
      pageSize ? [2, shape[0] / 2] : [0],
    );
    const { out, lse } = pageSize
      ? flashAttentionPaged(q, k, v, { pageTable, ...common })
      : flashAttention(q, k, v, common);
    const values = await out.toFloat32();
    const sums = await lse.toFloat32();
    for (const t of [q, k, v, pageTable, out, lse]) t.dispose();
    return {
      out: digest(values.subarray(0, heads * headDim)),
      lse: digest(sums.subarray(0, heads)),
    };
  }

  test.each([
    ['dense', 0],
    ['paged', 20],
  ])('%s', async (_name, pageSize) => {
    for (const numSplits of [1, 4, ...sized([64], [])]) {
      const first = await batched(300, [ownKeys, 300], numSplits, pageSize);
      for (const [longest, other] of [
        [300, 0],
        [300, 17],
        [400, 400],
        [700, 700],
      ]) {
        const result = await batched(longest, [ownKeys, other], numSplits, pageSize);
        expect({ longest, other, ...result }).toEqual({ longest, other, ...first });
      }
    }
  });
});
