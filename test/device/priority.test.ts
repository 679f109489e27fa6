// Calls with priority 'high' on the device under test: what they overtake, and that what passes
// between the two queues is right.
import {
  type CallOptions,
  concat,
  dequantize,
  empty,
  flashAttention,
  flashAttentionBackward,
  flashAttentionPaged,
  flashAttentionVarlen,
  mergeAttentionStates,
  quantize,
  randn,
  scaledDotProductAttention,
  synchronize,
  type Tensor,
  tensor,
  timeOnDevice,
  zeros,
} from '../../lib/index.js';
import { sized, testOnCpu } from '../support/device.js';
import { expectThrow, wrong } from '../support/expect-error.js';
import { settledMemory } from '../support/gc.js';
import { uniform } from '../support/random.js';

const high: CallOptions = { priority: 'high' };
const small = (seed = 1n) => randn([1, 8, 2, 16], { seed });

/** Keeps a queue busy: on a CPU it takes a quarter of an hour, unless it is aborted. */
function busy(signal: AbortSignal, priority?: 'high'): Tensor {
  const shape = sized([1, 131_072, 32, 64], [1, 64, 8, 64]);
  const x = zeros([1, 1, 1, 64], { priority }).expand(shape);
  return flashAttention(x, x, x, { signal, priority });
}

/** Whether it settles while `other` is pending. */
const before = (promise: Promise<unknown>, other: Promise<unknown>): Promise<boolean> =>
  Promise.race([promise.then(() => true), other.then(() => false)]);

const settled = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error) => error);

testOnCpu('a short high call overtakes the long normal one before it', async () => {
  const [q, k, v] = [1n, 2n, 3n].map((seed) => randn([1, 2048, 8, 64], { seed }));
  const [q1, k1, v1] = [1, 256, 256].map((seqlen) => randn([1, seqlen, 8, 64], { seed: 4n }));
  await synchronize();
  const controller = new AbortController();
  const { signal } = controller;
  const long = settled(busy(signal).data());
  const queued = settled(flashAttention(q, k, v, { signal }).data());
  const short = flashAttention(q1, k1, v1, high);
  expect(await before(short.data(), long)).toBe(true);
  expect(await before(short.take(), long)).toBe(true);
  expect(await before(q1.toFloat32(high), long)).toBe(true); // what the normal queue made
  expect(await before(k1.to('float16', high).data(), long)).toBe(true);
  controller.abort();
  await Promise.all([long, queued]);
});

testOnCpu('all works while a normal call runs', async () => {
  const q = small();
  const state = { q, k: q, v: q, ...flashAttention(q, q, q, { returnLse: true }) };
  const lengths = [0, 8];
  const pack = (x: Tensor) => x.reshape([8, 2, 16]);
  const transposed = q.transpose(0, 2, 1, 3);
  await synchronize();
  const controller = new AbortController();
  const long = settled(busy(controller.signal).data());
  const rows = pack(q);
  const results = [
    flashAttention(q, q, q, { seqlensK: [8], ...high }),
    scaledDotProductAttention(q, q, q, high),
    flashAttentionBackward(state.out, state, high).dq,
    flashAttentionVarlen(rows, rows, rows, { cuSeqlensQ: lengths, cuSeqlensK: lengths, ...high }),
    flashAttentionPaged(q, q, q, { pageTable: [[0]], seqlensK: [8], ...high }),
    mergeAttentionStates([state], high).out,
    quantize(q, 'float8_e4m3', high).scales,
    dequantize(quantize(q, 'float8_e4m3', high), high),
    concat([q, q], 1, high),
    transposed.contiguous(high),
    tensor([1, 2], [2], high),
    zeros([2], high),
    empty([2], high),
    randn([2], { seed: 1n, ...high }),
  ];
  const all = Promise.all(results.map((result) => result.data()));
  expect(await before(all, long)).toBe(true);
  controller.abort();
  await long;
});

test('a value that is none is refused, whatever the function', async () => {
  const q = small();
  for (const [priority, code] of [
    ['low', 'ERR_OPTION'],
    ['HIGH', 'ERR_OPTION'],
    [1, 'ERR_TYPE'],
    [true, 'ERR_TYPE'],
    [null, 'ERR_TYPE'],
  ] as const) {
    const options = wrong({ priority }) as object;
    for (const enqueue of [
      () => flashAttention(q, q, q, options),
      () => scaledDotProductAttention(q, q, q, options),
      () => mergeAttentionStates([flashAttention(q, q, q, { returnLse: true })], options),
      () => quantize(q, 'float8_e4m3', options),
      () => q.to('float16', options),
      () => concat([q, q], 1, options),
      () => tensor([1], [1], options),
      () => zeros([1], options),
      () => randn([1], { seed: 1n, ...options }),
    ]) {
      expectThrow(enqueue, code, 'options.priority', /'normal' or 'high'/);
    }
    for (const read of [() => q.data(options), () => q.take(options), () => q.toFloat32(options)]) {
      await expect(read()).rejects.toMatchObject({ code, argument: 'options.priority' });
    }
  }
  expect(await q.data({ priority: 'normal' })).toHaveLength(q.size);
  expectThrow(() => q.contiguous(wrong({ urgent: true })), 'ERR_OPTION', 'options.urgent');
});

