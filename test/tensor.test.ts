import { inspect } from 'node:util';
import { MessageChannel } from 'node:worker_threads';
import { type DType, empty, randn, type Tensor, tensor, zeros } from '../lib/index.js';
import {
  bfloat16Bits,
  bfloat16FromBits,
  float16Bits,
  float16FromBits,
} from '../lib/reference/index.js';
import { device, sized } from './support/device.js';
import { errorOf, expectThrow } from './support/expect-error.js';
import { heldMemory, settledMemory } from './support/gc.js';
import { expectNativeAgrees } from './support/native-agrees.js';

/** An error of another kind than ours. */
function thrown(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error('Nothing was thrown.');
}

describe('tensor()', () => {
  test('keeps float32 exactly, NaN and infinities included', async () => {
    const data = Float32Array.of(0, -0, 1.5, Number.NaN, Infinity, -Infinity, 1e-45, 3.4e38);
    const t = tensor(data, [2, 4]);
    expect(t).toMatchObject({ dtype: 'float32', device, size: 8, byteLength: 32 });
    expect(t.shape).toEqual([2, 4]);
    expect(t.strides).toEqual([4, 1]);
    expect(await t.data()).toEqual(data);
    expect(await t.toFloat32()).toEqual(data);
  });

  test('takes plain, nested and float64 numbers as float32', async () => {
    const expected = Float32Array.of(1, 2, 3, 0.1, -5, 6);
    const forms = [
      [1, 2, 3, 0.1, -5, 6],
      [
        [1, 2, 3],
        [0.1, -5, 6],
      ],
      Float64Array.of(1, 2, 3, 0.1, -5, 6),
    ];
    for (const form of forms) {
      const t = tensor(form, [2, 3]);
      expect(t.dtype).toBe('float32');
      expect(await t.data()).toEqual(expected);
    }
  });

  test.each([
    ['float16', float16Bits, float16FromBits],
    ['bfloat16', bfloat16Bits, bfloat16FromBits],
  ] as const)('rounds to %s like the reference', async (dtype, toBits, fromBits) => {
    const values = [0, -0, 1, 1 / 3, 65504, 65520, 1e6, 6e-8, 2.9e-8, 1e-40, Infinity, -2.5, 1e38];
    for (let i = 0; i < 2000; i++) values.push((i - 1000) * 1.0009765625 * 2 ** ((i % 40) - 20));
    const t = tensor(values, [values.length], { dtype });
    const bits = Uint16Array.from(values, (x) => toBits(Math.fround(x)));
    expect(new Uint16Array((await t.data()).buffer as ArrayBuffer)).toEqual(bits);
    expect(await t.toFloat32()).toEqual(Float32Array.from(bits, fromBits));
  });

  test.each(['float16', 'bfloat16'] as const)('takes raw bits of %s', async (dtype) => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const t = tensor(bits, [256, 256], { dtype });
    const { buffer } = await t.data();
    expect(Buffer.from(buffer).equals(Buffer.from(bits.buffer))).toBe(true);
  });

  test('reads float16 as raw bits, whatever the runtime has', async () => {
    class Float16Array extends Uint16Array {}
    const runtime = Object.getOwnPropertyDescriptor(globalThis, 'Float16Array');
    for (const value of [runtime?.value, Float16Array, undefined]) {
      Object.defineProperty(globalThis, 'Float16Array', { value, configurable: true });
      const t = tensor([1, 2.5], [2], { dtype: 'float16' });
      expect(await t.data()).toEqual(Uint16Array.of(0x3c00, 0x4100));
      expect((await t.take()).constructor).toBe(Uint16Array);
    }
    if (runtime) Object.defineProperty(globalThis, 'Float16Array', runtime);
    else delete (globalThis as { Float16Array?: unknown }).Float16Array;
  });

  test('takes Float16Array where the runtime has it', async () => {
    const { Float16Array } = globalThis as { Float16Array?: new (x: number[]) => Float32Array };
    if (!Float16Array) {
      expect(tensor([1, 2], [2], { dtype: 'float16' }).dtype).toBe('float16');
      return;
    }
    const t = tensor(new Float16Array([1, -2.5, 0.1]), [3]);
    expect(t.dtype).toBe('float16');
    expect(await t.toFloat32()).toEqual(
      Float32Array.from([1, -2.5, 0.1], (x) => float16FromBits(float16Bits(x))),
    );
    expect((await tensor(new Float16Array([0.5]), [1], { dtype: 'float32' }).data())[0]).toBe(0.5);
  });

  test('takes integers', async () => {
    const expected = Int32Array.of(0, -1, 2147483647, -2147483648);
    for (const data of [expected, BigInt64Array.from(expected, BigInt)]) {
      const t = tensor(data, [4]);
      expect(t.dtype).toBe('int32');
      expect(await t.data()).toEqual(expected);
    }
    expect(await tensor([...expected], [4], { dtype: 'int32' }).data()).toEqual(expected);
    expect(await tensor(Float32Array.of(3, -4), [2], { dtype: 'int32' }).data()).toEqual(
      Int32Array.of(3, -4),
    );
    expect(await tensor(Int32Array.of(3, -4), [2], { dtype: 'float32' }).data()).toEqual(
      Float32Array.of(3, -4),
    );
  });

  test('takes integers of 8 bits', async () => {
    const bytes = Int8Array.of(0, -1, 127, -128);
    const t = tensor(bytes, [2, 2]);
    expect(t).toMatchObject({ dtype: 'int8', byteLength: 4 });
    expectNativeAgrees(t);
    expect(await t.data()).toEqual(bytes);
    expect(await t.toFloat32()).toEqual(Float32Array.from(bytes));
    expect(await t.to('bfloat16').toFloat32()).toEqual(Float32Array.from(bytes));
    expect(await t.transpose(1, 0).contiguous().data()).toEqual(Int8Array.of(0, 127, -1, -128));
    for (const data of [[...bytes], Float32Array.from(bytes), Int32Array.from(bytes)]) {
      expect(await tensor(data, [4], { dtype: 'int8' }).data()).toEqual(bytes);
    }
    for (const dtype of ['float32', 'float16', 'int32'] as const) {
      const wide = tensor(bytes, [4], { dtype });
      expect(wide.dtype).toBe(dtype);
      expect(await wide.toFloat32()).toEqual(Float32Array.from(bytes));
    }
  });

  test('takes booleans', async () => {
    const expected = Uint8Array.of(1, 0, 0, 1);
    expect(await tensor([true, false, false, true], [4]).data()).toEqual(expected);
    expect(
      await tensor(
        [
          [true, false],
          [false, true],
        ],
        [2, 2],
      ).data(),
    ).toEqual(expected);
    for (const data of [expected, [1, 0, 0, 1], Float32Array.of(1, 0, -0, 1)]) {
      const t = tensor(data, [4], { dtype: 'bool' });
      expect(t).toMatchObject({ dtype: 'bool', byteLength: 4 });
      expect(await t.data()).toEqual(expected);
    }
    expect(await tensor(expected, [4], { dtype: 'bool' }).toFloat32()).toEqual(
      Float32Array.of(1, 0, 0, 1),
    );
  });

  test('copies before it returns', async () => {
    const data = Float32Array.of(1, 2, 3);
    const t = tensor(data, [3]);
    data.fill(9);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    expect(await t.data()).toEqual(Float32Array.of(1, 2, 3));
  });

  test('takes views of shared, resizable and larger buffers', async () => {
    const shared = new Float32Array(new SharedArrayBuffer(16)).fill(2);
    expect(await tensor(shared, [4]).data()).toEqual(new Float32Array(4).fill(2));
    const ResizableBuffer = ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(length: number): void };
    const buffer = new ResizableBuffer(8, { maxByteLength: 64 });
    const growing = new Float32Array(buffer);
    buffer.resize(16);
    growing.set([1, 2, 3, 4]);
    expect(await tensor(growing, [4]).data()).toEqual(Float32Array.of(1, 2, 3, 4));
    const part = new Float32Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer, 8, 2);
    expect(await tensor(part, [2]).data()).toEqual(Float32Array.of(2, 3));
    expect(await tensor(new Float64Array(new SharedArrayBuffer(16)).fill(7), [2]).data()).toEqual(
      Float32Array.of(7, 7),
    );
  });

  test('may be empty', async () => {
    const t = tensor(new Float32Array(0), [2, 0, 3]);
    expect(t.size).toBe(0);
    expect(await t.data()).toEqual(new Float32Array(0));
    expect(tensor([], [0]).shape).toEqual([0]);
  });

  test('freezes shape and strides and leaves the argument alone', () => {
    const shape = [2, 3];
    const t = zeros(shape);
    shape[0] = 99;
    expect(t.shape).toEqual([2, 3]);
    expect(Object.isFrozen(t.shape) && Object.isFrozen(t.strides)).toBe(true);
    expect(Object.isFrozen(shape)).toBe(false);
  });
});

