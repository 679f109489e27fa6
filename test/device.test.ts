import { readFileSync } from 'node:fs';
import {
  defaultDevice,
  devices,
  flashAttention,
  randn,
  synchronize,
  tensor,
  timeOnDevice,
  version,
  zeros,
} from '../lib/index.js';
import { errorOf, expectThrow, wrong } from './support/expect-error.js';
import { runPackage } from './support/run-package.js';

/** Prints the default device, or the code, argument and message of the error. */
const tell = `
  try { console.log(fa.defaultDevice()); }
  catch (error) { console.log(error.code, error.argument, error.message); }
`;
const told = (device: string) => runPackage(tell, { FLASH_ATTENTION_DEVICE: device }).stdout.trim();

test('devices() lists the CPU, and says of absent ones why', () => {
  const all = devices();
  const cpu = all.find(({ name }) => name === 'cpu');
  expect(cpu).toMatchObject({
    available: true,
    model: expect.any(String),
    threads: expect.any(Number),
  });
  expect(cpu?.memory).toBeGreaterThan(2 ** 28);
  expect(cpu?.kernels).toEqual(['cpu.forward', 'cpu.decode', 'cpu.backward']);
  expect(cpu?.capability).toBeTruthy();
  for (const { available, reason } of all) {
    if (!available) expect(reason).toMatch(/\w+ \w+/);
  }
});

test('version is that of package.json', () => {
  const { version: expected } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  );
  expect(version).toBe(expected);
});

test('timeOnDevice() is the time of what was enqueued, not of what else happens', async () => {
  const q = randn([1, 256, 4, 64], { seed: 1n });
  const call = () => flashAttention(q, q, q).dispose();
  const idle = await timeOnDevice(() => {});
  const one = await timeOnDevice(call);
  const many = await timeOnDevice(() => {
    for (let i = 0; i < 50; i++) call();
  });
  expect(idle).toBeGreaterThanOrEqual(0);
  expect(one).toBeGreaterThan(0);
  // No duration is asserted: a busy machine must not fail this.
  expect(many).toBeGreaterThan(0);
  // An error of `work` is passed on, and the device is as before.
  const work = () => {
    throw new Error('mine');
  };
  await expect(timeOnDevice(work)).rejects.toThrow('mine');
  expect(await errorOf(() => timeOnDevice(wrong(3)))).toMatchObject({
    code: 'ERR_TYPE',
    argument: 'work',
  });
  await expect(timeOnDevice(() => {}, wrong('tpu'))).rejects.toMatchObject({ code: 'ERR_DEVICE' });
});

test('synchronize() waits for all work so far', async () => {
  const t = zeros([1 << 20]).to('bfloat16');
  await synchronize();
  await synchronize('cpu');
  expect(t.disposed).toBe(false);
  expect(await synchronize()).toBeUndefined();
});

test('a wrong or absent device is an error, never a fallback', async () => {
  expectThrow(
    () => tensor([1], [1], { device: 'cuda:77' }),
    'ERR_DEVICE_UNAVAILABLE',
    'options.device',
    /cuda/,
  );
  expectThrow(() => zeros([1], { device: wrong('cuda:x') }), 'ERR_DEVICE', 'options.device');
  expectThrow(() => zeros([1], { device: wrong('CPU') }), 'ERR_DEVICE', 'options.device');
  expectThrow(() => zeros([1], { device: wrong(null) }), 'ERR_TYPE', 'options.device');
  expect(await errorOf(() => synchronize('cuda:77'))).toMatchObject({
    code: 'ERR_DEVICE_UNAVAILABLE',
    argument: 'device',
  });
  expect(await errorOf(() => synchronize(wrong(0)))).toMatchObject({
    code: 'ERR_TYPE',
    argument: 'device',
  });
});

describe('FLASH_ATTENTION_DEVICE', () => {
  test('overrides the default', () => {
    expect(told('cpu')).toBe('cpu');
    expect(told('')).toBe(
      devices().some(({ name, available }) => available && name === 'cuda:0') ? 'cuda:0' : 'cpu',
    );
  });

  test('that cannot be used is an error that says why', () => {
    expect(told('cuda:77')).toMatch(/^ERR_DEVICE_UNAVAILABLE FLASH_ATTENTION_DEVICE .*'cuda:77'/);
    const cuda = devices().find(({ name }) => name === 'cuda:0');
    if (cuda?.available) expect(told('cuda')).toBe('cuda:0');
    else {
      expect(told('cuda')).toMatch(/^ERR_DEVICE_UNAVAILABLE/);
      expect(told('cuda')).toContain(cuda?.reason);
    }
    expect(told('gpu')).toMatch(/^ERR_DEVICE FLASH_ATTENTION_DEVICE .*'gpu'/);
    expect(told('CPU')).toMatch(/^ERR_DEVICE FLASH_ATTENTION_DEVICE/);
  });

  test('does not win over an explicit device', () => {
    const code = `console.log(fa.zeros([1], { device: 'cpu' }).device);`;
    expect(runPackage(code, { FLASH_ATTENTION_DEVICE: 'cuda:77' }).stdout.trim()).toBe('cpu');
  });

  test('is looked at when a tensor is made, not on import', () => {
    const code = `
      process.env.FLASH_ATTENTION_DEVICE = 'cuda:77';
      try { fa.zeros([1]); } catch (error) { console.log(error.code); }
      process.env.FLASH_ATTENTION_DEVICE = 'cpu';
      console.log(fa.zeros([1]).device, fa.defaultDevice());
    `;
    expect(runPackage(code).stdout).toBe('ERR_DEVICE_UNAVAILABLE\ncpu cpu\n');
  });
});

test('FLASH_ATTENTION_NUM_THREADS sets the threads of the CPU device', () => {
  const code = `console.log(fa.devices().find(({ name }) => name === 'cpu').threads);`;
  for (const threads of ['1', '3']) {
    expect(runPackage(code, { FLASH_ATTENTION_NUM_THREADS: threads }).stdout.trim()).toBe(threads);
  }
  expect(defaultDevice()).toBeTruthy();
});
