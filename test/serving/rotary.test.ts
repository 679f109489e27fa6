import fc from 'fast-check';
import { concat, randn, type Tensor, tensor, zeros } from '../../lib/index.js';
import { rotary } from '../../lib/reference/index.js';
import { applyRotary } from '../../lib/serving/index.js';
import { sized } from '../support/device.js';
import { errorOf, expectThrow, wrong } from '../support/expect-error.js';
import { elsewhere, notTensors } from '../support/bad-options.js';
import { type FloatDType, floatDTypes, normals, rounding } from '../support/numerics.js';
import { rotaryTables } from '../support/rotary-tables.js';
import { uniform } from '../support/random.js';

interface Case {
  readonly batch: number;
  readonly seqlen: number;
  readonly heads: number;
  readonly headDim: number;
  readonly pairs: number;
  readonly rotaryOffset: number;
  readonly interleaved: boolean;
  readonly dtype: FloatDType;
  readonly tableDType: FloatDType;
}

const cases = fc
  .record({
    batch: fc.integer({ min: 1, max: 3 }),
    seqlen: fc.integer({ min: 0, max: sized(40, 9) }),
    heads: fc.integer({ min: 1, max: 4 }),
    headDim: fc.constantFrom(2, 3, 7, 16, 40, 64, 80, 128, 129, 576),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    before: fc.double({ min: 0, max: 1, noNaN: true }),
    interleaved: fc.boolean(),
    dtype: fc.constantFrom(...floatDTypes),
    tableDType: fc.constantFrom(...floatDTypes),
  })
  .map(({ share, before, ...rest }): Case => {
    const most = Math.floor(rest.headDim / 2);
    const pairs = Math.max(1, Math.round(share * most));
    return { ...rest, pairs, rotaryOffset: Math.round(before * (rest.headDim - 2 * pairs)) };
  });

test.each([1, 2])('any shape: the reference, rounded; seed %i', async (seed) => {
  await fc.assert(
    fc.asyncProperty(cases, async ({ batch, seqlen, heads, headDim, pairs, ...how }) => {
      const { interleaved, rotaryOffset, dtype, tableDType } = how;
      const count = 50;
      const tables = rotaryTables(count, pairs, tableDType);
      const random = uniform(seed + pairs);
      const positions = Int32Array.from({ length: batch * seqlen }, () => random() * count);
      const x = normals(batch * seqlen * heads * headDim, seed, dtype);
      const out = applyRotary(tensor(x, [batch, seqlen, heads, headDim], { dtype }), {
        cos: tensor(tables.cos, [count, pairs], { dtype: tableDType }),
        sin: tensor(tables.sin, [count, pairs], { dtype: tableDType }),
        positions: tensor(positions, [batch, seqlen]),
        interleaved,
        rotaryOffset,
      });
      expect([out.dtype, ...out.shape]).toEqual([dtype, batch, seqlen, heads, headDim]);
      const expected = rotary(
        x,
        { tokens: batch * seqlen, heads, headDim },
        { ...tables, positions, interleaved, rotaryDim: 2 * pairs, rotaryOffset },
      );
      // float64 to float32 and on to the dtype, as the library rounds it.
      const rounded = Float32Array.from(expected, (value) => rounding[dtype](Math.fround(value)));
      expect(await out.toFloat32()).toEqual(rounded);
    }),
    { numRuns: sized(100, 25), seed },
  );
});

const tables = rotaryTables(32, 4);
const cos = tensor(tables.cos, [32, 4]);
const sin = tensor(tables.sin, [32, 4]);

