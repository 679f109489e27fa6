// float8_e4m3 tensors, quantize() and dequantize(): against the reference, on whichever device runs the tests.
import {
  dequantize,
  flashAttention,
  type QuantizeOptions,
  quantize,
  randn,
  tensor,
  zeros,
} from '../lib/index.js';
import {
  dequantizeE4m3,
  e4m3Bits,
  e4m3FromBits,
  hadamardRotate,
  quantizeE4m3,
} from '../lib/reference/index.js';
import { device } from './support/device.js';
import { settledMemory } from './support/gc.js';
import { expectNativeAgrees } from './support/native-agrees.js';
import { normals } from './support/numerics.js';

const dtype = 'float8_e4m3';
const codes = Uint8Array.from({ length: 256 }, (_, bits) => bits);

describe('float8_e4m3 tensors', () => {
  test('hold all 256 codes as raw bits', async () => {
    const t = tensor(codes, [16, 16], { dtype });
    expect(t).toMatchObject({ dtype, device, byteLength: 256, size: 256 });
    expectNativeAgrees(t);
    expect(await t.data()).toEqual(codes);
    expect(await t.toFloat32()).toEqual(Float32Array.from(codes, e4m3FromBits));
    expect(await t.to('cpu').data()).toEqual(codes);
    for (const wide of ['float32', 'float16', 'bfloat16'] as const) {
      const expected = codes.map((bits) => ((bits & 0x7f) === 0x7f ? 0x7f : bits));
      expect(await t.to(wide).to(dtype).data()).toEqual(expected);
    }
  });

  test('round to nearest even, saturate and keep NaN', async () => {
    const values = [0, -0, NaN, Infinity, -Infinity, 448, 449, 464, 1e30, -1e30, 1e-40, -1e-40];
    for (let bits = 0; bits < 0x7e; bits++) {
      const [low, high] = [e4m3FromBits(bits), e4m3FromBits(bits + 1)];
      const middle = (low + high) / 2;
      values.push(low, middle, -middle, (low + middle) / 2, (high + middle) / 2);
      values.push(Math.fround(middle * (1 + 2 ** -22)), Math.fround(middle * (1 - 2 ** -22)));
    }
    const expected = Uint8Array.from(values, (x) => e4m3Bits(Math.fround(x)));
    expect(await tensor(values, [values.length], { dtype }).data()).toEqual(expected);
    const floats = Float32Array.from(values);
    expect(await tensor(floats, [values.length], { dtype }).data()).toEqual(expected);
    const wide = tensor(floats, [values.length]);
    expect(await wide.to(dtype).data()).toEqual(expected);
    // One by one as well: other code converts elements that do not lie side by side.
    const apart = tensor(new Float32Array(2 * values.length), [values.length, 2]);
    expect(await apart.slice(null, [1, 2]).to(dtype).data()).toEqual(new Uint8Array(values.length));
    const twice = tensor(
      values.flatMap((x) => [x, 1]),
      [values.length, 2],
    );
    expect(await twice.slice(null, [0, 1]).to(dtype).data()).toEqual(expected);
  });

  test('convert from integers and booleans, and have views', async () => {
    expect(
      await tensor(Int32Array.of(1, -3, 500), [3])
        .to(dtype)
        .toFloat32(),
    ).toEqual(Float32Array.of(1, -3, 448));
    expect(await tensor([true, false], [2]).to(dtype).toFloat32()).toEqual(Float32Array.of(1, 0));
    const t = tensor(codes, [4, 64], { dtype });
    expect(await t.transpose(1, 0).slice([1, 3]).data()).toEqual(
      Uint8Array.of(1, 65, 129, 193, 2, 66, 130, 194),
    );
    expect(await t.transpose(1, 0).toFloat32()).toEqual(
      await t.to('float32').transpose(1, 0).toFloat32(),
    );
    expect(await t.transpose(1, 0).contiguous().reshape([-1]).data()).toEqual(
      await t.transpose(1, 0).data(),
    );
    expect(await zeros([3], { dtype }).data()).toEqual(new Uint8Array(3));
    expect(await tensor(new Uint8Array(0), [0, 3], { dtype }).data()).toEqual(new Uint8Array(0));
  });
});

