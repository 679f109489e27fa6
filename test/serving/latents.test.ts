// A cache of latents, as multi-head latent attention (MLA) in absorbed form has them: 512 numbers
// and 64 that are rotated, kept once. What comes out is compared with float64.
import { memory, type Tensor, tensor, zeros } from '../../lib/index.js';
import { type ReferenceOptions, rotary, standardAttention } from '../../lib/reference/index.js';
import {
  ContextPart,
  KvCache,
  type KvCacheOptions,
  type Sequence,
  type StepAttentionOptions,
} from '../../lib/serving/index.js';
import { firstOf } from '../support/cached-model.js';
import { onCpu, onSimtHopper, testIf } from '../support/device.js';
import { expectThrow, thrownBy, wrong } from '../support/expect-error.js';
import { settledMemory } from '../support/gc.js';
import {
  bound,
  type FloatDType,
  floatDTypes,
  maxError,
  normals,
  rounding,
} from '../support/numerics.js';
import { rotaryTables } from '../support/rotary-tables.js';

const [rank, turning, layers] = [512, 64, 2];
const headDim = rank + turning;
const shape: KvCacheOptions = {
  ...{ layers, numPages: 24, pageSize: 16 },
  ...{ kvHeads: 1, headDim, headDimV: rank, latents: true },
};
/** That of the heads before they were absorbed: 128 dims, and 64 that are rotated. */
const scale = 1 / Math.sqrt(192);
// The kernel of latents has no float32.
const dtypes: readonly FloatDType[] = onCpu
  ? floatDTypes
  : onSimtHopper
    ? ['bfloat16']
    : ['float16', 'bfloat16'];
const dtype = dtypes[dtypes.length - 1];
const testOnCpu = testIf(onCpu, 'prefixes are read once on the CPU alone');
const testOnGpu = testIf(!onCpu, 'the CPU takes any dtypes');

const positions = 1024;
const tables = rotaryTables(positions, turning / 2);
const [cos, sin] = [tables.cos, tables.sin].map((t) => tensor(t, [positions, turning / 2]));

/** A sequence beside the latents that it was fed, as they were before they turned. */
interface Text {
  readonly sequence: Sequence;
  readonly latents: Float32Array[];
}

type Truth = Pick<ReferenceOptions, 'window' | 'sinkTokens' | 'softcap'>;
type LatentOptions = Truth & Pick<StepAttentionOptions, 'numSplits'> & { interleaved?: boolean };

type Feed = readonly [text: Text, tokens: number];

class LatentModel {
  readonly cache: KvCache;
  readonly heads: number;
  readonly dtype: FloatDType;
  readonly options: StepAttentionOptions;
  readonly #interleaved: boolean;
  /** Options of attention, for the reference. */
  readonly #truth: Truth;
  #seed = 1;

  constructor(
    of: FloatDType,
    heads: number,
    { interleaved = false, numSplits, ...truth }: LatentOptions = {},
    more: Partial<KvCacheOptions> = {},
  ) {
    this.cache = new KvCache({ ...shape, dtype: of, ...more });
    this.heads = heads;
    this.dtype = of;
    this.#interleaved = interleaved;
    this.#truth = truth;
    const rotary = { cos, sin, interleaved, rotaryOffset: rank };
    this.options = { scale, numSplits, ...truth, rotary };
  }

  create(): Text {
    return { sequence: this.cache.createSequence(), latents: this.#none() };
  }

  fork({ sequence, latents }: Text): Text {
    return { sequence: sequence.fork(), latents: latents.map((rows) => rows.slice()) };
  }

  truncate({ sequence, latents }: Text, length: number): void {
    sequence.truncate(length);
    for (const [n, rows] of latents.entries()) latents[n] = rows.slice(0, length * headDim);
  }

  /** New tokens of several texts in one step, in all layers. What comes out is compared. */
  async feed(...feeds: readonly Feed[]): Promise<void> {
    const total = feeds.reduce((sum, [, tokens]) => sum + tokens, 0);
    for (const [layer, { queries, out, lse }] of this.#attend(feeds, total).entries()) {
      expect(out.shape).toEqual([total, this.heads, rank]);
      const [rows, logs] = [await out.toFloat32(), await lse.toFloat32()];
      let first = 0;
      for (const [text, tokens] of feeds) {
        const end = first + tokens;
        const own = (x: Float32Array, row: number) => x.subarray(first * row, end * row);
        const logsOf = Array.from({ length: this.heads }, (_, head) => [
          ...logs.subarray(head * total + first, head * total + end),
        ]);
        this.#compare(
          own(rows, this.heads * rank),
          Float32Array.from(logsOf.flat()),
          text.latents[layer],
          own(queries, this.heads * headDim),
        );
        first = end;
      }
    }
  }

