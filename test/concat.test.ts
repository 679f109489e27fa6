import fc from 'fast-check';
import {
  concat,
  type DType,
  flashAttention,
  memory,
  randn,
  type Tensor,
  tensor,
  zeros,
} from '../lib/index.js';
import { native } from '../lib/native/addon.js';
import { liveHandle } from '../lib/tensor/tensor.js';
import { sized } from './support/device.js';
import { expectThrow, wrong } from './support/expect-error.js';
import { settledMemory } from './support/gc.js';
import { expectNativeAgrees } from './support/native-agrees.js';

const product = (lengths: readonly number[]) => lengths.reduce((a, b) => a * b, 1);

/** Row-major arrays one behind the other along `axis`. */
function joined(parts: { data: number[]; shape: number[] }[], axis: number): number[] {
  const outer = product(parts[0].shape.slice(0, axis));
  const result: number[] = [];
  for (let o = 0; o < outer; o++) {
    for (const { data, shape } of parts) {
      const run = product(shape.slice(axis));
      for (let i = 0; i < run; i++) result.push(data[o * run + i]);
    }
  }
  return result;
}

/** Tensors of that shape whose elements do not lie one after the other, or do. */
const ways: Readonly<Record<string, (t: Tensor) => Tensor>> = {
  'as they are': (t) => t,
  transposed: (t) => {
    const back = t.shape.map((_, axis) => t.shape.length - 1 - axis);
    return t
      .transpose(...back)
      .contiguous()
      .transpose(...back);
  },
  'a part': (t) => {
    const around = zeros([...t.shape.slice(0, -1), 2], { dtype: t.dtype });
    const rank = t.shape.length;
    const wide = concat([around, t, around], rank - 1);
    const ranges = t.shape.map((length, axis) => (axis < rank - 1 ? null : [2, 2 + length]));
    return wide.slice(...(ranges as ([number, number] | null)[]));
  },
};

