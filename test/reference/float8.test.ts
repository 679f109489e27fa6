// float8 e4m3 and quantisation in the reference.
import {
  dequantizeE4m3,
  e4m3Bits,
  e4m3FromBits,
  hadamardRotate,
  quantizedAttention,
  quantizeE4m3,
  roundToE4m3,
  standardAttention,
} from '../../lib/reference/index.js';
import { normals } from '../support/numerics.js';

const codes = Array.from({ length: 256 }, (_, bits) => bits);
const isNaNCode = (bits: number) => (bits & 0x7f) === 0x7f;

describe('e4m3', () => {
  test('all 256 codes have the value that the OCP format says', () => {
    for (const bits of codes) {
      const sign = bits & 0x80 ? -1 : 1;
      const exponent = (bits >> 3) & 15;
      const mantissa = bits & 7;
      const value =
        exponent === 0 ? (mantissa / 8) * 2 ** -6 : (1 + mantissa / 8) * 2 ** (exponent - 7);
      if (isNaNCode(bits)) expect(e4m3FromBits(bits)).toBeNaN();
      else expect(e4m3FromBits(bits)).toBe(sign * value);
    }
    expect(e4m3FromBits(0x7e)).toBe(448);
    expect(e4m3FromBits(0x01)).toBe(2 ** -9);
  });

  test('every code comes back', () => {
    for (const bits of codes) {
      expect(e4m3Bits(e4m3FromBits(bits))).toBe(isNaNCode(bits) ? 0x7f : bits);
    }
  });

  test('rounds to the nearest neighbour, halfway to the even one', () => {
    for (let bits = 0; bits < 0x7e; bits++) {
      const [low, high] = [e4m3FromBits(bits), e4m3FromBits(bits + 1)];
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      expect(e4m3Bits(middle)).toBe(even);
      expect(e4m3Bits(-middle)).toBe(even | 0x80);
      expect(e4m3Bits(middle + (high - middle) * 2 ** -30)).toBe(bits + 1);
      expect(e4m3Bits(middle - (middle - low) * 2 ** -30)).toBe(bits);
    }
  });

  test('saturates, and keeps NaN and the sign of zero', () => {
    for (const x of [448.1, 464, 465, 1e30, Infinity]) {
      expect(roundToE4m3(x)).toBe(448);
      expect(e4m3Bits(-x)).toBe(0xfe);
    }
    expect(roundToE4m3(NaN)).toBeNaN();
    expect(e4m3Bits(-0)).toBe(0x80);
    expect(e4m3Bits(-1e-9)).toBe(0x80);
  });
});

describe('rotation', () => {
  test('keeps dot products, and comes back', () => {
    for (const dim of [1, 2, 32, 64, 256]) {
      const [q, k] = [normals(dim, 1), normals(dim, 2)];
      const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
        Array.from(a).reduce((sum, x, c) => sum + x * b[c], 0);
      const [rq, rk] = [hadamardRotate(q, dim, 5n), hadamardRotate(k, dim, 5n)];
      expect(dot(rq, rk)).toBeCloseTo(dot(q, k), 10);
      const back = hadamardRotate(rq, dim, 5n, 'back');
      for (const [c, x] of back.entries()) expect(x).toBeCloseTo(q[c], 12);
    }
  });

  test('spreads a single outlier over the row evenly', () => {
    const row = new Float64Array(64);
    row[17] = 8;
    for (const x of hadamardRotate(row, 64, 3n)) expect(Math.abs(x)).toBeCloseTo(1, 12);
  });

  test('signs differ from seed to seed', () => {
    const row = normals(128, 9);
    expect(hadamardRotate(row, 128, 1n)).not.toEqual(hadamardRotate(row, 128, 2n));
  });

  test('asks for a power of two', () => {
    expect(() => hadamardRotate(new Float64Array(48), 48, 1n)).toThrow(/power of two/);
  });
});

describe('quantizeE4m3', () => {
  const shape = { batch: 2, seqlen: 150, heads: 2, dim: 16 };
  const data = normals(2 * 150 * 2 * 16, 3);

  test.each(['block', 'head', 'tensor'] as const)('per %s: the error is that of e4m3', (per) => {
    const quantized = quantizeE4m3(data, shape, { per });
    expect(quantized.scales).toHaveLength(2 * 2 * 2);
    expect(new Set(quantized.scales).size).toBe({ block: 8, head: 4, tensor: 1 }[per]);
    const smallest = Math.max(...quantized.scales) * 2 ** -10; // half of the subnormal spacing
    dequantizeE4m3(quantized).forEach((x, i) => {
      expect(Math.abs(x - data[i])).toBeLessThanOrEqual(
        Math.max((1 + 1e-6) * smallest, Math.abs(data[i]) / 16),
      );
    });
  });

  test('zeros get a scale of 1', () => {
    const { scales, bits } = quantizeE4m3(new Float64Array(16), {
      ...shape,
      batch: 1,
      seqlen: 1,
      heads: 1,
    });
    expect([...scales]).toEqual([1]);
    expect(bits).toEqual(new Uint8Array(16));
  });
});

describe('quantizedAttention', () => {
  const shape = { batch: 1, seqlenQ: 40, seqlenK: 300, heads: 4, kvHeads: 2, headDim: 32 };
  const problem = {
    shape,
    q: normals(40 * 4 * 32, 1),
    k: normals(300 * 2 * 32, 2),
    v: normals(300 * 2 * 32, 3),
    causal: true,
  };
  const exact = standardAttention(problem);
  const rmse = (out: Float64Array) =>
    Math.sqrt(out.reduce((sum, x, i) => sum + (x - exact.out[i]) ** 2, 0) / out.length);

  test('is attention but for the rounding', () => {
    const inputs = rmse(quantizedAttention(problem, { quantizeP: false }).out);
    const all = rmse(quantizedAttention(problem).out);
    const size = Math.sqrt(exact.out.reduce((sum, x) => sum + x * x, 0) / exact.out.length);
    expect(inputs).toBeGreaterThan(0);
    expect(inputs).toBeLessThan(0.05 * size);
    expect(all).toBeLessThan(0.06 * size);
    expect(all).not.toBe(inputs);
  });

  test('rotation helps against outliers in q and k', () => {
    const wild = { ...problem, q: problem.q.slice(), k: problem.k.slice() };
    for (let i = 0; i < wild.k.length; i += 97) wild.k[i] *= 30;
    const truth = standardAttention(wild).out;
    const error = (hadamard?: { seed: bigint }) =>
      quantizedAttention(wild, { hadamard }).out.reduce(
        (sum, x, i) => sum + (x - truth[i]) ** 2,
        0,
      );
    expect(error({ seed: 1n })).toBeLessThan(error());
  });
});

test('one scale for more blocks than a call takes arguments', () => {
  const heads = 200_000;
  const data = Float32Array.from({ length: heads }, (_, i) => (i === 150_000 ? 896 : 1));
  const { scales } = quantizeE4m3(data, { batch: 1, seqlen: 1, heads, dim: 1 }, { per: 'tensor' });
  expect(scales).toHaveLength(heads);
  expect(new Set(scales)).toEqual(new Set([2]));
});
