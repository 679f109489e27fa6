// Rows as numbers, and layers computed in place: what an engine in a worker thread does.
import { randn, synchronize, type Tensor, tensor, zeros } from '../../lib/index.js';
import { KvCache, type Step, type StepAttentionOptions } from '../../lib/serving/index.js';
import { onSimtHopper, sized } from '../support/device.js';
import { thrownBy } from '../support/expect-error.js';
import type { FloatDType } from '../support/numerics.js';
import { uniform } from '../support/random.js';
import { rotaryTables } from '../support/rotary-tables.js';
import { heldMemory, settledMemory } from '../support/gc.js';

const dtypes: readonly FloatDType[] = onSimtHopper
  ? ['bfloat16']
  : sized(['float32', 'float16', 'bfloat16'], ['float32', 'bfloat16']);
const shape = { layers: 2, numPages: 12, pageSize: 4, kvHeads: 2, headDim: 8, headDimV: 4 };
const heads = 4;

const tables = rotaryTables(32, 4);
const rotary = () => ({ cos: tensor(tables.cos, [32, 4]), sin: tensor(tables.sin, [32, 4]) });

function numbers(count: number, seed: number): Float32Array {
  const random = uniform(seed);
  return Float32Array.from({ length: count }, () => 4 * random() - 2);
}