test('positions are 0, 1, 2, … of each sequence unless they are given', async () => {
  const x = randn([2, 5, 3, 8], { seed: 1n });
  const implied = applyRotary(x, { cos, sin });
  const row = [0, 1, 2, 3, 4];
  const given = applyRotary(x, { cos, sin, positions: [row, Int32Array.from(row)] });
  expect(await implied.toFloat32()).toEqual(await given.toFloat32());
  const packed = applyRotary(x.reshape([10, 3, 8]), { cos, sin, positions: [...row, ...row] });
  expect(packed.shape).toEqual([10, 3, 8]);
  expect(await packed.toFloat32()).toEqual(await given.toFloat32());
  const first = applyRotary(x.reshape([10, 3, 8]).slice([0, 5]), { cos, sin, rotaryDim: 8 });
  expect(await first.toFloat32()).toEqual((await given.toFloat32()).slice(0, 120));
});

test('views: rows that are strided, tables that are transposed', async () => {
  const x = randn([3, 6, 8], { seed: 2n });
  const turned = tensor(
    Float32Array.from({ length: 128 }, (_, n) => tables.cos[(n % 32) * 4 + Math.floor(n / 32)]),
    [4, 32],
  ).transpose(1, 0);
  const positions = [5, 31, 0, 7, 7, 2];
  const out = applyRotary(x.transpose(1, 0, 2), { cos: turned, sin, positions });
  const plain = applyRotary(x.transpose(1, 0, 2).contiguous(), { cos, sin, positions });
  expect(await out.toFloat32()).toEqual(await plain.toFloat32());
});

test('a product of rotated rows depends on their distance alone', async () => {
  const [q, k] = [1n, 2n].map((seed) => randn([1, 1, 8], { seed }));
  const product = async (i: number, j: number) => {
    const rows = await Promise.all(
      [
        applyRotary(q, { cos, sin, positions: [i] }),
        applyRotary(k, { cos, sin, positions: [j] }),
      ].map((t) => t.toFloat32()),
    );
    return rows[0].reduce((sum, value, d) => sum + value * rows[1][d], 0);
  };
  expect(await product(20, 17)).toBeCloseTo(await product(3, 0), 5);
  expect(await product(20, 17)).not.toBeCloseTo(await product(3, 1), 2);
});

test('positions that the device alone knows are judged when the work runs', async () => {
  const x = randn([3, 1, 8], { seed: 1n });
  const known = tensor(Int32Array.of(1, 32, 2), [3]);
  expectThrow(
    () => applyRotary(x, { cos, sin, positions: known }),
    'ERR_SHAPE',
    'options.positions',
    /options\.positions\[0\]\[1\] to be a row of the tables, 0 to 31, but received 32/,
  );
  const computed = (...values: number[]) =>
    concat(
      values.map((value) => tensor(Int32Array.of(value), [1])),
      0,
    );
  const turned = (positions: Tensor) => applyRotary(x, { cos, sin, positions });
  const error = await errorOf(() => turned(computed(1, 32, 2)).toFloat32());
  expect(error.code).toBe('ERR_SHAPE');
  const out = turned(computed(1, 3, 2));
  const same = applyRotary(x, { cos, sin, positions: [1, 3, 2] });
  expect(await out.toFloat32()).toEqual(await same.toFloat32());
});

test('a signal that is aborted', () => {
  const signal = AbortSignal.abort();
  const x = zeros([1, 1, 8]);
  expect(() => applyRotary(x, { cos, sin, signal })).toThrow(
    expect.objectContaining({ code: 'ERR_ABORTED' }),
  );
});