describe('concat()', () => {
  test('agrees with a model for any rank, axis, dtype and strides', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 6 }),
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 }),
        fc.nat(5),
        fc.constantFrom<DType>('float32', 'float16', 'bfloat16', 'int32', 'bool', 'float8_e4m3'),
        fc.array(fc.constantFrom(...Object.keys(ways)), { minLength: 4, maxLength: 4 }),
        async (shape, lengths, anyAxis, dtype, how) => {
          const axis = anyAxis % shape.length;
          let next = 0;
          const parts = lengths.map((length) => {
            const own = shape.map((each, a) => (a === axis ? length : each));
            const data = Array.from({ length: product(own) }, () => {
              next++;
              return dtype === 'bool' ? next % 2 : next % 16;
            });
            return { data, shape: own };
          });
          const tensors = parts.map((p, i) => ways[how[i]](tensor(p.data, p.shape, { dtype })));
          const whole = concat(tensors, axis);
          expectNativeAgrees(whole);
          const length = lengths.reduce((a, b) => a + b);
          expect(whole.shape).toEqual(shape.map((each, a) => (a === axis ? length : each)));
          expect(whole.dtype).toBe(dtype);
          expect([...(await whole.toFloat32())]).toEqual(joined(parts, axis));
        },
      ),
      { numRuns: sized(200, 60) },
    );
  });

  test.each([0, 1, 2])('takes expanded tensors, along axis %i', async (axis) => {
    const row = tensor([1, 2, 3], [1, 3, 1]).expand([2, 3, 2]);
    const one = tensor([9], [1, 1, 1]).expand([2, 3, 2]);
    const whole = await concat([row, one, row], axis).toFloat32();
    const data = [1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3];
    const nines = data.map(() => 9);
    const parts = [data, nines, data].map((each) => ({ data: each, shape: [2, 3, 2] }));
    expect([...whole]).toEqual(joined(parts, axis));
  });

  test('copies every bit, those of NaN too', async () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    for (const dtype of ['float16', 'bfloat16'] as const) {
      const bits = tensor(all, [256, 256], { dtype });
      const turned = concat([bits.transpose(1, 0), bits.transpose(1, 0)], 1).slice(
        null,
        [256, 512],
      );
      expect(await turned.transpose(1, 0).data()).toEqual(all);
    }
    const patterns = Uint32Array.of(0x7fc00001, 0xff800001, 0x7f800001, 0x80000000, 1, 0xffffffff);
    const floats = tensor(new Float32Array(patterns.buffer), [2, 3]);
    const { buffer } = await concat([floats, floats], 1).data();
    const expected = [...patterns.slice(0, 3), ...patterns.slice(0, 3)];
    expect([...new Uint32Array(buffer as ArrayBuffer)].slice(0, 6)).toEqual(expected);
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const float8 = tensor(bytes, [1, 256], { dtype: 'float8_e4m3' });
    expect(await concat([float8], 0).data()).toEqual(bytes);
  });

  test('keys and values that grow give what the whole gives', async () => {
    const make = (seed: bigint) => randn([2, 40, 2, 64], { seed, dtype: 'bfloat16' });
    const [q, k, v] = [make(1n), make(2n), make(3n)];
    const grown = (t: Tensor) => {
      const halves = [t.slice(null, [0, 25]), t.slice(null, [25, 40])];
      return concat(halves, 1);
    };
    const out = flashAttention(q, grown(k), grown(v), { causal: true });
    expect(await out.data()).toEqual(await flashAttention(q, k, v, { causal: true }).data());
  });

  test('makes one tensor, and needs its sources no more once it is enqueued', async () => {
    const before = await settledMemory();
    const [a, b] = [tensor([1, 2], [2]), tensor([3], [1])];
    const whole = concat([a, b, a], 0);
    for (const each of [a, b]) each.dispose();
    expect(memory().storages).toBe(before.storages + 1);
    expect(await whole.take()).toEqual(Float32Array.of(1, 2, 3, 1, 2));
    expect(await settledMemory()).toEqual(before);
  });

  test('is large where its parts are', async () => {
    const rows = sized(3000, 300);
    const a = randn([rows, 97], { seed: 4n });
    const b = randn([rows, 31], { seed: 5n });
    const whole = concat([a, b], 1);
    expect(await whole.slice(null, [0, 97]).toFloat32()).toEqual(await a.toFloat32());
    expect(await whole.slice(null, [97, 128]).toFloat32()).toEqual(await b.toFloat32());
  });

  test('says what does not fit', () => {
    const t = zeros([2, 3]);
    const gone = zeros([2, 3]);
    gone.dispose();
    expectThrow(() => concat(wrong(t), 0), 'ERR_TYPE', 'tensors', /a float32 Tensor/);
    expectThrow(() => concat(wrong(undefined), 0), 'ERR_TYPE', 'tensors');
    expectThrow(() => concat([], 0), 'ERR_SHAPE', 'tensors', /at least one/);
    expectThrow(
      () => concat([t, wrong([1])], 0),
      'ERR_TYPE',
      'tensors[1]',
      /tensor\(data, shape\)/,
    );
    expectThrow(() => concat(wrong([t, undefined, t]), 0), 'ERR_TYPE', 'tensors[1]');
    expectThrow(() => concat([t, gone], 0), 'ERR_DISPOSED', 'tensors[1]');
    const int = zeros([2, 3], { dtype: 'int32' });
    expectThrow(() => concat<DType>([t, t, int], 0), 'ERR_DTYPE', 'tensors[2]', /float32.* int32/);
    expectThrow(() => concat([t, zeros([3, 2])], 0), 'ERR_SHAPE', 'tensors[1]', /\[2, 3\] but for/);
    expectThrow(() => concat([t, zeros([2, 3, 1])], 0), 'ERR_SHAPE', 'tensors[1]', /\[2, 3, 1\]/);
    expectThrow(() => concat([t, t], 2), 'ERR_OPTION', 'axis', /from 0 to 1/);
    expectThrow(() => concat([t, t], -1), 'ERR_OPTION', 'axis');
    expectThrow(() => concat([t, t], 0.5), 'ERR_OPTION', 'axis');
    expectThrow(() => concat([t, t], wrong('0')), 'ERR_TYPE', 'axis');
    expectThrow(() => concat([t, t], wrong(undefined)), 'ERR_TYPE', 'axis');
    const endless = zeros([1]).expand([2 ** 50]);
    expectThrow(() => concat([endless, endless, endless], 0), 'ERR_OUT_OF_MEMORY', 'tensors');
  });

  test('the raw addon checks for itself', () => {
    const handle = liveHandle(zeros([2, 3]));
    const raw =
      (...args: unknown[]) =>
      () =>
        native().concat(...(args as [never, never]));
    expect(raw([handle, {}], 0)).toThrow(expect.objectContaining({ code: 'ERR_TYPE' }));
    expect(raw([], 0)).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
    expect(raw(handle, 0)).toThrow(expect.objectContaining({ code: 'ERR_TYPE' }));
    expect(raw([handle], 2)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }));
  });
});
