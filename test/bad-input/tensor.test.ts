import { empty, randn, Tensor, tensor, zeros } from '../../lib/index.js';
import { errorOf, expectThrow, wrong } from '../support/expect-error.js';

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
    ['Int16Array', new Int16Array(2), undefined, 'ERR_TYPE', 'data', /Int16Array of length 2/],
    ['beyond int8', [1, 128], { dtype: 'int8' }, 'ERR_OPTION', 'data[1]', /-2\^7 to 2\^7 - 1/],
    ['a fraction', [0.5, 1], { dtype: 'int8' }, 'ERR_OPTION', 'data[0]'],
    ['-129', Int32Array.of(-129, 1), { dtype: 'int8' }, 'ERR_OPTION', 'data[0]'],
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
    expectThrow(() => t.reshape([-1, -1]), 'ERR_SHAPE', 'shape[1]', /one axis alone may be -1/);
    expectThrow(() => t.reshape(wrong(6)), 'ERR_TYPE', 'shape');
    expectThrow(() => t.reshape(wrong(undefined)), 'ERR_TYPE', 'shape');
    expectThrow(() => t.expand([2, 4]), 'ERR_SHAPE', 'shape[1]', /3, like the tensor's axis/);
    expectThrow(() => t.expand([5, 1, 3]), 'ERR_SHAPE', 'shape[1]');
    expectThrow(() => t.expand([3]), 'ERR_SHAPE', 'shape', /at least 2 axes/);
    expectThrow(() => t.expand([2, -3]), 'ERR_SHAPE', 'shape[1]');
    expectThrow(() => t.expand([1, 1, 1, 1, 1, 2, 3]), 'ERR_SHAPE', 'shape', /1 to 6 axes/);
    expectThrow(() => t.expand(wrong(6)), 'ERR_TYPE', 'shape');
    expectThrow(() => t.transpose(0), 'ERR_SHAPE', 'axes');
    expectThrow(() => t.transpose(0, 0), 'ERR_SHAPE', 'axes');
    expectThrow(() => t.transpose(0, 2), 'ERR_SHAPE', 'axes');
    expectThrow(() => t.transpose(wrong([1, 0])), 'ERR_SHAPE', 'axes', /transpose\(1, 0\)/);
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
