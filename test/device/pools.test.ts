// What the process keeps of a GPU's memory: memory().pools, and the variable that bounds it.
import { memory, synchronize, zeros } from '../../lib/index.js';
import { device, onCpu, testIf, testOnCpu } from '../support/device.js';
import { settledMemory } from '../support/gc.js';
import { runPackage } from '../support/run-package.js';

const testOnGpu = testIf(!onCpu, 'it is about GPUs');
const MiB = 2 ** 20;

testOnCpu('the CPU has no pool', () => {
  expect(memory().pools).toEqual([]);
});

const poolOf = () => {
  const pool = memory().pools.find((each) => each.device === device);
  if (pool === undefined) throw new Error(`${device} has no pool`);
  return pool;
};

testOnGpu('a pool holds what tensors do, and of what was freed up to its limit', async () => {
  using kept = zeros([MiB]);
  await settledMemory(); // other tests of this process share the pool
  await synchronize();
  const before = poolOf();
  expect(before.used).toBeGreaterThanOrEqual(kept.byteLength);
  expect(before.reserved).toBeGreaterThanOrEqual(before.used);
  expect(before.limit).toBeGreaterThan(MiB);
  const freed = zeros([4 * MiB]);
  await synchronize();
  expect(poolOf().used).toBeGreaterThanOrEqual(kept.byteLength + 16 * MiB);
  freed.dispose();
  await synchronize();
  const after = poolOf();
  expect(after.used).toBeLessThanOrEqual(before.used);
  expect(after.reserved).toBeLessThanOrEqual(after.used + after.limit);
});

describe('FLASH_ATTENTION_CUDA_POOL_BYTES', () => {
  const run = (code: string, value: string) => {
    const { stdout, stderr } = runPackage(code, { FLASH_ATTENTION_CUDA_POOL_BYTES: value });
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  };

  testOnGpu('of 0: nothing stays once work was waited for', () => {
    const pools = run(
      `const kept = fa.zeros([1000]), freed = fa.zeros([${MiB}]);
      await fa.synchronize();
      freed.dispose();
      await fa.synchronize();
      await fa.synchronize();
      console.log(JSON.stringify(fa.memory().pools));
      kept.dispose();`,
      '0',
    );
    expect(pools).toHaveLength(1);
    expect(pools[0]).toMatchObject({ device, limit: 0 });
    // The driver reserves whole blocks of 2 MiB and more.
    expect(pools[0].reserved - pools[0].used).toBeLessThan(32 * MiB);
    const counter = device.endsWith('sm90') ? 4 : 0; // of tiles: csrc/cuda/base/queue.h
    if (device.startsWith('simt:')) expect(pools[0].reserved).toBe(4000 + counter);
  });

  testOnGpu('that is no number is an error of the first call on the device', () => {
    const code = `try { fa.zeros([1]) } catch (error) {
      console.log(JSON.stringify({ code: error.code, message: error.message }));
    }`;
    const error = run(code, '1 GB');
    expect(error.code).toBe('ERR_OPTION');
    expect(error.message).toContain("FLASH_ATTENTION_CUDA_POOL_BYTES but received '1 GB'");
  });
});
