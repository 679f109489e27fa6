import { inspect } from 'node:util';

import {
  dynamicConv,
  type FlashAttentionError,
  flashAttention,
  flashAttentionBackward,
  mergeAttentionStates,
  quantize,
  randn,
  synchronize,
  type Tensor,
  timeOnDevice,
  zeros,
} from '../lib/index.js';

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: FlashAttentionError) => error.code,
  );

const small = () => randn([1, 8, 2, 16], { seed: 1n });

/** Keeps the queue of the device busy: it takes a quarter of an hour, unless it is aborted. */
const busy = (signal: AbortSignal): Tensor => {
  const x = zeros([1, 1, 1, 64]).expand([1, 131_072, 32, 64]);
  return flashAttention(x, x, x, { signal });
};

test('an aborted signal is refused at once, whatever the function', async () => {
  const signal = AbortSignal.abort('enough');
  const q = small();
  const { out, lse } = flashAttention(q, q, q, { returnLse: true });
  const aborted = expect.objectContaining({
    code: 'ERR_ABORTED',
    argument: 'options.signal',
    cause: 'enough',
  });
  for (const enqueue of [
    () => flashAttention(q, q, q, { signal }),
    () => flashAttentionBackward(out, { q, k: q, v: q, out, lse }, { signal }),
    () => mergeAttentionStates([{ out, lse }], { signal }),
    () => dynamicConv(q, q, { signal }),
    () => quantize(q, 'float8_e4m3', { signal }),
    () => q.to('float16', { signal }),
  ]) {
    expect(enqueue).toThrow(aborted);
  }
  for (const read of [
    () => out.data({ signal }),
    () => out.take({ signal }),
    () => out.toFloat32({ signal }),
  ]) {
    await expect(read()).rejects.toEqual(aborted);
  }
  expect(out.disposed).toBe(false); // a refused take() takes nothing
  expect(await out.toFloat32({ signal: new AbortController().signal })).toHaveLength(out.size);
});

test('what runs and what waits stops; what was called without the signal does not', async () => {
  const controller = new AbortController();
  const running = busy(controller.signal);
  const q = small();
  const waiting = flashAttention(q, q, q, { signal: controller.signal });
  const reader = flashAttention(waiting, q, q);
  const bystander = flashAttention(q, q, q);
  controller.abort();
  expect(await codeOf(waiting.data())).toBe('ERR_ABORTED');
  expect(await codeOf(reader.data())).toBe('ERR_ABORTED'); // it has nothing to read
  expect(await codeOf(running.data())).toBe('ERR_ABORTED');
  expect(await codeOf(bystander.data())).toBe('none');
});

test('what an aborted call should have filled rejects with the reason', async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const running = busy(signal);
  const q = small();
  const waiting = flashAttention(q, q, q, { signal, returnLse: true });
  const view = waiting.out.slice([0, 1]).reshape([-1]);
  const reader = flashAttention(waiting.out, q, q);
  controller.abort('enough');
  const aborted = { code: 'ERR_ABORTED', argument: 'options.signal', cause: 'enough' };
  for (const tensor of [running, waiting.out, waiting.lse, view]) {
    await expect(tensor.data()).rejects.toMatchObject(aborted);
    await expect(tensor.toFloat32()).rejects.toMatchObject(aborted);
  }
  // The read's own signal comes first; a call that reads an aborted one has no signal.
  const own = waiting.out.data({ signal: AbortSignal.abort('mine') });
  await expect(own).rejects.toMatchObject({ ...aborted, cause: 'mine' });
  await expect(waiting.lse.take()).rejects.toMatchObject(aborted);
  const read = await reader.data().catch((error) => error);
  expect(read).toMatchObject({ code: 'ERR_ABORTED' });
  expect(read.cause).not.toBe('enough');
});

test('an aborted read rejects without waiting for its turn', async () => {
  const held = new AbortController();
  const long = busy(held.signal);
  const controller = new AbortController();
  const q = small();
  const reads = [q.data({ signal: controller.signal }), q.take({ signal: controller.signal })];
  const codes = reads.map(codeOf);
  controller.abort();
  expect(await Promise.all(codes)).toEqual(['ERR_ABORTED', 'ERR_ABORTED']);
  held.abort();
  expect(await codeOf(long.data())).toBe('ERR_ABORTED');
});

test('work whose results are all disposed is dropped; what others read is done', async () => {
  const controller = new AbortController();
  busy(controller.signal);
  const q = small();
  const dropped = flashAttention(q, q, q);
  const read = flashAttention(q, q, q);
  const result = flashAttention(read, q, q);
  dropped.dispose();
  read.dispose();
  controller.abort();
  const values = await result.toFloat32();
  const expected = await flashAttention(flashAttention(q, q, q), q, q).toFloat32();
  expect(values).toEqual(expected);
  await synchronize();
});

test('a signal that is none, and options with anything else, are refused', async () => {
  const q = small();
  const signal = {} as AbortSignal;
  expect(() => flashAttention(q, q, q, { signal })).toThrow(
    expect.objectContaining({ code: 'ERR_TYPE', argument: 'options.signal' }),
  );
  expect(await codeOf(q.data({ signal }))).toBe('ERR_TYPE');
  expect(await codeOf(q.data({ dtype: 'float32' } as object))).toBe('ERR_OPTION');
  await expect(q.data({ sginal: signal } as object)).rejects.toMatchObject({
    argument: 'options.sginal',
    message: expect.stringContaining("Did you mean 'signal'?"),
  });
  for (const options of [1, [], q, new Map()]) {
    expect(await codeOf(q.data(options as never))).toBe('ERR_TYPE');
  }
});

test('timeOnDevice rejects with what the work has thrown', async () => {
  const mine = new Error('mine');
  await expect(
    timeOnDevice(() => {
      throw mine;
    }),
  ).rejects.toBe(mine);
});

test('the class of errors prints under its own name', () => {
  const error = (() => {
    try {
      return zeros([-1]);
    } catch (thrown) {
      return thrown as FlashAttentionError;
    }
  })();
  expect(inspect(error)).toMatch(/^FlashAttentionError: Expected shape/);
  expect((error as FlashAttentionError).constructor.name).toBe('FlashAttentionError');
});