describe('empty, zeros, randn', () => {
  test.each(['float32', 'float16', 'bfloat16', 'int32', 'bool', 'int8'] as DType[])(
    'zeros of %s',
    async (dtype) => {
      const t = zeros([3, 5], { dtype });
      expect(t.dtype).toBe(dtype);
      expect([...(await t.data())]).toEqual(new Array(15).fill(0));
      const room = empty([3, 5], { dtype, device: 'cpu' });
      expect(room).toMatchObject({ dtype, size: 15 });
      expectNativeAgrees(room);
    },
  );

  test('randn is standard normal and a function of its seed', async () => {
    const n = 1 << 16;
    const values = await randn([n], { seed: 7n }).toFloat32();
    const mean = values.reduce((sum, x) => sum + x, 0) / n;
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / n;
    const fourth = values.reduce((sum, x) => sum + (x - mean) ** 4, 0) / n;
    expect(Math.abs(mean)).toBeLessThan(0.02);
    expect(Math.abs(variance - 1)).toBeLessThan(0.03);
    expect(Math.abs(fourth - 3)).toBeLessThan(0.2);
    const first = values.slice(0, 512);
    expect(await randn([16, 32], { seed: 7n }).toFloat32()).toEqual(first);
    expect(await randn([512], { seed: 8n }).toFloat32()).not.toEqual(first);
    const half = await randn([512], { seed: 7n, dtype: 'bfloat16' }).toFloat32();
    expect(half).toEqual(first.map((x) => bfloat16FromBits(bfloat16Bits(x))));
  });
});