  /** Likewise of one, without a look at what comes out. */
  fill(text: Text, tokens: number): void {
    this.#attend([[text, tokens]], tokens);
  }

  #attend(feeds: readonly Feed[], total: number) {
    const step = this.cache.step(feeds.map(([{ sequence }, tokens]) => ({ sequence, tokens })));
    const options = { ...this.options, returnLse: true } as const;
    const outs = Array.from({ length: layers }, (_, layer) => {
      const [queries, latents] = [this.heads, 1].map((count) =>
        normals(total * count * headDim, this.#seed++, this.dtype),
      );
      const q = tensor(queries, [total, this.heads, headDim], { dtype: this.dtype });
      const k = tensor(latents, [total, 1, headDim], { dtype: this.dtype });
      let first = 0;
      for (const [text, tokens] of feeds) {
        const own = latents.subarray(first * headDim, (first + tokens) * headDim);
        text.latents[layer] = Float32Array.from([...text.latents[layer], ...own]);
        first += tokens;
      }
      return { queries, ...step.attention(layer, q, k, undefined, options) };
    });
    step.commit();
    return outs;
  }

  #compare(out: Float32Array, lse: Float32Array, latents: Float32Array, queries: Float32Array) {
    const { heads } = this;
    const seqlenK = latents.length / headDim;
    const seqlenQ = queries.length / heads / headDim;
    const turned = (x: Float32Array, count: number, begin: number) => {
      const tokens = x.length / count / headDim;
      const rows = rotary(
        x,
        { tokens, heads: count, headDim },
        {
          ...tables,
          ...{ rotaryDim: turning, rotaryOffset: rank, interleaved: this.#interleaved },
          positions: Array.from({ length: tokens }, (_, i) => begin + i),
        },
      );
      return Float32Array.from(rows, (value) => rounding[this.dtype](Math.fround(value)));
    };
    const k = turned(latents, 1, 0);
    const problem = {
      shape: { batch: 1, seqlenQ, seqlenK, heads, kvHeads: 1, headDim, headDimV: rank },
      q: turned(queries, heads, seqlenK - seqlenQ),
      k,
      v: firstOf(k, headDim, rank),
      ...this.#truth,
      scale,
      causal: true,
    };
    const truth = standardAttention(problem);
    const standard = standardAttention(problem, { precision: this.dtype });
    expect(maxError(out, truth.out)).toBeLessThanOrEqual(bound(standard.out, truth.out));
    expect(maxError(lse, truth.lse)).toBeLessThanOrEqual(bound(standard.lse, truth.lse));
  }

  #none(): Float32Array[] {
    return Array.from({ length: layers }, () => new Float32Array());
  }
}

describe.each(dtypes)('%s', (of) => {
  test.each([
    [5, false],
    [16, true],
    [33, false],
  ])('%i heads, interleaved %s: prompts beside decoding, forks', async (heads, interleaved) => {
    const model = new LatentModel(of, heads, { interleaved });
    const [a, b] = [model.create(), model.create()];
    await model.feed([a, 7]);
    await model.feed([a, 1], [b, 3]);
    const fork = model.fork(a);
    await model.feed([fork, 2], [b, 1], [a, 1]);
    model.truncate(a, 5);
    await model.feed([a, 1], [fork, 1]);
    expect([a, b, fork].map(({ sequence }) => sequence.length)).toEqual([6, 4, 11]);
    model.cache.dispose();
  });

  test.each([1, 3, 'auto'] as const)('numSplits %s over 100 tokens', async (numSplits) => {
    const model = new LatentModel(of, 2, { numSplits });
    const [a, b] = [model.create(), model.create()];
    await model.feed([a, 100], [b, 3]);
    await model.feed([b, 1], [a, 1]);
    model.cache.dispose();
  });
});

test('a window with sink tokens, softcap', async () => {
  const model = new LatentModel(dtype, 4, { window: [9, 0], sinkTokens: 2, softcap: 3 });
  const text = model.create();
  await model.feed([text, 40]);
  await model.feed([text, 1]);
  model.cache.dispose();
});