const shape = { batch: 2, seqlen: 200, heads: 3, dim: 32 };
const axes = [shape.batch, shape.seqlen, shape.heads, shape.dim];
const data = normals(
  axes.reduce((a, b) => a * b),
  11,
);
data[5] = 40; // an outlier

const bits = (t: { data(): Promise<unknown> }) => t.data() as Promise<Uint8Array>;

describe('quantize()', () => {
  test.each(['block', 'head', 'tensor'] as const)(
    'per %s: the bits of the reference',
    async (per) => {
      const expected = quantizeE4m3(data, shape, { per });
      const quantized = quantize(tensor(data, axes), dtype, { per });
      expect(quantized.layout).toBe('bshd');
      expect(quantized.hadamard).toBeUndefined();
      expect(quantized.values).toMatchObject({ dtype, device, shape: axes });
      const shapes = { block: [2, 3, 2], head: [2, 3], tensor: [1] };
      expect(quantized.scales).toMatchObject({ dtype: 'float32', device, shape: shapes[per] });
      expect(await bits(quantized.values)).toEqual(expected.bits);
      const kept = { block: 1, head: 2, tensor: 12 }[per];
      expect(await quantized.scales.toFloat32()).toEqual(
        expected.scales.filter((_, n) => n % kept === 0),
      );
      const back = await dequantize(quantized).toFloat32();
      expect(back).toEqual(Float32Array.from(dequantizeE4m3(expected)));
    },
  );

  test.each([1, 2, 16, 32, 64, 256, 512])('rotates rows of %i', async (dim) => {
    const [seqlen, heads, seed] = [130, 2, 2n ** 63n + 5n];
    const rows = normals(seqlen * heads * dim, dim);
    const given = { batch: 1, seqlen, heads, dim };
    const quantized = quantize(tensor(rows, [1, seqlen, heads, dim]), dtype, {
      hadamard: { seed },
    });
    expect(quantized.hadamard).toEqual({ seed });
    const expected = quantizeE4m3(rows, given, { hadamard: { seed } });
    const scales = await quantized.scales.toFloat32();
    scales.forEach((scale, n) => expect(scale / expected.scales[n]).toBeCloseTo(1, 5));
    // In float32 a value that lies in the middle may fall to the other side.
    const codes = await bits(quantized.values);
    const differing = codes.filter((byte, i) => byte !== expected.bits[i]).length;
    expect(differing / codes.length).toBeLessThan(0.002);

    const back = await dequantize(quantized).toFloat32();
    const rotated = hadamardRotate(rows, dim, seed);
    const error = back.reduce((sum, x, i) => sum + (x - rows[i]) ** 2, 0);
    const power = rotated.reduce((sum, x) => sum + x * x, 0);
    expect(Math.sqrt(error / power)).toBeLessThan(0.04); // 2^-4 at the most, evenly spread
  });

  test('q . k survives a rotation by one seed, and not by two', async () => {
    const dim = 64;
    const make = (seed: number, turn: bigint) =>
      dequantize({
        ...quantize(tensor(normals(dim, seed), [1, 1, 1, dim]), dtype, {
          hadamard: { seed: turn },
        }),
        hadamard: undefined, // as a kernel sees it
      }).toFloat32();
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, c) => sum + x * b[c], 0);
    const truth = dot(normals(dim, 1), normals(dim, 1));
    expect(dot(await make(1, 7n), await make(1, 7n)) / truth).toBeCloseTo(1, 1);
    expect(Math.abs(dot(await make(1, 7n), await make(1, 8n)) / truth)).toBeLessThan(0.6);
  });

  test('takes bhsd, 16-bit dtypes and views without copies', async () => {
    const plain = tensor(data, axes);
    const expected = await bits(quantize(plain, dtype).values);
    const bhsd = quantize(plain.transpose(0, 2, 1, 3), dtype, { layout: 'bhsd' });
    expect(bhsd.layout).toBe('bhsd');
    expect(bhsd.scales.shape).toEqual([2, 3, 2]);
    expect(await bits(bhsd.values.transpose(0, 2, 1, 3))).toEqual(expected);
    expect(await dequantize(bhsd).transpose(0, 2, 1, 3).data()).toEqual(
      await dequantize(quantize(plain, dtype)).data(),
    );
    for (const narrow of ['float16', 'bfloat16'] as const) {
      const rounded = plain.to(narrow);
      expect(await bits(quantize(rounded, dtype).values)).toEqual(
        await bits(quantize(rounded.to('float32'), dtype).values),
      );
      const back = dequantize(quantize(rounded, dtype), { dtype: narrow });
      expect(back.dtype).toBe(narrow);
      expect(await back.toFloat32()).toEqual(
        await dequantize(quantize(rounded, dtype)).to(narrow).toFloat32(),
      );
    }
    const part = plain.slice(null, [3, 150], [1, 3]);
    expect(await bits(quantize(part, dtype).values)).toEqual(
      await bits(quantize(part.contiguous(), dtype).values),
    );
  });

  test('zeros, infinities, NaN and the ends of float32', async () => {
    const rows = new Float32Array(5 * 4);
    rows.set([NaN, Infinity, -Infinity, 2], 4);
    rows.set([1e-44, -1e-44, 0, 0], 8);
    rows.set([3.4e38, -3.4e38, 1e38, 0], 12);
    rows.set([NaN, NaN, Infinity, Infinity], 16);
    const t = tensor(rows, [5, 1, 1, 4]);
    const quantized = quantize(t, dtype);
    const scales = await quantized.scales.toFloat32();
    expect(scales[0]).toBe(1);
    expect(scales[1]).toBe(Math.fround(2 / 448));
    expect(scales[2]).toBe(2 ** -126);
    expect(scales[3]).toBe(Math.fround(Math.fround(3.4e38) / 448));
    expect(scales[4]).toBe(1);
    const given = { batch: 5, seqlen: 1, heads: 1, dim: 4 };
    expect(await bits(quantized.values)).toEqual(quantizeE4m3(rows, given).bits);
    expect([...(await bits(quantized.values))].slice(4, 8)).toEqual([0x7f, 0x7e, 0xfe, 0x7e]);
  });

  test('of nothing is nothing', async () => {
    for (const empty of [
      [0, 5, 2, 8],
      [2, 0, 2, 8],
      [2, 5, 0, 8],
    ]) {
      for (const per of ['block', 'head', 'tensor'] as const) {
        const quantized = quantize(zeros(empty), dtype, { per });
        expect(await bits(quantized.values)).toHaveLength(0);
        expect((await quantized.scales.toFloat32()).every((scale) => scale === 1)).toBe(true);
        expect(await dequantize(quantized).toFloat32()).toHaveLength(0);
      }
    }
  });

  test('is ordered like every other call, and keeps what it needs', async () => {
    const options = { hadamard: { seed: 1n } };
    const x = randn([1, 300, 2, 64], { seed: 4n });
    const expected = await dequantize(quantize(x, dtype, options)).toFloat32();
    const { tensors } = await settledMemory();
    const quantized = quantize(x, dtype, options);
    const back = dequantize(quantized);
    for (const t of [x, quantized.values, quantized.scales]) t.dispose();
    expect(await back.toFloat32()).toEqual(expected);
    back.dispose();
    expect((await settledMemory()).tensors).toBe(tensors - 1);
  });
});

test('attention on dequantised tensors: the way for devices without float8 kernels', async () => {
  const shapes = [
    [1, 40, 4, 32],
    [1, 150, 2, 32],
    [1, 150, 2, 32],
  ];
  const [q, k, v] = shapes.map((s, i) => randn(s, { seed: BigInt(i) }));
  const exact = await flashAttention(q, k, v).toFloat32();
  const hadamard = { seed: 9n };
  const options: QuantizeOptions[] = [{ hadamard }, { hadamard }, { per: 'head' }];
  const [q8, k8, v8] = [q, k, v].map((x, i) => dequantize(quantize(x, dtype, options[i])));
  const error = (await flashAttention(q8, k8, v8).toFloat32()).reduce(
    (sum, x, i) => sum + (x - exact[i]) ** 2,
    0,
  );
  const power = exact.reduce((sum, x) => sum + x * x, 0);
  expect(Math.sqrt(error / power)).toBeLessThan(0.05);
  expect(error).toBeGreaterThan(0);
});
