import { inspect } from 'node:util';
import fc from 'fast-check';
import { type DType, empty, memory, randn, Tensor, tensor, zeros } from '../lib/index.js';
import { native } from '../lib/native.js';
import {
  bfloat16Bits,
  bfloat16FromBits,
  float16Bits,
  float16FromBits,
} from '../lib/reference/index.js';
import { kHandle } from '../lib/show.js';
import { errorOf, expectThrow, wrong } from './support/expect-error.js';
import { settledMemory } from './support/gc.js';

/** What the native side thinks a tensor is. */
function expectNativeAgrees(t: Tensor): void {
  const told = native().describe(t[kHandle] as never);
  expect([...told.shape]).toEqual([...t.shape]);
  expect([...told.strides]).toEqual([...t.strides]);
  expect(told.device).toBe(t.device);
  expect(told.byteLength).toBe(t.byteLength);
}

describe('tensor()', () => {
  test('keeps float32 exactly, NaN and infinities included', async () => {
    const data = Float32Array.of(0, -0, 1.5, Number.NaN, Infinity, -Infinity, 1e-45, 3.4e38);
    const t = tensor(data, [2, 4]);
    expect(t).toMatchObject({ dtype: 'float32', device: 'cpu', size: 8, byteLength: 32 });
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

  test('reads float16 as Float16Array where the runtime has it', async () => {
    const data = await tensor([1, 2.5], [2], { dtype: 'float16' }).data();
    const tag = 'Float16Array' in globalThis ? 'Float16Array' : 'Uint16Array';
    expect(data[Symbol.toStringTag]).toBe(tag);
    expect((await tensor([1], [1], { dtype: 'bfloat16' }).data())[Symbol.toStringTag]).toBe(
      'Uint16Array',
    );
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
  test.each(['float32', 'float16', 'bfloat16', 'int32', 'bool'] as DType[])(
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

/** A tensor in JavaScript: for every position of the shape, the index of its element. */
interface Model {
  readonly shape: readonly number[];
  readonly elements: readonly number[];
}

function at(model: Model, position: readonly number[]): number {
  let index = 0;
  model.shape.forEach((length, axis) => {
    index = index * length + position[axis];
  });
  return model.elements[index];
}

function positions(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (all, length) => all.flatMap((p) => Array.from({ length }, (_, i) => [...p, i])),
    [[]],
  );
}

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom('transpose', 'slice', 'reshape'),
    random: fc.array(fc.nat(), { minLength: 12, maxLength: 12 }),
  }),
  { maxLength: 5 },
);

/** One random view of a tensor and of its model. */
function step(t: Tensor, model: Model, kind: string, random: number[]): [Tensor, Model] {
  const rank = model.shape.length;
  if (kind === 'transpose') {
    const axes = model.shape
      .map((_, axis) => axis)
      .sort((a, b) => (random[a] % 97) - (random[b] % 97));
    const shape = axes.map((axis) => model.shape[axis]);
    const elements = positions(shape).map((p) => {
      const source = new Array<number>(rank);
      axes.forEach((axis, i) => {
        source[axis] = p[i];
      });
      return at(model, source);
    });
    return [t.transpose(...axes), { shape, elements }];
  }
  if (kind === 'slice') {
    const ranges = model.shape.map((length, axis) => {
      const start = random[axis] % (length + 1);
      return [start, start + (random[axis + 6] % (length - start + 1))] as const;
    });
    const shape = ranges.map(([start, end]) => end - start);
    const elements = positions(shape).map((p) =>
      at(
        model,
        p.map((i, axis) => i + ranges[axis][0]),
      ),
    );
    return [
      t.slice(
        ...ranges.map((range, axis) => (range[1] - range[0] === model.shape[axis] ? null : range)),
      ),
      { shape, elements },
    ];
  }
  const flat = model.elements.length;
  const divisors = [1, 2, 3, 4, 6].filter((d) => flat % d === 0);
  const first = divisors[random[0] % divisors.length];
  const shape = random[1] % 2 ? [first, flat / first] : [flat / first, 1, first];
  try {
    return [t.reshape(shape), { shape, elements: model.elements }];
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_SHAPE', argument: 'shape' });
    expect(String(error)).toContain('contiguous()');
    return [t.contiguous().reshape(shape), { shape, elements: model.elements }];
  }
}

describe('views', () => {
  test('transpose, slice, reshape and contiguous agree with a model, however they are chained', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
        fc.constantFrom<DType>('float32', 'bfloat16', 'bool'),
        steps,
        async (shape, dtype, walk) => {
          const size = shape.reduce((a, b) => a * b, 1);
          const elements = Array.from({ length: size }, (_, i) => (dtype === 'bool' ? i % 2 : i));
          let t = tensor(elements, shape, { dtype });
          let model: Model = { shape, elements };
          for (const { kind, random } of walk) {
            if (kind === 'reshape' && model.elements.length === 0) continue;
            [t, model] = step(t, model, kind, random);
            expectNativeAgrees(t);
            expect(t.shape).toEqual(model.shape);
          }
          expect([...(await t.toFloat32())]).toEqual(model.elements);
          expect([...(await t.contiguous().toFloat32())]).toEqual(model.elements);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('reshape works out one axis and sees through axes of length 1', async () => {
    const t = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
    expect(t.reshape([-1]).shape).toEqual([6]);
    expect(t.reshape([3, -1]).shape).toEqual([3, 2]);
    expect(t.reshape([1, 2, 1, 3, 1]).shape).toEqual([1, 2, 1, 3, 1]);
    const column = t.slice(null, [1, 2]);
    expect(column.shape).toEqual([2, 1]);
    expect(await column.reshape([2]).data()).toEqual(Float32Array.of(2, 5));
  });

  test('share storage but not life', async () => {
    const before = await settledMemory();
    const t = tensor([1, 2, 3, 4], [2, 2]);
    const row = t.slice([1, 2]);
    expect(memory()).toEqual({
      tensors: before.tensors + 2,
      storages: before.storages + 1,
      bytes: memory().bytes,
    });
    t.dispose();
    expect(row.disposed).toBe(false);
    expect(await row.data()).toEqual(Float32Array.of(3, 4));
    row.dispose();
    expect(memory()).toEqual(before);
  });

  test('contiguous is a view where it can be', async () => {
    const before = await settledMemory();
    using t = zeros([4, 8]);
    using same = t.contiguous();
    expect(memory().storages).toBe(before.storages + 1);
    expect(same).not.toBe(t);
    using turned = t.transpose(1, 0);
    using copy = turned.contiguous();
    expect(memory().storages).toBe(before.storages + 2);
    expect(copy.strides).toEqual([4, 1]);
  });
});

describe('to()', () => {
  test('converts between floating dtypes, rounding once', async () => {
    const t = randn([64], { seed: 3n });
    const values = await t.toFloat32();
    const half = t.to('float16');
    expect(half).toMatchObject({ dtype: 'float16', device: 'cpu' });
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
    expect(memory()).toEqual(before);
    expect(kept).toMatchObject({ shape: [4], dtype: 'float32', size: 4 });
    for (const use of [() => kept.data(), () => kept.toFloat32()]) {
      expect(await errorOf(use)).toMatchObject({ code: 'ERR_DISPOSED', argument: 'tensor' });
    }
    for (const use of [
      () => kept.to('float16'),
      () => kept.reshape([2, 2]),
      () => kept.transpose(0),
      () => kept.slice([0, 1]),
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

test('prints what it is', () => {
  const t = zeros([2, 3], { dtype: 'bfloat16' });
  expect(inspect(t)).toBe('Tensor(bfloat16 [2, 3] on cpu)');
  t.dispose();
  expect(inspect(t)).toBe('Tensor(bfloat16 [2, 3] on cpu, disposed)');
});

describe('bad input', () => {
  const shapeCases: [unknown, string, string][] = [
    [undefined, 'ERR_TYPE', 'shape'],
    [6, 'ERR_TYPE', 'shape'],
    ['6', 'ERR_TYPE', 'shape'],
    [Int32Array.of(2, 3), 'ERR_TYPE', 'shape'],
    [[], 'ERR_SHAPE', 'shape'],
    [[1, 1, 1, 1, 1, 1, 6], 'ERR_SHAPE', 'shape'],
    [[2, -3], 'ERR_SHAPE', 'shape[1]'],
    [[2.5, 3], 'ERR_SHAPE', 'shape[0]'],
    [[Number.NaN, 3], 'ERR_SHAPE', 'shape[0]'],
    [[Infinity], 'ERR_SHAPE', 'shape[0]'],
    [['2', 3], 'ERR_TYPE', 'shape[0]'],
    [[null, 3], 'ERR_TYPE', 'shape[0]'],
    [[2n, 3n], 'ERR_TYPE', 'shape[0]'],
    [[2 ** 30, 2 ** 30], 'ERR_SHAPE', 'shape'],
  ];
  test.each(shapeCases)('shape %p', (shape, code, argument) => {
    expectThrow(() => tensor([1, 2, 3, 4, 5, 6], wrong(shape)), code as 'ERR_TYPE', argument);
    expectThrow(() => empty(wrong(shape)), code as 'ERR_TYPE', argument);
    expectThrow(() => zeros(wrong(shape)), code as 'ERR_TYPE', argument);
    expectThrow(() => randn(wrong(shape), { seed: 1n }), code as 'ERR_TYPE', argument);
  });

  const detached = Float32Array.of(1, 2);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const dataCases: [string, unknown, object | undefined, string, string, RegExp?][] = [
    ['undefined', undefined, undefined, 'ERR_TYPE', 'data'],
    ['null', null, undefined, 'ERR_TYPE', 'data'],
    ['a number', 1, undefined, 'ERR_TYPE', 'data'],
    ['a string', '12', undefined, 'ERR_TYPE', 'data'],
    ['an ArrayBuffer', new ArrayBuffer(8), undefined, 'ERR_TYPE', 'data'],
    ['a DataView', new DataView(new ArrayBuffer(2)), undefined, 'ERR_TYPE', 'data'],
    ['Int8Array', new Int8Array(2), undefined, 'ERR_TYPE', 'data', /Int8Array of length 2/],
    ['Uint32Array', new Uint32Array(2), undefined, 'ERR_TYPE', 'data'],
    ['too few', [1], undefined, 'ERR_SHAPE', 'data', /2 elements/],
    [
      'too many',
      Float32Array.of(1, 2, 3),
      undefined,
      'ERR_SHAPE',
      'data',
      /Float32Array of length 3/,
    ],
    ['detached', detached, undefined, 'ERR_TYPE', 'data', /detached/],
    ['strings inside', ['1', '2'], undefined, 'ERR_TYPE', 'data[0]'],
    ['a hole', wrong([1, undefined]), undefined, 'ERR_TYPE', 'data[1]'],
    ['mixed', [1, true], undefined, 'ERR_TYPE', 'data[1]'],
    [
      'Uint16Array without a dtype',
      new Uint16Array(2),
      undefined,
      'ERR_DTYPE',
      'options.dtype',
      /raw bits/,
    ],
    [
      'Uint16Array as float32',
      new Uint16Array(2),
      { dtype: 'float32' },
      'ERR_DTYPE',
      'options.dtype',
    ],
    [
      'Uint8Array without a dtype',
      new Uint8Array(2),
      undefined,
      'ERR_DTYPE',
      'options.dtype',
      /'bool'/,
    ],
    [
      'BigInt64Array as float32',
      new BigInt64Array(2),
      { dtype: 'float32' },
      'ERR_DTYPE',
      'options.dtype',
    ],
    ['a big bigint', BigInt64Array.of(0n, 2n ** 31n), undefined, 'ERR_OPTION', 'data[1]'],
    ['a fraction as int32', [1, 0.5], { dtype: 'int32' }, 'ERR_OPTION', 'data[1]'],
    ['2^31 as int32', [1, 2 ** 31], { dtype: 'int32' }, 'ERR_OPTION', 'data[1]'],
    ['NaN as int32', [Number.NaN, 1], { dtype: 'int32' }, 'ERR_OPTION', 'data[0]'],
    ['2 as bool', Uint8Array.of(1, 2), { dtype: 'bool' }, 'ERR_OPTION', 'data[1]'],
    ['a string as bool', ['yes', 'no'], { dtype: 'bool' }, 'ERR_TYPE', 'data[0]'],
    ['a wrong dtype', [1, 2], { dtype: 'float64' }, 'ERR_DTYPE', 'options.dtype', /'bfloat16'/],
    ['dtype 3', [1, 2], { dtype: 3 }, 'ERR_TYPE', 'options.dtype'],
    ['dtype toString', [1, 2], { dtype: 'toString' }, 'ERR_DTYPE', 'options.dtype'],
    [
      'a wrong device',
      [1, 2],
      { device: 'gpu' },
      'ERR_DEVICE',
      'options.device',
      /'cuda:<number>'/,
    ],
    ['device 0', [1, 2], { device: 0 }, 'ERR_TYPE', 'options.device'],
    ['options null', [1, 2], wrong(null), 'ERR_TYPE', 'options'],
    ['options a string', [1, 2], wrong('float16'), 'ERR_TYPE', 'options'],
    ['an unknown option', [1, 2], { dtyp: 'bool' }, 'ERR_OPTION', 'options.dtyp', /mean 'dtype'/],
  ];
  test.each(dataCases.map((row) => ({ name: row[0], row })))('data: $name', ({ row }) => {
    const [, data, options, code, argument, message] = row;
    const run = () => tensor(wrong(data), [2], wrong(options));
    expectThrow(run, code as 'ERR_TYPE', argument, message);
  });

  test('ragged and misshapen nesting', () => {
    const run = (data: unknown) => () => tensor(wrong(data), [2, 2]);
    expectThrow(run([[1, 2], [3]]), 'ERR_SHAPE', 'data[1]');
    expectThrow(run([[1, 2], 3]), 'ERR_TYPE', 'data[1]');
    expectThrow(run([[1, 2]]), 'ERR_SHAPE', 'data');
    expectThrow(
      run([
        [[1], [2]],
        [[3], [4]],
      ]),
      'ERR_TYPE',
      'data[0]',
    );
  });

  test('randn wants a bigint seed and a floating dtype', () => {
    expectThrow(() => randn([2], wrong({})), 'ERR_TYPE', 'options.seed');
    expectThrow(() => randn([2], wrong(undefined)), 'ERR_TYPE', 'options.seed');
    expectThrow(() => randn([2], wrong({ seed: 42 })), 'ERR_TYPE', 'options.seed', /42n/);
    expectThrow(() => randn([2], { seed: -1n }), 'ERR_OPTION', 'options.seed');
    expectThrow(() => randn([2], { seed: 2n ** 64n }), 'ERR_OPTION', 'options.seed');
    expectThrow(() => randn([2], { seed: 1n, dtype: 'int32' }), 'ERR_DTYPE', 'options.dtype');
  });

  test('views and conversions', () => {
    const t = zeros([2, 3]);
    expectThrow(() => t.reshape([4]), 'ERR_SHAPE', 'shape');
    expectThrow(() => t.reshape([-1, 4]), 'ERR_SHAPE', 'shape');
    expectThrow(() => t.reshape([-1, -1]), 'ERR_SHAPE', 'shape[1]');
    expectThrow(() => t.reshape(wrong(6)), 'ERR_TYPE', 'shape');
    expectThrow(() => t.reshape(wrong(undefined)), 'ERR_TYPE', 'shape');
    expectThrow(() => t.transpose(0), 'ERR_SHAPE', 'axes');
    expectThrow(() => t.transpose(0, 0), 'ERR_SHAPE', 'axes');
    expectThrow(() => t.transpose(0, 2), 'ERR_SHAPE', 'axes');
    expectThrow(() => t.transpose(wrong([1, 0])), 'ERR_SHAPE', 'axes');
    expectThrow(() => t.transpose(wrong('1'), 0), 'ERR_SHAPE', 'axes');
    expectThrow(() => t.slice([0, 3]), 'ERR_SHAPE', 'ranges[0]');
    expectThrow(() => t.slice(null, [2, 1]), 'ERR_SHAPE', 'ranges[1]');
    expectThrow(() => t.slice([-1, 1]), 'ERR_SHAPE', 'ranges[0]');
    expectThrow(() => t.slice([0.5, 1]), 'ERR_SHAPE', 'ranges[0]');
    expectThrow(() => t.slice(wrong(1)), 'ERR_TYPE', 'ranges[0]');
    expectThrow(() => t.slice(wrong([1])), 'ERR_TYPE', 'ranges[0]');
    expectThrow(() => t.slice(null, null, null), 'ERR_SHAPE', 'ranges');
    expectThrow(() => t.to(wrong('float64')), 'ERR_DTYPE', 'deviceOrDType');
    expectThrow(() => t.to('int32'), 'ERR_DTYPE', 'deviceOrDType');
    expectThrow(() => t.to(wrong(undefined)), 'ERR_TYPE', 'deviceOrDType');
    expectThrow(() => t.to('cuda:99'), 'ERR_DEVICE_UNAVAILABLE', 'deviceOrDType');
    expectThrow(() => new (wrong(Tensor))(), 'ERR_TYPE', 'Tensor');
  });

  test('an impossible size is an error after which everything works', async () => {
    const error = await errorOf(() => empty([2 ** 40, 1000]));
    expect(error.code).toBe('ERR_OUT_OF_MEMORY');
    expect(await tensor([1], [1]).data()).toEqual(Float32Array.of(1));
  });
});