test('saved, loaded into pages of another size, and found as a prefix', async () => {
  const model = new LatentModel(dtype, 4);
  const text = model.create();
  await model.feed([text, 37]);
  const bytes = await text.sequence.save();
  const elements = 37 * headDim * layers;
  const size = dtype === 'float32' ? 4 : 2;
  expect(bytes.length - elements * size).toBeLessThan(1024); // no values beside the latents
  const other = new LatentModel(dtype, 4, {}, { pageSize: 8 });
  const loaded = { sequence: other.cache.load(bytes), latents: text.latents.map((x) => x.slice()) };
  await other.feed([loaded, 2]);
  const part = await text.sequence.save({ begin: 4, end: 20 });
  expect(bytes.length - part.length).toBeGreaterThan(20 * headDim * layers * size);
  for (const { cache } of [model, other]) cache.dispose();
});

/** A file of latents as version 1 had it, which does not say headDimV; and with another one. */
function rewritten(bytes: Uint8Array, metadata: object): Uint8Array {
  const length = Number(Buffer.from(bytes).readBigUInt64LE());
  const header = JSON.parse(Buffer.from(bytes.subarray(8, 8 + length)).toString());
  const text = Buffer.from(JSON.stringify({ ...header, __metadata__: metadata }));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return new Uint8Array(Buffer.concat([size, text, bytes.subarray(8 + length)]));
}

test('a saved sequence says how much of a latent is its value', async () => {
  const model = new LatentModel(dtype, 4);
  const text = model.create();
  await model.feed([text, 9]);
  const bytes = await text.sequence.save();
  using narrower = new KvCache({ ...shape, headDimV: rank - 64, dtype });
  const error = thrownBy(() => narrower.load(bytes));
  expect(error).toMatchObject({ code: 'ERR_SHAPE', argument: 'bytes' });
  expect(error.message).toMatch(/headDimV 448.*received '512'/);
  const format = 'flash-attention.sequence';
  const [old, none, newer] = [{ version: '1' }, { version: '2' }, { version: '3' }].map((version) =>
    rewritten(bytes, { format, ...version }),
  );
  expectThrow(() => narrower.load(none), 'ERR_SHAPE', 'bytes', /headDimV 448.*received undefined/);
  expectThrow(() => narrower.load(newer), 'ERR_TYPE', 'bytes', /version 1 or 2/);
  expect(narrower.stats().used).toBe(0);
  // Version 1 is loaded as ever: it says nothing of values.
  expect(narrower.load(old).length).toBe(9);
  const loaded = model.cache.load(old);
  expect(await loaded.save()).toEqual(bytes);
  model.cache.dispose();
});

test('a stored prefix is found', async () => {
  using cache = new KvCache({ ...shape, dtype });
  const run = async (tokens: readonly number[]) => {
    using sequence = cache.createSequence({ tokens });
    const found = sequence.length;
    const left = tokens.slice(found);
    const step = cache.step([{ sequence, tokens: left }]);
    const rows = (heads: number, seed: number) =>
      tensor(
        normals(tokens.length * heads * headDim, seed, dtype).subarray(found * heads * headDim),
        [left.length, heads, headDim],
        { dtype },
      );
    const outs = Array.from({ length: layers }, (_, layer) =>
      step.attention(layer, rows(3, layer), rows(1, 9 + layer), undefined, { numSplits: 1 }),
    );
    const last = await Promise.all(
      outs.map(async (out) => (await out.toFloat32()).slice(-3 * rank)),
    );
    step.commit();
    return { found, last };
  };
  const tokens = Array.from({ length: 40 }, (_, i) => i);
  const first = await run(tokens);
  const second = await run(tokens);
  expect([first.found, second.found]).toEqual([0, 32]);
  for (const [layer, rows] of second.last.entries()) {
    expect(maxError(rows, first.last[layer])).toBeLessThan(0.02);
  }
});

testOnCpu('forks that read a long prefix once', async () => {
  const model = new LatentModel('bfloat16', 16, {}, { numPages: 60 });
  const root = model.create();
  model.fill(root, 560);
  const forks = [root, model.fork(root), model.fork(root)];
  await model.feed(...forks.map((text): Feed => [text, 1]));
  model.cache.dispose();
});