/** The results of random calls, each of which reads what earlier ones made. */
async function results(seed: number, priorities: boolean): Promise<unknown[]> {
  const random = uniform(seed);
  const choose = uniform(seed + 1); // apart, so that both programs are the same
  const below = (n: number) => Math.floor(random() * n);
  const given = (): CallOptions => (choose() < 0.5 && priorities ? high : {});
  const made: Tensor[] = [1n, 2n, 3n].map((n) => randn([1, 24, 2, 16], { seed: n, ...given() }));
  const any = () => made[below(made.length)];
  const calls = [
    () => flashAttention(any(), any(), any(), { causal: random() < 0.5, ...given() }),
    () => flashAttention(any(), any(), any(), { seqlensK: [1 + below(24)], ...given() }),
    () => {
      const [q, k, v] = [any(), any(), any()];
      const state = flashAttention(q, k, v, { returnLse: true, ...given() });
      const { dq } = flashAttentionBackward(any(), { q, k, v, ...state }, given());
      return mergeAttentionStates([state, { out: dq, lse: state.lse }], given()).out;
    },
    () => dequantize(quantize(any(), 'float8_e4m3', given()), given()),
    () => any().to('float16', given()).to('float32', given()),
    () => concat([any().slice(null, [0, 9]), any().slice(null, [9, 24])], 1, given()),
    () => any().transpose(0, 1, 3, 2).contiguous(given()).transpose(0, 1, 3, 2),
    () => tensor(Float32Array.from({ length: 768 }, random), [1, 24, 2, 16], given()),
  ];
  const reads: Promise<unknown>[] = [];
  for (let step = 0; step < sized(60, 20); step++) {
    made.push(calls[below(calls.length)]());
    if (random() < 0.2) reads.push(any().data(given()));
    const [old] = made.splice(below(made.length), made.length > 8 ? 1 : 0);
    if (old !== undefined && random() < 0.5) reads.push(old.take(given()));
    else old?.dispose();
    if (random() < 0.05) await reads.at(-1);
  }
  reads.push(...made.map((each) => each.take()));
  return Promise.all(reads);
}

test.each(Array.from({ length: sized(40, 4) }, (_, i) => 100 * i))(
  'both queues compute what one does: random calls of seed %i',
  async (seed) => {
    expect(await results(seed, true)).toEqual(await results(seed, false));
  },
);

test('what is taken is not what the other queue reads', async () => {
  const controller = new AbortController();
  const x = small();
  const expected = await x.data();
  const long = settled(busy(controller.signal, 'high').data());
  const copy = x.to('float32', high);
  (await x.take()).fill(0);
  controller.abort();
  expect(await copy.data()).toEqual(expected);
  await long;
});

test('synchronize waits for both queues', async () => {
  const order: string[] = [];
  const x = small();
  const reads = [high, {}].map((options) =>
    flashAttention(x, x, x, options)
      .data()
      .then(() => order.push('read')),
  );
  await Promise.all([...reads, synchronize().then(() => order.push('synchronized'))]);
  expect(order.sort()).toEqual(['read', 'read', 'synchronized']);
  const out = flashAttention(x, x, x, high);
  await synchronize();
  expect(await out.take()).toHaveLength(out.size);
});

testOnCpu('aborting, failures and time keep to the calls they are about', async () => {
  const x = small();
  const controller = new AbortController();
  const held = busy(controller.signal, 'high');
  const aborted = flashAttention(x, x, x, { signal: controller.signal, ...high });
  const reader = flashAttention(aborted, x, x);
  const bystander = flashAttention(x, x, x, high);
  controller.abort();
  for (const result of [held, aborted, reader]) {
    await expect(result.data()).rejects.toMatchObject({ code: 'ERR_ABORTED' });
  }
  expect(await bystander.data()).toHaveLength(x.size);
  expect(await timeOnDevice(() => flashAttention(x, x, x, high))).toBeGreaterThanOrEqual(0);
});

test('both queues give everything back', async () => {
  await synchronize();
  const start = await settledMemory();
  for (let i = 0; i < 50; i++) {
    const x = zeros([64, 64], i % 2 === 0 ? high : {});
    x.to('float16', i % 3 === 0 ? high : {}).dispose();
    x.dispose();
  }
  await synchronize();
  expect(await settledMemory()).toEqual(start);
});
