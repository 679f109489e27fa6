import {
  BlockMask,
  empty,
  flashAttention,
  memory,
  randn,
  type Tensor,
  zeros,
} from '../lib/index.js';
import { heldMemory, settledMemory } from './support/gc.js';

test('counts handles, storages and bytes', async () => {
  const before = await settledMemory();
  const t = zeros([256, 4]);
  const row = t.slice([0, 1]);
  const half = t.to('float16');
  const { tensors, storages, bytes } = memory();
  expect(tensors - before.tensors).toBe(3);
  expect(storages - before.storages).toBe(2);
  expect(bytes - before.bytes).toBe(256 * 4 * (4 + 2));
  t.dispose();
  expect(memory().bytes).toBe(bytes); // the row still holds all of it
  row.dispose();
  half.dispose();
  expect(heldMemory()).toEqual(before);
});

test('tensors and block masks that nobody holds are collected', async () => {
  const before = await settledMemory();
  await (async () => {
    const q = randn([1, 64, 2, 16], { seed: 1n });
    const blockMask = BlockMask.document(new Int32Array(64), { blockSize: 16 });
    await flashAttention(q, q, q, { blockMask }).data();
    q.transpose(0, 2, 1, 3).slice(null, [0, 1]);
    expect(memory().tensors).toBeGreaterThan(before.tensors + 3);
  })();
  expect(await settledMemory()).toEqual(before);
});

test('dropped tensors do not pile up: their bytes press on the garbage collector', async () => {
  const before = await settledMemory();
  const MiB = 2 ** 20;
  let most = 0;
  for (let i = 0; i < 800; i++) {
    empty([4 * MiB]);
    await new Promise(setImmediate); // finalizers run between turns
    most = Math.max(most, memory().bytes - before.bytes);
  }
  // V8 collects for memory outside its heap when that reaches about its own heap limit, up to 4
  // GiB.
  expect(most).toBeLessThan(400 * 16 * MiB);
  expect(await settledMemory()).toEqual(before);
});

test('take() copies nothing, and arrays that nobody holds give their memory back', async () => {
  const bytes = 2 ** 24;
  const made = async (read: (t: Tensor) => Promise<unknown>) => {
    await settledMemory();
    const before = process.memoryUsage().arrayBuffers;
    const array = await read(zeros([bytes / 4], { device: 'cpu' }));
    return { array, bytes: process.memoryUsage().arrayBuffers - before };
  };
  expect((await made((t) => t.data())).bytes).toBeGreaterThanOrEqual(bytes);
  expect((await made((t) => t.take())).bytes).toBeLessThan(bytes / 2);

  await settledMemory();
  const before = process.memoryUsage();
  for (let i = 0; i < 200; i++) {
    const array = await zeros([bytes / 4], { device: 'cpu' }).take();
    expect(array[7]).toBe(0); // memory that an earlier array had is cleared
    array[7] = 1;
  }
  await settledMemory();
  const after = process.memoryUsage();
  expect(after.external - before.external).toBeLessThan(2 * bytes);
  expect(after.rss - before.rss).toBeLessThan(50 * bytes);
});

test('a thousand attention calls leave nothing behind', async () => {
  const before = await settledMemory();
  {
    using q = randn([1, 8, 2, 16], { seed: 1n });
    for (let i = 0; i < 1000; i++) {
      const { out, lse } = flashAttention(q, q, q, {
        causal: true,
        seqlensK: [8],
        returnLse: true,
      });
      if (i % 100 === 0) await out.data();
      out.dispose();
      lse.dispose();
    }
  }
  expect(heldMemory()).toEqual(before);
});