describe('to()', () => {
  test('converts between floating dtypes, rounding once', async () => {
    const t = randn([64], { seed: 3n });
    const values = await t.toFloat32();
    const half = t.to('float16');
    expect(half).toMatchObject({ dtype: 'float16', device });
    expect(await half.toFloat32()).toEqual(values.map((x) => float16FromBits(float16Bits(x))));
    const back = half.to('float32').to('bfloat16');
    expect(await back.toFloat32()).toEqual(
      values.map((x) => bfloat16FromBits(bfloat16Bits(float16FromBits(float16Bits(x))))),
    );
  });

  test('converts integers and booleans to floats, and copies views', async () => {
    expect(await tensor(Int32Array.of(-3, 5), [2]).to('float32').data()).toEqual(
      Float32Array.of(-3, 5),
    );
    expect(await tensor([true, false], [2]).to('bfloat16').toFloat32()).toEqual(
      Float32Array.of(1, 0),
    );
    const turned = tensor([1, 2, 3, 4], [2, 2]).transpose(1, 0).to('cpu');
    expect(turned.strides).toEqual([2, 1]);
    expect(await turned.data()).toEqual(Float32Array.of(1, 3, 2, 4));
  });
});

describe('expand()', () => {
  test.each(['float32', 'float16', 'int32', 'bool', 'float8_e4m3', 'int8'] as const)(
    'repeats axes of length 1 of %s without a copy',
    async (dtype) => {
      const before = await settledMemory();
      const t = tensor([1, 0, 1], [1, 3, 1], { dtype });
      const wide = t.expand([2, 2, 3, 2]);
      expect(wide).toMatchObject({ shape: [2, 2, 3, 2], dtype, size: 24 });
      expect(wide.strides).toEqual([0, 0, 1, 0]);
      expectNativeAgrees(wide);
      expect(heldMemory()).toMatchObject({ storages: before.storages + 1 });
      const row = [1, 1, 0, 0, 1, 1];
      const expected = [row, row, row, row].flat();
      expect([...(await wide.toFloat32())]).toEqual(expected);
      const copy = wide.contiguous();
      expect(copy.strides).toEqual([12, 6, 2, 1]);
      expect(await copy.data()).toEqual(await wide.data());
      expect([...(await wide.transpose(3, 2, 1, 0).toFloat32())].slice(0, 6)).toEqual([
        1, 1, 1, 1, 0, 0,
      ]);
      expect([...(await wide.slice(null, [1, 2], [1, 3]).toFloat32())]).toEqual([
        0, 0, 1, 1, 0, 0, 1, 1,
      ]);
      for (const each of [t, wide, copy]) each.dispose();
    },
  );

  test('reshapes as a view where neighbours repeat together', async () => {
    const t = tensor([5], [1, 1]).expand([2, 3]).reshape([6]);
    expect(t.strides).toEqual([0]);
    expect([...(await t.data())]).toEqual([5, 5, 5, 5, 5, 5]);
    const rows = tensor([1, 2], [1, 2]).expand([2, 2]);
    expectThrow(() => rows.reshape([4]), 'ERR_SHAPE', 'shape');
    expect(await rows.contiguous().reshape([4]).data()).toEqual(Float32Array.of(1, 2, 1, 2));
  });

  test('keeps what is as long already, and makes nothing of length 0', async () => {
    expect(zeros([2, 3]).expand([2, 3]).strides).toEqual([3, 1]);
    const none = zeros([1, 3]).expand([0, 3]);
    expect(none).toMatchObject({ shape: [0, 3], size: 0 });
    expect(await none.data()).toEqual(new Float32Array(0));
    expect(zeros([0]).expand([4, 0]).size).toBe(0);
  });

  test('converts and moves what it shows', async () => {
    const t = tensor([1, -2], [2, 1]).expand([2, 300]);
    const half = t.to('bfloat16');
    expect(half.strides).toEqual([300, 1]);
    const expected = Float32Array.from({ length: 600 }, (_, i) => (i < 300 ? 1 : -2));
    expect(await half.toFloat32()).toEqual(expected);
    expect(await t.to('cpu').data()).toEqual(expected);
  });
});