interface LayerNumbers {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

const numbersOf = (tokens: number, seed: number): LayerNumbers => ({
  q: numbers(tokens * heads * shape.headDim, seed),
  k: numbers(tokens * shape.kvHeads * shape.headDim, seed + 1),
  v: numbers(tokens * shape.kvHeads * shape.headDimV, seed + 2),
});

const tensorsOf = (tokens: number, { q, k, v }: LayerNumbers): [Tensor, Tensor, Tensor] => [
  tensor(q, [tokens, heads, shape.headDim]),
  tensor(k, [tokens, shape.kvHeads, shape.headDim]),
  tensor(v, [tokens, shape.kvHeads, shape.headDimV]),
];

/** A prompt, a fork of it and tokens of both in one step; what `attend` gives for all layers. */
async function runOf(
  dtype: FloatDType,
  attend: (step: Step, layer: number, tokens: number, seed: number) => unknown,
): Promise<unknown[]> {
  using cache = new KvCache({ ...shape, dtype });
  using first = cache.createSequence();
  const results: unknown[] = [];
  const layersOf = async (step: Step, tokens: number) => {
    for (let layer = 0; layer < shape.layers; layer++) {
      results.push(await attend(step, layer, tokens, 100 * results.length));
    }
    step.commit();
  };
  await layersOf(cache.step([{ sequence: first, tokens: 6 }]), 6);
  using second = first.fork(); // its last page is copied by whoever writes first
  const both = [
    { sequence: second, tokens: 1 },
    { sequence: first, tokens: 3 },
  ];
  await layersOf(cache.step(both), 4);
  await layersOf(cache.step([{ sequence: second, tokens: 2 }]), 2);
  return results;
}

describe.each(dtypes)('a cache of %s', (dtype) => {
  const cases: [string, StepAttentionOptions][] = [
    ['no options', {}],
    ['rotary', { rotary: rotary() }],
    [
      'a window, softcap and sinks',
      { window: [3, 0], softcap: 5, sinks: randn([heads], { seed: 5n }) },
    ],
  ];

  test.each(cases)('numbers give the bits of tensors, in place or not: %s', async (_name, more) => {
    const options = { ...more, numSplits: 1 };
    const expected = await runOf(dtype, (step, layer, tokens, seed) =>
      step.attention(layer, ...tensorsOf(tokens, numbersOf(tokens, seed)), options).data(),
    );
    const enqueued = await runOf(dtype, (step, layer, tokens, seed) => {
      const { q, k, v } = numbersOf(tokens, seed);
      const out = step.attention(layer, q, k, v, options);
      for (const each of [q, k, v]) each.fill(Number.NaN); // they were copied
      return out.data();
    });
    expect(enqueued).toEqual(expected);
    const inPlace = await runOf(dtype, (step, layer, tokens, seed) => {
      const { q, k, v } = numbersOf(tokens, seed);
      return step.attention(layer, q, k, v, { ...options, sync: true });
    });
    expect(inPlace).toEqual(expected);
    const ofTensors = await runOf(dtype, (step, layer, tokens, seed) =>
      step.attention(layer, ...tensorsOf(tokens, numbersOf(tokens, seed)), {
        ...options,
        sync: true,
      }),
    );
    expect(ofTensors).toEqual(expected);
  });

  test('lse comes with out, and queries of the dtype of the cache as float32', async () => {
    using cache = new KvCache({ ...shape, dtype });
    const tokens = 3;
    const inputs = tensorsOf(tokens, numbersOf(tokens, 7)).map((each) => each.to(dtype));
    const [q, k, v] = inputs as [Tensor, Tensor, Tensor];
    const attend = <T>(run: (step: Step) => T): T => {
      using sequence = cache.createSequence();
      using step = cache.step([{ sequence, tokens }]);
      return run(step);
    };
    const options = { returnLse: true, numSplits: 1 } as const;
    const { out, lse } = attend((step) => step.attention(0, q, k, v, options));
    const rows = attend((step) => step.attention(0, q, k, v, { ...options, sync: true }));
    expect(rows).toEqual({ out: await out.toFloat32(), lse: await lse.data() });
  });
});

test('float32 queries over a cache of 16 bits are not rounded', async () => {
  const dtype = 'bfloat16';
  const tokens = 3;
  const [q, k, v] = tensorsOf(tokens, numbersOf(tokens, 9));
  const attend = (queries: Tensor, of: FloatDType) => {
    const cache = new KvCache({ ...shape, dtype: of });
    using step = cache.step([{ sequence: cache.createSequence(), tokens }]);
    const rounded = [k, v].map((each) => each.to(dtype).to(of)) as [Tensor, Tensor];
    return step.attention(0, queries, ...rounded, { sync: true, numSplits: 1 });
  };
  const exact = attend(q, 'float32');
  const narrow = attend(q, dtype);
  const rounded = attend(q.to(dtype), dtype);
  const error = (of: Float32Array) => Math.max(...of.map((x, i) => Math.abs(x - exact[i])));
  expect(error(narrow)).toBeLessThan(error(rounded) / 100);
});

test('a layer in place comes after all that was enqueued before it', async () => {
  using cache = new KvCache({ ...shape, dtype: 'float32' });
  using sequence = cache.createSequence();
  const run = (sync: boolean) => {
    using step = cache.step([{ sequence, tokens: 8 }]);
    const { q, k, v } = numbersOf(8, 20);
    const first = step.attention(0, q, k, v, { numSplits: 1 });
    const second = step.attention(1, q, k, v, { numSplits: 1, sync });
    return [first, second] as const;
  };
  const [, expected] = run(false);
  const [first, rows] = run(true);
  expect(rows).toEqual(await (expected as Tensor).data());
  expect(await first.data()).toEqual(rows);
});

/** A tensor whose work was aborted before it began. */
async function failedTensor(shape: number[]): Promise<Tensor> {
  for (;;) {
    const controller = new AbortController();
    using _queued = randn([1 << 22], { seed: 1n });
    const failed = zeros(shape).to('float32', { signal: controller.signal });
    controller.abort();
    const outcome = await failed.data().catch((error) => error);
    if (outcome instanceof Error) return failed;
    failed.dispose();
  }
}

test('what went wrong in work that it reads is thrown, and the layer may be done again', async () => {
  using cache = new KvCache({ ...shape, dtype: 'float32' });
  using sequence = cache.createSequence();
  using step = cache.step([{ sequence, tokens: 2 }]);
  const { q, k, v } = numbersOf(2, 30);
  const failed = await failedTensor([2, shape.kvHeads, shape.headDim]);
  const attend = () => step.attention(0, q, failed, v, { sync: true });
  expect(thrownBy(attend)).toMatchObject({ code: 'ERR_ABORTED' });
  expect(step.attention(0, q, k, v, { sync: true })).toHaveLength(q.length / 2);
});

test('a signal that is aborted already stops a layer in place', async () => {
  using cache = new KvCache({ ...shape, dtype: 'float32' });
  using sequence = cache.createSequence();
  using step = cache.step([{ sequence, tokens: 2 }]);
  const { q, k, v } = numbersOf(2, 40);
  const options = { signal: AbortSignal.abort('enough'), sync: true } as const;
  const error = thrownBy(() => step.attention(0, q, k, v, options));
  expect(error).toMatchObject({ code: 'ERR_ABORTED', cause: 'enough' });
  const never = new AbortController();
  const rows = step.attention(0, q, k, v, { signal: never.signal, sync: true });
  expect(rows).toHaveLength(q.length / 2);
});

test('options are those of the call: what a layer changes counts, and disposed tensors are noticed', () => {
  using cache = new KvCache({ ...shape, layers: 8, dtype: 'float32' });
  using sequence = cache.createSequence();
  using step = cache.step([{ sequence, tokens: 5 }]);
  const { q, k, v } = numbersOf(5, 50);
  const sinks = randn([heads], { seed: 1n });
  const options = { window: [9, 0] as [number, number], scale: 1, sinks, sync: true as const };
  const attend = (layer: number) => step.attention(layer, q, k, v, options);
  const wide = attend(0);
  options.window[0] = 0;
  const narrow = attend(1);
  expect(narrow).not.toEqual(wide);
  options.window = [9, 0];
  expect(attend(2)).toEqual(wide);
  options.scale = 2;
  expect(attend(3)).not.toEqual(wide);
  Object.assign(options, { scale: 1, window: [0, 0] });
  expect(attend(4)).toEqual(narrow);
  sinks.dispose();
  expect(thrownBy(() => attend(5))).toMatchObject({
    code: 'ERR_DISPOSED',
    argument: 'options.sinks',
  });
});

test('rows that are no rows', () => {
  using cache = new KvCache({ ...shape, dtype: 'bfloat16' });
  using sequence = cache.createSequence();
  using step = cache.step([{ sequence, tokens: 2 }]);
  const fine = numbersOf(2, 60);
  const attend = (rows: Partial<Record<keyof LayerNumbers, unknown>>, sync = true) => {
    const { q, k, v } = { ...fine, ...rows } as LayerNumbers;
    return thrownBy(() => step.attention(0, q, k, v, { sync }));
  };
  for (const sync of [true, false]) {
    for (const name of ['q', 'k', 'v'] as const) {
      for (const value of [new Float64Array(64), new Uint16Array(64), [1, 2], null, 1]) {
        expect(attend({ [name]: value }, sync)).toMatchObject({ code: 'ERR_TYPE', argument: name });
      }
      for (const length of [0, 1, fine[name].length + 1, fine[name].length - 8]) {
        const value = new Float32Array(length);
        expect(attend({ [name]: value }, sync)).toMatchObject({
          code: 'ERR_SHAPE',
          argument: name,
        });
      }
      const gone = new Float32Array(fine[name].length);
      structuredClone(gone, { transfer: [gone.buffer] });
      expect(attend({ [name]: gone }, sync)).toMatchObject({ argument: name });
    }
    const odd = new Float32Array(2 * 3 * shape.headDim);
    expect(attend({ q: odd }, sync)).toMatchObject({ code: 'ERR_SHAPE', argument: 'q' });
    expect(attend({ k: new Float32Array(2 * 4 * shape.headDim) }, sync).argument).toBe('k');
  }
  const { q, k, v } = fine;
  for (const sync of [1, 'yes', null]) {
    const error = thrownBy(() => step.attention(0, q, k, v, { sync: sync as never }));
    expect(error).toMatchObject({ code: 'ERR_TYPE', argument: 'options.sync' });
  }
  expect(step.attention(0, q, k, v, { sync: true })).toHaveLength(q.length / 2);
});

test('what a layer gives is its own, and may be transferred', async () => {
  using cache = new KvCache({ ...shape, dtype: 'float32' });
  using sequence = cache.createSequence();
  using step = cache.step([{ sequence, tokens: 1 }]);
  const { q, k, v } = numbersOf(1, 70);
  const one = step.attention(0, q, k, v, { sync: true });
  const two = step.attention(1, q, k, v, { sync: true });
  expect(one.buffer).not.toBe(two.buffer);
  const copy = structuredClone(one, { transfer: [one.buffer] });
  expect(copy).toEqual(two);
  await synchronize();
});

test('a step holds no tensor, and a layer in place leaves nothing behind', async () => {
  using cache = new KvCache({ ...shape, dtype: 'bfloat16' });
  using sequence = cache.createSequence();
  const { q, k, v } = numbersOf(1, 80);
  const before = await settledMemory();
  for (let n = 0; n < 100; n++) {
    const step = cache.step([{ sequence, tokens: 1 }]);
    expect(heldMemory()).toEqual(before);
    for (const layer of [0, 1]) step.attention(layer, q, k, v, { sync: true });
    expect(heldMemory()).toEqual(before);
    step.commit();
    expect(heldMemory()).toEqual(before);
    if (sequence.length > 20) sequence.truncate(3);
  }
});
