// float8_e4m3 tensors, quantize() and dequantize(): against the reference, on whichever device runs
// the tests.
import {
  type AttentionOptions,
  dequantize,
  devices,
  explain,
  flashAttention,
  flashAttentionQkvPacked,
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
  quantizedAttention,
  quantizeE4m3,
  type ReferenceProblem,
  type ReferenceShape,
  standardAttention,
} from '../lib/reference/index.js';
import { device, testIf } from './support/device.js';
import { expectThrow } from './support/expect-error.js';
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
    for (const [n, scale] of scales.entries()) {
      expect(scale / expected.scales[n]).toBeCloseTo(1, 5);
    }
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

const kernels = devices().find(({ name }) => name === device)?.kernels ?? [];
const hasKernel = kernels.includes('sm90.forward.float8');
const testKernel = testIf(hasKernel, `${device} has no float8 kernel`);

describe('attention on float8 tensors', () => {
  const rmse = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    Math.sqrt(Array.from(a).reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0) / a.length);

  testKernel.each<[string, Partial<ReferenceShape>, object, QuantizeOptions, number?]>([
    ['a scale per block', {}, {}, {}],
    ['a scale per head', {}, { causal: true }, { per: 'head' }],
    ['a scale per tensor', { headDim: 64 }, { window: [100, 20] }, { per: 'tensor' }],
    [
      'rotated, grouped heads',
      { heads: 4, kvHeads: 2 },
      { causal: true },
      { hadamard: { seed: 3n } },
    ],
    ['padding', { batch: 2, headDim: 64 }, { seqlensK: [150, 31] }, {}],
    ['few rows', { seqlenQ: 1, heads: 2, headDim: 32, headDimV: 48 }, {}, {}],
    ['wide heads', { seqlenK: 140, headDim: 256 }, {}, {}],
    ['splits', { seqlenK: 500 }, { causal: true }, {}, 3],
    ['splits, wide heads', { seqlenK: 200, headDim: 256 }, {}, {}, 2],
  ])('%s', async (_, given, options, quantization, numSplits = 1) => {
    const sizes = { batch: 1, seqlenQ: 70, seqlenK: 200, heads: 1, headDim: 128, ...given };
    const { batch, seqlenQ, seqlenK, heads, headDim, kvHeads = heads, headDimV = headDim } = sizes;
    const shapes = [
      [batch, seqlenQ, heads, headDim],
      [batch, seqlenK, kvHeads, headDim],
      [batch, seqlenK, kvHeads, headDimV],
    ];
    const inputs = shapes.map((s, i) =>
      normals(
        s.reduce((a, b) => a * b),
        20 + i,
      ),
    );
    const [q8, k8] = [0, 1].map((i) => quantize(tensor(inputs[i], shapes[i]), dtype, quantization));
    const per = quantization.per === 'tensor' ? 'tensor' : 'head';
    const v8 = quantize(tensor(inputs[2], shapes[2]), dtype, { per });
    const { out, lse } = flashAttention(q8.values, k8.values, v8.values, {
      ...options,
      numSplits,
      returnLse: true,
      scales: { q: q8.scales, k: k8.scales, v: v8.scales },
    });
    expect(out).toMatchObject({ dtype: 'bfloat16', shape: [batch, seqlenQ, heads, headDimV] });

    const [q, k, v] = inputs;
    const problem: ReferenceProblem = { shape: sizes, q, k, v, ...options };
    const exact = standardAttention(problem);
    const model = quantizedAttention(problem, quantization);
    const values = await out.toFloat32();
    const error = rmse(model.out, exact.out);
    // The kernel takes keys in tiles and an order of its own, so weights round differently; q, k
    // and v do not.
    expect(rmse(values, exact.out)).toBeLessThan(1.1 * error);
    expect(rmse(values, model.out)).toBeLessThan(0.7 * error);
    expect(rmse(await lse.toFloat32(), model.lse)).toBeLessThan(2e-3);
  });

  testKernel('bhsd gives the bits of bshd', async () => {
    const [q, k, v] = [1, 2, 3].map((seed) => randn([1, 2, 200, 64], { seed: BigInt(seed) }));
    const layout = 'bhsd';
    const [q8, k8] = [q, k].map((x) => quantize(x, dtype, { layout }));
    const v8 = quantize(v, dtype, { layout, per: 'head' });
    const scales = { q: q8.scales, k: k8.scales, v: v8.scales };
    const out = flashAttention(q8.values, k8.values, v8.values, { layout, scales });
    expect(out.shape).toEqual([1, 2, 200, 64]);
    const turned = [q8, k8, v8].map(({ values }) => values.transpose(0, 2, 1, 3).contiguous());
    const bshd = flashAttention(turned[0], turned[1], turned[2], { scales });
    expect(await bshd.transpose(0, 2, 1, 3).data()).toEqual(await out.data());
    const elsewhere = k8.scales.transpose(2, 1, 0).contiguous().transpose(2, 1, 0);
    expect(elsewhere.strides).not.toEqual(k8.scales.strides);
    const strided = flashAttention(turned[0], turned[1], turned[2], {
      scales: { ...scales, k: elsewhere },
    });
    expect(await strided.data()).toEqual(await bshd.data());
    expect(explain(q8.values, k8.values, v8.values, { layout, scales })).toMatchObject({
      kernel: 'sm90.forward.float8',
      numSplits: 1,
    });
  });

  testKernel('what the kernel leaves out is refused at the call, by its name', () => {
    const make = (dim: number, seqlenK = 20) => {
      const [q8, k8] = [9, seqlenK].map((n) => quantize(zeros([1, n, 2, dim]), dtype));
      const v8 = quantize(zeros([1, seqlenK, 2, dim]), dtype, { per: 'head' });
      const scales = { q: q8.scales, k: k8.scales, v: v8.scales };
      return (options: AttentionOptions = {}) => {
        return () => flashAttention(q8.values, k8.values, v8.values, { scales, ...options });
      };
    };
    const options: [AttentionOptions, string, RegExp][] = [
      [{ softcap: 3 }, 'softcap', /left out .* received 3/],
      [{ scale: -1 }, 'scale', /positive .* received -1/],
      [{ alibiSlopes: zeros([2]) }, 'alibiSlopes', /left out .* received one/],
      [{ sinkTokens: 4 }, 'sinkTokens', /left out .* received 4/],
      [{ dropout: { p: 0.5, seed: 1n } }, 'dropout', /left out .* received p = 0.5/],
    ];
    for (const [given, name, message] of options) {
      expectThrow(make(32)(given), 'ERR_OPTION', `options.${name}`, message);
    }
    expectThrow(make(24)(), 'ERR_SHAPE', 'q', /multiple of 16.* received shape \[1, 9, 2, 24\]/);
    expectThrow(make(272)(), 'ERR_SHAPE', 'q', /at most 256 .* received 272/);
    const wide = quantize(zeros([1, 9, 2, 40]), dtype, { per: 'head' });
    const q8 = quantize(zeros([1, 9, 2, 32]), dtype, { per: 'head' });
    const scales = { q: q8.scales, k: q8.scales, v: wide.scales };
    expectThrow(
      () => flashAttention(q8.values, q8.values, wide.values, { scales }),
      'ERR_SHAPE',
      'v',
      /dequantize\(\) q, k and v first/,
    );
  });

  testKernel('without keys rows see nothing', async () => {
    const [q8, k8] = [9, 0].map((n) => quantize(zeros([1, n, 2, 32]), dtype, { per: 'head' }));
    const scales = { q: q8.scales, k: k8.scales, v: k8.scales };
    const options = { scales, returnLse: true } as const;
    const { out, lse } = flashAttention(q8.values, k8.values, k8.values, options);
    expect(new Set(await out.toFloat32())).toEqual(new Set([0]));
    expect(new Set(await lse.toFloat32())).toEqual(new Set([-Infinity]));
  });

  testKernel('tiny scales hide keys all the same', async () => {
    const tiny = quantize(
      tensor(
        normals(70 * 64, 3).map((x) => x * 1e-20),
        [1, 70, 1, 64],
      ),
      dtype,
    );
    const v8 = quantize(tensor(normals(70 * 64, 4), [1, 70, 1, 64]), dtype, { per: 'head' });
    const scales = { q: tiny.scales, k: tiny.scales, v: v8.scales };
    const options = { scales, causal: true };
    const out = await flashAttention(tiny.values, tiny.values, v8.values, options).toFloat32();
    const v = await dequantize(v8).toFloat32();
    expect(out.slice(0, 64).every((x, i) => Math.abs(x - v[i]) < 0.02)).toBe(true);
    expect(out.every(Number.isFinite)).toBe(true);
  });

  testIf(!hasKernel, `${device} has the kernel`)('devices without the kernel say so', () => {
    const x8 = quantize(zeros([1, 9, 2, 32]), dtype, { per: 'head' });
    const scales = { q: x8.scales, k: x8.scales, v: x8.scales };
    expectThrow(
      () => flashAttention(x8.values, x8.values, x8.values, { scales }),
      'ERR_DTYPE',
      'q',
      /dequantize\(\) q, k and v first/,
    );
    const packed = quantize(zeros([1, 27, 2, 32]), dtype, { per: 'head' }).values;
    expectThrow(
      () => flashAttentionQkvPacked(packed.reshape([1, 9, 3, 2, 32]), { scales }),
      'ERR_DTYPE',
      'qkv',
      /^Expected qkv to be float32/,
    );
  });
});
