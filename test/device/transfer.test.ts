// Tensors on the device under test: making, converting, copying between devices, reading.
import {
  concat,
  defaultDevice,
  devices,
  flashAttention,
  randn,
  tensor,
  zeros,
} from '../../lib/index.js';
import { device, onCpu, testIf } from '../support/device.js';
import { expectThrow } from '../support/expect-error.js';
import { settledMemory } from '../support/gc.js';
import { maxError, normals } from '../support/numerics.js';

test('the device under test is there, with what devices() tells of it', () => {
  expect(defaultDevice()).toBe(device);
  const info = devices().find(({ name }) => name === device);
  expect(info).toMatchObject({ available: true, model: expect.any(String) });
  expect(info?.memory).toBeGreaterThan(2 ** 24);
  expect(info?.capability).toMatch(onCpu ? /./ : /^sm_\d\d+$/);
  expect(info?.kernels.length).toBeGreaterThan(0);
});

test('what goes there comes back', async () => {
  for (const count of [0, 1, 31, 4096, 300_001]) {
    const data = normals(count, 7);
    const there = tensor(data, [count]);
    expect(there.device).toBe(device);
    expect(await there.toFloat32()).toEqual(data);
    expect(await there.to('cpu').toFloat32()).toEqual(data);
    expect(await tensor(data, [count], { device: 'cpu' }).to(device).toFloat32()).toEqual(data);
  }
  const wide = normals(3_000_000, 8); // more than one piece of staging memory
  expect(await tensor(wide, [3_000_000]).toFloat32()).toEqual(wide);
});

test('every dtype converts as on the CPU', async () => {
  const floats = Float32Array.of(0, -0, 1.5, -2.75, 65504, 65520, 1e-8, 3e38, Infinity, NaN, 1 / 3);
  const dtypes = ['float32', 'float16', 'bfloat16', 'float8_e4m3'] as const;
  for (const dtype of dtypes) {
    const here = tensor(floats, [11], { dtype, device: 'cpu' });
    const there = tensor(floats, [11], { dtype });
    expect(await there.data()).toEqual(await here.data());
    for (const to of dtypes) {
      expect(await there.to(to).data()).toEqual(await here.to(to).data());
    }
  }
  const integers = Int32Array.of(0, 1, -5, 2147483647, -2147483648, 16777217);
  const integral = tensor(integers, [6]);
  expect(await integral.data()).toEqual(integers);
  expect(await integral.toFloat32()).toEqual(Float32Array.from(integers));
  expect(await integral.to('float16').data()).toEqual(
    await tensor(integers, [6], { device: 'cpu' }).to('float16').data(),
  );
  const flags = tensor([true, false, true], [3]);
  expect(await flags.data()).toEqual(Uint8Array.of(1, 0, 1));
  expect(await flags.toFloat32()).toEqual(Float32Array.of(1, 0, 1));
});

test('views of any strides', async () => {
  const data = normals(5 * 7 * 11 * 3, 9);
  const there = tensor(data, [5, 7, 11, 3]);
  const here = tensor(data, [5, 7, 11, 3], { device: 'cpu' });
  const views = [
    (t: typeof there) => t.transpose(2, 0, 3, 1),
    (t: typeof there) => t.slice([1, 4], null, [2, 9]),
    (t: typeof there) => t.slice(null, [3, 4]).transpose(3, 2, 1, 0),
    (t: typeof there) => t.slice([2, 2]),
  ];
  for (const view of views) {
    const [a, b] = [view(there), view(here)];
    expect(await a.toFloat32()).toEqual(await b.toFloat32());
    expect(await a.to('bfloat16').data()).toEqual(await b.to('bfloat16').data());
    expect(await a.to('cpu').data()).toEqual(await b.data());
  }
});

test('random numbers are those of every other device', async () => {
  for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
    const there = randn([1001], { seed: 5n, dtype });
    const here = randn([1001], { seed: 5n, dtype, device: 'cpu' });
    // sin, cos and log in float64 may differ in their last bit, of which few reach the float32.
    const error = maxError(await there.toFloat32(), await here.toFloat32());
    expect(error).toBeLessThan(dtype === 'float32' ? 1e-6 : 0.04);
  }
  expect(await zeros([77], { dtype: 'int32' }).data()).toEqual(new Int32Array(77));
});

testIf(!onCpu, 'there is one device')('tensors of two devices do not mix', () => {
  const shape = [1, 4, 1, 32];
  const there = zeros(shape);
  const here = zeros(shape, { device: 'cpu' });
  expectThrow(() => flashAttention(there, here, here), 'ERR_DEVICE', 'k');
  expectThrow(() => flashAttention(here, here, there), 'ERR_DEVICE', 'v');
  expectThrow(() => concat([there, here], 0), 'ERR_DEVICE', 'tensors[1]');
  const seqlensK = tensor(Int32Array.of(1), [1], { device: 'cpu' });
  expectThrow(
    () => flashAttention(there, there, there, { seqlensK }),
    'ERR_DEVICE',
    'options.seqlensK',
  );
});

test('work in flight keeps what it needs', async () => {
  const before = await settledMemory();
  const data = normals(64 * 1024, 10);
  let sum = tensor(data, [64, 1024]);
  for (let i = 0; i < 20; i++) {
    const view = sum.transpose(1, 0);
    sum.dispose();
    sum = view.to('float32'); // a copy in another order, and back again
    view.dispose();
  }
  expect(await sum.reshape([64 * 1024]).toFloat32()).toEqual(data);
  sum.dispose();
  expect(await settledMemory()).toEqual(before);
});
