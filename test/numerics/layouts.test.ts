/**
 * Queries lie batched or packed, keys batched, packed or in pages, each independently of the other,
 * and a sequence's first query stands where it is told to. Every combination gives what its
 * sequences give one by one.
 */
import { native } from '../../lib/native/addon.js';
import type { NativeAttentionArgs, NativeTensor } from '../../lib/native/addon.js';
import { device } from '../support/device.js';
import { maxError, normals } from '../support/numerics.js';

const addon = native();
const [bfloat16, float32, int32] = [2, 0, 3];
const [heads, kvHeads, dim, pageSize] = [4, 2, 32, 8];
const slopes = [0.5, 0.25, 0.125, 0.0625];

const floats = (data: Float32Array, shape: number[], dtype = bfloat16) =>
  addon.fromData(device, dtype, shape, data, float32);
const ints = (data: number[], shape = [data.length]) =>
  addon.fromData(device, int32, shape, Int32Array.from(data), int32);
const read = async (tensor: NativeTensor) => new Float32Array(await addon.read(tensor, float32));

/** Lengths of queries and keys, and where the first query stands. */
interface Sequence {
  readonly rows: number;
  readonly keys: number;
  readonly first: number;
}

const queryData = (b: number, rows: number) => normals(rows * heads * dim, 10 + b, 'bfloat16');
const keyData = (b: number, keys: number, seed: number) =>
  normals(keys * kvHeads * dim, seed + b, 'bfloat16');

const options = {
  plain: {},
  causal: { causal: true },
  window: { windowLeft: 20, windowRight: 5, sinkTokens: 3 },
  alibi: { causal: true, alibiSlopes: floats(Float32Array.from(slopes), [heads], float32) },
  splits: { causal: true, numSplits: 3 },
} satisfies Record<string, Partial<NativeAttentionArgs>>;

/** One sequence alone, in tensors of its own; ALiBi and position as a mask. */
async function alone(s: Sequence, b: number, option: Partial<NativeAttentionArgs>) {
  const { causal, windowLeft = Infinity, windowRight = Infinity, sinkTokens = 0 } = option;
  const right = causal ? Math.min(windowRight, 0) : windowRight;
  const mask = new Float32Array(heads * s.rows * s.keys);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < s.rows; i++) {
      for (let j = 0; j < s.keys; j++) {
        const p = s.first + i;
        const seen = j <= p + right && (j >= p - windowLeft || j < sinkTokens);
        const bias = option.alibiSlopes ? -slopes[h] * Math.abs(p - j) : 0;
        mask[(h * s.rows + i) * s.keys + j] = seen ? bias : -Infinity;
      }
    }
  }
  const [out, lse] = addon.attention({
    q: floats(queryData(b, s.rows), [1, s.rows, heads, dim]),
    k: floats(keyData(b, s.keys, 20), [1, s.keys, kvHeads, dim]),
    v: floats(keyData(b, s.keys, 30), [1, s.keys, kvHeads, dim]),
    mask: floats(mask, [1, heads, s.rows, s.keys], float32),
    layout: 0,
    returnLse: true,
  });
  return [await read(out), await read(lse as NativeTensor)];
}

function cumulative(lengths: number[]): number[] {
  const sums = [0];
  for (const length of lengths) sums.push(sums[sums.length - 1] + length);
  return sums;
}

function concatenated(parts: Float32Array[], lengths = parts.map((part) => part.length)) {
  const starts = cumulative(lengths);
  const data = new Float32Array(starts[parts.length]);
  for (const [n, part] of parts.entries()) data.set(part, starts[n]);
  return data;
}

function queries(layout: 'batched' | 'packed', sequences: Sequence[]) {
  const data = concatenated(sequences.map((s, b) => queryData(b, s.rows)));
  const rows = sequences.map((s) => s.rows);
  return layout === 'batched'
    ? { q: floats(data, [rows.length, rows[0], heads, dim]) }
    : {
        q: floats(data, [data.length / (heads * dim), heads, dim]),
        cuSeqlensQ: ints(cumulative(rows)),
      };
}

function keys(layout: 'batched' | 'packed' | 'paged', sequences: Sequence[]) {
  const lengths = sequences.map((s) => s.keys);
  const row = kvHeads * dim;
  const parts = (seed: number) => sequences.map((s, b) => keyData(b, s.keys, seed));
  if (layout === 'packed') {
    const shape = [cumulative(lengths)[lengths.length], kvHeads, dim];
    return {
      k: floats(concatenated(parts(20)), shape),
      v: floats(concatenated(parts(30)), shape),
      cuSeqlensK: ints(cumulative(lengths)),
    };
  }
  const longest = Math.ceil(Math.max(...lengths) / pageSize) * pageSize;
  const padded = (seed: number) =>
    concatenated(
      parts(seed),
      lengths.map(() => longest * row),
    );
  const pages = longest / pageSize;
  const shape =
    layout === 'batched'
      ? [lengths.length, longest, kvHeads, dim]
      : [lengths.length * pages, pageSize, kvHeads, dim];
  return {
    k: floats(padded(20), shape),
    v: floats(padded(30), shape),
    seqlensK: ints(lengths),
    ...(layout === 'paged' && {
      pageTable: ints(
        Array.from({ length: lengths.length * pages }, (_, n) => n),
        [lengths.length, pages],
      ),
    }),
  };
}

const batched = [5, 5, 5];
const packed = [1, 0, 70];
const keyLengths = [100, 30, 75];

const lengths = { batched, packed };

describe.each(['batched', 'packed'] as const)('queries %s', (queryLayout) => {
  describe.each(['batched', 'packed', 'paged'] as const)('keys %s', (keyLayout) => {
    test.each(Object.entries(options))('%s', async (_name, option) => {
      for (const moved of [false, true]) {
        const sequences = lengths[queryLayout].map((rows, b) => ({
          rows,
          keys: keyLengths[b],
          first: moved ? [3, 40, 0][b] : keyLengths[b] - rows,
        }));
        const [out, lse] = addon.attention({
          ...queries(queryLayout, sequences),
          ...keys(keyLayout, sequences),
          ...option,
          ...(moved && { firstPositions: ints(sequences.map((s) => s.first)) }),
          layout: 0,
          returnLse: true,
        });
        const [values, sums] = [await read(out), await read(lse as NativeTensor)];
        let row = 0;
        for (const [b, s] of sequences.entries()) {
          const [expected, expectedSums] = await alone(s, b, option);
          const width = heads * dim;
          const mine = values.subarray(row * width, (row + s.rows) * width);
          expect(maxError(mine, expected)).toBeLessThan(0.02);
          const total = values.length / width;
          for (let h = 0; h < heads; h++) {
            const begin = queryLayout === 'packed' ? h * total + row : (b * heads + h) * s.rows;
            const sumsOfHead = sums.subarray(begin, begin + s.rows);
            const truth = expectedSums.subarray(h * s.rows, (h + 1) * s.rows);
            expect(maxError(sumsOfHead, truth)).toBeLessThan(1e-3);
          }
          row += s.rows;
        }
      }
    });
  });
});