describe('bad input', () => {
  const x = zeros([3, 2, 8]);
  const right = { cos, sin, positions: [0, 1, 2] };
  const gone = zeros([3, 2, 8]);
  gone.dispose();

  test.each(notTensors)('x is %s', (_, value) => {
    expectThrow(() => applyRotary(wrong(value), right), 'ERR_TYPE', 'x');
    expectThrow(() => applyRotary(x, { ...right, cos: wrong(value) }), 'ERR_TYPE', 'options.cos');
    expectThrow(() => applyRotary(x, { ...right, sin: wrong(value) }), 'ERR_TYPE', 'options.sin');
  });

  test.each([
    [gone, right, 'ERR_DISPOSED', 'x'],
    [zeros([3, 8]), right, 'ERR_SHAPE', 'x'],
    [zeros([1, 1, 3, 2, 8]), right, 'ERR_SHAPE', 'x'],
    [zeros([3, 0, 8]), right, 'ERR_SHAPE', 'x'],
    [zeros([3, 2, 8], { dtype: 'int32' }), right, 'ERR_DTYPE', 'x'],
    [x, undefined, 'ERR_TYPE', 'options'],
    [x, null, 'ERR_TYPE', 'options'],
    [x, { ...right, theta: 1e4 }, 'ERR_OPTION', 'options.theta'],
    [x, { ...right, cos: zeros([32, 5]) }, 'ERR_SHAPE', 'options.cos'],
    [x, { ...right, cos: zeros([32, 0]) }, 'ERR_SHAPE', 'options.cos'],
    [x, { ...right, cos: zeros([32]) }, 'ERR_SHAPE', 'options.cos'],
    [x, { ...right, cos: zeros([32, 4], { dtype: 'int32' }) }, 'ERR_DTYPE', 'options.cos'],
    [x, { ...right, cos: elsewhere(cos) }, 'ERR_DEVICE', 'options.cos'],
    [x, { ...right, sin: zeros([31, 4]) }, 'ERR_SHAPE', 'options.sin'],
    [x, { ...right, sin: zeros([32, 4], { dtype: 'float16' }) }, 'ERR_DTYPE', 'options.sin'],
    [x, { ...right, interleaved: 1 }, 'ERR_TYPE', 'options.interleaved'],
    [x, { ...right, rotaryDim: 4 }, 'ERR_OPTION', 'options.rotaryDim'],
    [x, { ...right, rotaryDim: '8' }, 'ERR_TYPE', 'options.rotaryDim'],
    [x, { ...right, rotaryDim: 0 }, 'ERR_OPTION', 'options.rotaryDim'],
    [x, { ...right, rotaryOffset: '1' }, 'ERR_TYPE', 'options.rotaryOffset'],
    [x, { ...right, rotaryOffset: -1 }, 'ERR_OPTION', 'options.rotaryOffset'],
    [x, { ...right, rotaryOffset: 0.5 }, 'ERR_OPTION', 'options.rotaryOffset'],
    [x, { ...right, rotaryOffset: 8 }, 'ERR_OPTION', 'options.rotaryOffset'],
    [x, { ...right, rotaryOffset: 1 }, 'ERR_SHAPE', 'options.cos'],
    [x, { ...right, positions: 3 }, 'ERR_TYPE', 'options.positions'],
    [x, { ...right, positions: [0, 1] }, 'ERR_SHAPE', 'options.positions'],
    [x, { ...right, positions: [0, 1, -2] }, 'ERR_OPTION', 'options.positions[2]'],
    [x, { ...right, positions: [0, 1, 0.5] }, 'ERR_OPTION', 'options.positions[2]'],
    [x, { ...right, positions: [0, 1, 32] }, 'ERR_SHAPE', 'options.positions'],
    [x, { ...right, positions: zeros([3]) }, 'ERR_DTYPE', 'options.positions'],
    [
      x,
      { ...right, positions: zeros([3, 1], { dtype: 'int32' }) },
      'ERR_SHAPE',
      'options.positions',
    ],
    [zeros([1, 3, 2, 8]), right, 'ERR_TYPE', 'options.positions'],
    [zeros([1, 3, 2, 8]), { ...right, positions: [[0, 1]] }, 'ERR_SHAPE', 'options.positions'],
    [x, { ...right, signal: 'now' }, 'ERR_TYPE', 'options.signal'],
  ] as const)('case %#', (given, options, code, argument) => {
    expectThrow(() => applyRotary(given, wrong(options)), code, argument);
  });
});