test.each([false, true])('latents as numbers, in place: %s', async (sync) => {
  const heads = 3;
  const numbers = (count: number, seed: number) => normals(2 * count * headDim, seed, dtype);
  const [q, k] = [numbers(heads, 1), numbers(1, 2)];
  const queries = tensor(q, [2, heads, headDim], { dtype });
  const run = async (latents: Float32Array | Tensor, inPlace: boolean) => {
    using cache = new KvCache({ ...shape, dtype });
    using step = cache.step([{ sequence: cache.createSequence(), tokens: 2 }]);
    const options = { ...new LatentModel(dtype, heads).options, numSplits: 1, sync: inPlace };
    const given = onCpu && dtype === 'float32' ? q : queries;
    const out = step.attention(0, given, latents, undefined, options);
    if (ArrayBuffer.isView(latents) && !inPlace) latents.fill(Number.NaN); // it was copied
    return ArrayBuffer.isView(out) ? out : (out as Tensor).toFloat32();
  };
  const expected = await run(tensor(k, [2, 1, headDim], { dtype }), false);
  expect(await run(k.slice(), sync)).toEqual(expected);
});

test('pages of latents are kept once', async () => {
  const before = (await settledMemory()).bytes;
  const of = { ...shape, headDimV: headDim, dtype };
  using cache = new KvCache(of);
  const size = dtype === 'float32' ? 4 : 2;
  expect(cache.stats().bytes).toBe(layers * 24 * 16 * headDim * size);
  expect(memory().bytes - before).toBe(cache.stats().bytes);
  using apart = new KvCache({ ...of, latents: false });
  expect(apart.stats().bytes).toBe(2 * cache.stats().bytes);
});

describe('what is refused', () => {
  test('caches', () => {
    const made = (more: object) => () => new KvCache(wrong({ ...shape, ...more }));
    expectThrow(made({ latents: 1 }), 'ERR_TYPE', 'options.latents');
    expectThrow(made({ headDim: 500 }), 'ERR_OPTION', 'options.headDimV', /at most headDim, 500/);
    for (const codes of ['int8', 'float8_e4m3']) {
      expectThrow(made({ dtype: codes }), 'ERR_DTYPE', 'options.dtype', /with latents/);
    }
  });

  test('values beside latents, and keys without values', async () => {
    using cache = new KvCache({ ...shape, dtype });
    using step = cache.step([{ sequence: cache.createSequence(), tokens: 1 }]);
    const [q, k] = [zeros([1, 2, headDim], { dtype }), zeros([1, 1, headDim], { dtype })];
    const v = zeros([1, 1, rank], { dtype });
    expectThrow(() => step.attention(0, q, k, v), 'ERR_TYPE', 'v', /undefined, for a cache of/);
    using graph = cache.captureDecode({ batch: 1, heads: 2, dtype });
    expectThrow(() => graph.replay(step, [{ q, k, v }]), 'ERR_TYPE', 'rows[0].v');
    using apart = new KvCache({ ...shape, latents: false, dtype });
    using other = apart.step([{ sequence: apart.createSequence(), tokens: 1 }]);
    expectThrow(() => other.attention(0, q, k), 'ERR_TYPE', 'v');
  });

  testOnGpu('queries and graphs in another dtype than the latents', () => {
    using cache = new KvCache({ ...shape, dtype });
    using step = cache.step([{ sequence: cache.createSequence(), tokens: 1 }]);
    const [q, k] = [zeros([1, 2, headDim]), zeros([1, 1, headDim], { dtype })];
    expectThrow(() => step.attention(0, q, k), 'ERR_SHAPE', 'q', /at most 256 with float32/);
    expectThrow(() => cache.captureDecode({ batch: 1, heads: 2 }), 'ERR_SHAPE', 'q');
  });

  test('files and parts of another kind', async () => {
    using cache = new KvCache({ ...shape, dtype });
    using apart = new KvCache({ ...shape, latents: false, dtype });
    const empty = async (of: KvCache) => of.createSequence().save();
    const [latents, values] = [await empty(cache), await empty(apart)];
    expectThrow(() => apart.load(latents), 'ERR_SHAPE', 'bytes', /of some values.*none/);
    expectThrow(() => cache.load(values), 'ERR_SHAPE', 'bytes', /of no values.*some/);
    const cut = { part: 0, parts: 1, tokensPerRun: 16 };
    const error = thrownBy(() => new ContextPart(cache, wrong(cut)));
    expect(error).toMatchObject({ code: 'ERR_OPTION', argument: 'cache' });
  });
});
