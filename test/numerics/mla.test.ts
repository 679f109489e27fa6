// Heads of more than 256 dims, first of all the latents of multi-head latent attention (MLA) in
// absorbed form: one kv head of 576 dims for all query heads, whose values are the first 512.
import {
  devices,
  explain,
  flashAttention,
  flashAttentionBackward,
  flashAttentionPaged,
  flashAttentionVarlen,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/index.js';
import { flashAttentionRagged } from '../../lib/serving/index.js';
import type { ReferenceProblem } from '../../lib/reference/index.js';
import { device, onCpu, sized, testIf } from '../support/device.js';
import { expectThrow } from '../support/expect-error.js';
import {
  attentionOptions,
  compare,
  expectWithin,
  type FloatDType,
  floatDTypes,
  measure,
  qkvTensors,
  randomProblem,
  type SharedOptions,
  toBhsd,
} from '../support/numerics.js';

const [D, Dv] = [576, 512];
/** That of the heads before they were absorbed: 128 dims, and 64 that are rotated. */
const scale = 1 / Math.sqrt(192);
const dtypes = floatDTypes.filter((dtype) => onCpu || dtype !== 'float32');
const testOnGpu = testIf(!onCpu, 'it is about GPUs');
const onHopper = devices().find(({ name }) => name === device)?.capability === 'sm_90';

interface Sizes {
  batch?: number;
  seqlenQ?: number;
  seqlenK: number;
  heads: number;
}

/** A problem whose values are the first dims of its keys. */
function latentProblem(
  { batch = 1, seqlenQ = 1, seqlenK, heads }: Sizes,
  options: SharedOptions = {},
  dtype: FloatDType = 'bfloat16',
): ReferenceProblem {
  const shape = { batch, seqlenQ, seqlenK, heads, kvHeads: 1, headDim: D, headDimV: Dv };
  const problem = randomProblem(shape, { scale, ...options }, 7, dtype);
  const v = new Float32Array(batch * seqlenK * Dv);
  for (let row = 0; row < batch * seqlenK; row++) {
    for (let d = 0; d < Dv; d++) v[row * Dv + d] = problem.k[row * D + d];
  }
  return { ...problem, v };
}

/** The first dims of latents whose last axis these are. */
const valuesOf = (latents: Tensor) =>
  latents.slice(...latents.shape.slice(1).map(() => null), [0, Dv]);

/** The latents in pages [pages, pageSize, 1, D], the last page first. Page 0 is nobody's. */
function inPages({ k, shape }: ReferenceProblem, pageSize: number, dtype: FloatDType) {
  const { batch, seqlenK } = shape;
  const perSequence = Math.ceil(seqlenK / pageSize);
  const count = batch * perSequence + 1;
  const rows = new Float32Array(count * pageSize * D).fill(Number.NaN);
  const table = Int32Array.from({ length: batch * perSequence }, (_, i) => count - 1 - i);
  for (let b = 0; b < batch; b++) {
    for (let j = 0; j < seqlenK; j++) {
      const page = table[b * perSequence + Math.floor(j / pageSize)];
      const from = (b * seqlenK + j) * D;
      rows.set(Float32Array.from(k.slice(from, from + D)), (page * pageSize + (j % pageSize)) * D);
    }
  }
  const latents = tensor(rows, [count, pageSize, 1, D], { dtype });
  return { latents, pageTable: tensor(table, [batch, perSequence]) };
}

async function expectRight(
  problem: ReferenceProblem,
  dtype: FloatDType,
  { out, lse }: { out: Tensor; lse: Tensor },
) {
  expect(out.shape.at(-1)).toBe(Dv);
  expectWithin(compare(problem, dtype, await out.toFloat32(), await lse.toFloat32()));
}

describe.each(dtypes)('latents in %s', (dtype) => {
  test.each([
    [1, 1, 1],
    [1, 16, 33],
    [1, 17, 77],
    [1, 64, 31],
    [1, 128, 130],
    [2, 8, 65],
    [2, 40, 101],
    [3, 5, 32],
    [4, 16, 97],
    [4, 128, 9],
  ])('%i queries of %i heads over %i keys', async (seqlenQ, heads, seqlenK) => {
    for (const causal of [false, true]) {
      const problem = latentProblem({ seqlenQ, heads, seqlenK }, { causal }, dtype);
      const { q, k } = qkvTensors(problem, dtype);
      const result = flashAttention(q, k, valuesOf(k), { scale, causal, returnLse: true });
      await expectRight(problem, dtype, result);
    }
  });

  test.each([1, 16, 64])('pages of %i', async (pageSize) => {
    for (const [seqlenQ, heads] of [
      [1, 16],
      [4, 3],
      [2, 33],
    ]) {
      const seqlensK = [137, 0, 66];
      const options = { causal: true, seqlensK };
      const problem = latentProblem({ batch: 3, seqlenQ, heads, seqlenK: 137 }, options, dtype);
      const { q } = qkvTensors(problem, dtype);
      const { latents, pageTable } = inPages(problem, pageSize, dtype);
      for (const numSplits of ['auto', 1, 3] as const) {
        const given = {
          scale,
          causal: true,
          seqlensK,
          pageTable,
          numSplits,
          returnLse: true,
        } as const;
        await expectRight(
          problem,
          dtype,
          flashAttentionPaged(q, latents, valuesOf(latents), given),
        );
      }
    }
  });

  const options: Record<string, SharedOptions> = {
    'three splits': { numSplits: 3, causal: true },
    seqlensK: { causal: true, seqlensK: [150, 3] },
    window: { causal: true, window: [40, 0] },
    'window that shows nothing to some': { window: [-2, 1] },
    'window and sink tokens': { causal: true, window: [20, 0], sinkTokens: 5 },
    'softcap, negative scale': { softcap: 3, scale: -0.1 },
    alibi: { alibiSlopes: [0.5, 0.25, 0.125], causal: true },
    sinks: { sinks: [0, -2, 3], numSplits: 2 },
    'layout bhsd': { layout: 'bhsd', causal: true },
  };
  test.each(Object.entries(options))('%s', async (_name, option) => {
    const problem = latentProblem({ batch: 2, seqlenQ: 3, heads: 3, seqlenK: 150 }, option, dtype);
    const { q, k } = qkvTensors(problem, dtype, option.layout);
    const given = { scale, ...attentionOptions(option, problem.shape), returnLse: true } as const;
    const { out, lse } = flashAttention(q, k, valuesOf(k), given);
    const rows = await out.toFloat32();
    const bshd = option.layout === 'bhsd' ? toBhsd(rows, [2, 3, 3, Dv]) : rows;
    expectWithin(compare(problem, dtype, bshd, await lse.toFloat32()));
  });
});

test('packed sequences and ragged ones give the bits of single ones', async () => {
  const dtype = 'bfloat16';
  const heads = 20;
  const lengths = [
    [1, 90],
    [4, 33],
    [2, 2],
  ];
  const single = lengths.map(([seqlenQ, seqlenK]) => {
    const problem = latentProblem({ seqlenQ, seqlenK, heads }, { causal: true }, dtype);
    const { q, k } = qkvTensors(problem, dtype);
    return { q, k, out: flashAttention(q, k, valuesOf(k), { scale, causal: true, numSplits: 2 }) };
  });
  const packed = async (of: 'q' | 'k' | 'out', headCount: number, dim: number) => {
    const parts = await Promise.all(single.map((one) => one[of].toFloat32()));
    const rows = parts.flatMap((part) => [...part]);
    return tensor(rows, [rows.length / headCount / dim, headCount, dim], { dtype });
  };
  const ends = (axis: 0 | 1) =>
    [0, 1, 2, 3].map((count) => lengths.slice(0, count).reduce((sum, one) => sum + one[axis], 0));
  const options = { scale, causal: true, numSplits: 2, cuSeqlensQ: ends(0) };
  const [q, k] = [await packed('q', heads, D), await packed('k', 1, D)];
  const expected = await (await packed('out', heads, Dv)).toFloat32();
  const varlen = flashAttentionVarlen(q, k, valuesOf(k), { ...options, cuSeqlensK: ends(1) });
  expect(await varlen.toFloat32()).toEqual(expected);
  // Pages of one key: the table lists the rows of each sequence.
  const pages = k.reshape([k.shape[0], 1, 1, D]);
  const most = 90;
  const table = Int32Array.from({ length: 3 * most }, (_, i) =>
    Math.min(ends(1)[Math.floor(i / most)] + (i % most), k.shape[0] - 1),
  );
  const ragged = flashAttentionRagged(q, pages, valuesOf(pages), {
    ...options,
    pageTable: tensor(table, [3, most]),
    seqlensK: lengths.map(([, seqlenK]) => seqlenK),
  });
  expect(await ragged.toFloat32()).toEqual(expected);
});

test('values of their own give the bits of those in the keys, where one kernel takes both', async () => {
  for (const heads of [5, 30]) {
    const problem = latentProblem({ seqlenQ: 2, heads, seqlenK: 105 }, { causal: true });
    const { q, k, v } = qkvTensors(problem, 'bfloat16');
    const options = { scale, causal: true, returnLse: true } as const;
    const inKeys = flashAttention(q, k, valuesOf(k), options);
    const apart = flashAttention(q, k, v, options);
    await expectRight(problem, 'bfloat16', inKeys);
    await expectRight(problem, 'bfloat16', apart);
    // Of many rows, Hopper has a kernel for latents alone.
    const [one, other] = [valuesOf(k), v].map((values) => explain(q, k, values, options).kernel);
    expect(one === other).toBe(!(onHopper && heads === 30));
    if (one === other) expect(await apart.out.data()).toEqual(await inKeys.out.data());
  }
});

test.each([
  [264, 264, 1, 1],
  [320, 128, 2, 2],
  [72, 384, 4, 2],
  [512, 512, 6, 2],
])('head dims %i and %i, %i heads over %i', async (headDim, headDimV, heads, kvHeads) => {
  for (const seqlenQ of [1, sized(70, 20)]) {
    const shape = { batch: 2, seqlenQ, seqlenK: 75, heads, kvHeads, headDim, headDimV };
    expectWithin(await measure(shape, { causal: true }, { dtype: 'float16' }));
  }
});

test('a value that is not finite reaches the rows that see it alone', async () => {
  const problem = latentProblem({ seqlenQ: 4, heads: 3, seqlenK: 50 });
  const { q, k, v } = qkvTensors(problem, 'bfloat16');
  const data = await v.toFloat32();
  const clean = await flashAttention(q, k, v, { scale, causal: true }).toFloat32();
  data[48 * Dv + 9] = Infinity;
  data[49 * Dv + 11] = Number.NaN;
  const poisoned = tensor(data, v.shape, { dtype: 'bfloat16' });
  const out = await flashAttention(q, k, poisoned, { scale, causal: true }).toFloat32();
  for (let row = 0; row < 12; row++) {
    const query = Math.floor(row / 3);
    const at = row * Dv;
    expect(out[at + 9]).toBe(query >= 2 ? Infinity : clean[at + 9]);
    expect(out[at + 11]).toEqual(query >= 3 ? Number.NaN : clean[at + 11]);
    expect(out.slice(at + 12, at + Dv)).toEqual(clean.slice(at + 12, at + Dv));
  }
});

describe('on a GPU', () => {
  const latents = (rows = 40, dtype: FloatDType = 'float16') => zeros([1, rows, 1, D], { dtype });
  const queries = (dtype: FloatDType = 'float16') => zeros([1, 1, 16, D], { dtype });

  testOnGpu('explain names the kernel, and counts latents once', () => {
    const k = latents(1000);
    const inKeys = explain(queries(), k, valuesOf(k), { numSplits: 1 });
    expect(inKeys.kernel).toBe('sm80.mla');
    expect(inKeys.backwardKernel).toBe('');
    const apart = explain(queries(), k, valuesOf(k).contiguous(), { numSplits: 1 });
    expect(apart.bytes - inKeys.bytes).toBe(1000 * Dv * 2);
    expect([inKeys.tileQ, inKeys.tileK, inKeys.packedHeads]).toEqual([16, 32, 16]);
    const manyRows = zeros([1, 4, 16, D], { dtype: 'float16' });
    const many = [valuesOf(k), valuesOf(k).contiguous()].map((v) =>
      explain(manyRows, k, v, { numSplits: 1 }),
    );
    expect(many.map(({ kernel }) => kernel)).toEqual([
      onHopper ? 'sm90.mla' : 'sm80.mla',
      'sm80.mla',
    ]);
    expect(many[1].bytes - many[0].bytes).toBe(
      many[0].tileQ === 64 ? 1000 * Dv * 2 : 4 * 1000 * Dv * 2,
    );
  });

  testOnGpu('what the kernel leaves out is refused at the call', () => {
    const [q, k] = [queries(), latents()];
    const v = valuesOf(k);
    const mask = zeros([1, 40], { dtype: 'bool' });
    const refused: [() => unknown, 'ERR_SHAPE' | 'ERR_OPTION', string, RegExp][] = [
      [() => flashAttention(q, k, k), 'ERR_SHAPE', 'v', /at most 512 on CUDA .* received 576/],
      [
        () => flashAttention(queries('float32'), latents(40, 'float32'), latents(40, 'float32')),
        'ERR_SHAPE',
        'q',
        /at most 256 with float32 on CUDA .* received 576/,
      ],
      [() => flashAttention(q, k, v, { mask }), 'ERR_OPTION', 'options.mask', /left out/],
      [
        () => flashAttention(q, k, v, { dropout: { p: 0.1, seed: 1n } }),
        'ERR_OPTION',
        'options.dropout',
        /left out where a head dim is above 256/,
      ],
      [
        () => flashAttention(q, k, zeros([1, 40, 1, 300], { dtype: 'float16' })),
        'ERR_SHAPE',
        'v',
        /multiples of 16 bytes.* received shape \[1, 40, 1, 300\]/,
      ],
      [
        () => {
          const out = zeros([1, 1, 16, Dv], { dtype: 'float16' });
          flashAttentionBackward(out, { q, k, v, out, lse: zeros([1, 16, 1]) });
        },
        'ERR_SHAPE',
        'state.q',
        /at most 256 in the backward pass on CUDA/,
      ],
    ];
    for (const [run, code, argument, message] of refused) expectThrow(run, code, argument, message);
  });
});