describe('dispose', () => {
  test('is idempotent, ends use, and `using` calls it', async () => {
    const before = await settledMemory();
    let kept: Tensor;
    {
      using t = zeros([4]);
      kept = t;
      expect(kept.disposed).toBe(false);
    }
    expect(kept.disposed).toBe(true);
    kept.dispose();
    expect(heldMemory()).toEqual(before);
    expect(kept).toMatchObject({ shape: [4], dtype: 'float32', size: 4 });
    for (const use of [() => kept.data(), () => kept.toFloat32(), () => kept.take()]) {
      expect(await errorOf(use)).toMatchObject({ code: 'ERR_DISPOSED', argument: 'tensor' });
    }
    for (const use of [
      () => kept.to('float16'),
      () => kept.reshape([2, 2]),
      () => kept.transpose(0),
      () => kept.slice([0, 1]),
      () => kept.expand([2, 4]),
      () => kept.contiguous(),
    ]) {
      expectThrow(use, 'ERR_DISPOSED', 'tensor');
    }
  });

  test('does not take data from a read under way', async () => {
    const t = tensor([1, 2, 3], [3]);
    const pending = t.data();
    t.dispose();
    expect(await pending).toEqual(Float32Array.of(1, 2, 3));
  });
});

describe('take()', () => {
  const numbers = Float32Array.from({ length: 24 }, (_, i) => i - 7);
  const matrix = () => tensor(numbers, [4, 6]);

  test.each<[string, () => Tensor]>([
    ['a whole tensor', matrix],
    ['two bytes an element', () => matrix().to('bfloat16')],
    ['integers', () => tensor(Int32Array.of(3, -1), [2])],
    ['booleans', () => tensor([true, false, true], [3])],
    ['nothing', () => tensor([], [0, 3])],
    ['a view in another order', () => matrix().transpose(1, 0)],
    ['a part', () => matrix().slice([1, 3])],
    ['one row many times', () => matrix().slice([1, 2]).expand([5, 6])],
    ['one element six times', () => tensor([2.5], [1]).expand([2, 3])],
    ['more than a huge page', () => randn([3, sized(2 ** 18, 50)], { seed: 5n })],
  ])('gives what data() gives: %s', async (_, make) => {
    const before = await settledMemory();
    const expected = await make().data();
    const t = make();
    const pending = t.take();
    expect(t.disposed).toBe(true);
    expect(await pending).toEqual(expected);
    expect(await errorOf(() => t.take())).toMatchObject({ code: 'ERR_DISPOSED' });
    expect(await settledMemory()).toEqual(before);
  });

  test('leaves other tensors over the same memory as they are', async () => {
    const [whole, kept] = [matrix(), matrix()];
    const row = whole.slice([0, 1]);
    (await whole.take()).fill(0);
    expect(await row.data()).toEqual(numbers.slice(0, 6));
    (await kept.reshape([24]).take()).fill(0);
    expect(await kept.data()).toEqual(numbers);
  });

  test('comes after what has been enqueued before', async () => {
    const t = randn([sized(2 ** 20, 500)], { seed: 6n });
    const expected = await t.toFloat32();
    const [half, pending] = [t.to('float16'), t.take()];
    (await pending).fill(0);
    const rounded = expected.map((x) => float16FromBits(float16Bits(x)));
    expect(await half.toFloat32()).toEqual(rounded);
  });
});

test('prints what it is', () => {
  const t = zeros([2, 3], { dtype: 'bfloat16' });
  expect(inspect(t)).toBe(`Tensor(bfloat16 [2, 3] on ${device})`);
  t.dispose();
  expect(inspect(t)).toBe(`Tensor(bfloat16 [2, 3] on ${device}, disposed)`);
  expect(String(t)).toBe(inspect(t));
  expect(`${zeros([4])}`).toBe(`Tensor(float32 [4] on ${device})`);
});

test('cannot be cloned or sent to another thread, and says what can', () => {
  const t = zeros([2, 3]);
  const { port1, port2 } = new MessageChannel();
  for (const send of [
    () => structuredClone(t),
    () => structuredClone({ weights: [t.slice([0, 1])] }),
    () => port1.postMessage(t),
  ]) {
    const error = thrown(send);
    expect(error.name).toBe('DataCloneError');
    expect(error.message).toMatch(/Tensor, which stays in its thread \(send what data\(\) gives\)/);
  }
  for (const port of [port1, port2]) port.close();
  expect(JSON.parse(JSON.stringify(t))).toMatchObject({ shape: [2, 3], dtype: 'float32' });
});
