import {
  BlockMask,
  flashAttention,
  flashAttentionBackward,
  flashAttentionVarlen,
  flashAttentionVarlenBackward,
  tensor,
} from '../../lib/index.js';
import { type ReferenceShape, standardAttentionBackward } from '../../lib/reference/index.js';
import { onCpu, sized } from '../support/device.js';
import {
  attentionOptions,
  bound,
  type FloatDType,
  floatDTypes,
  maxError,
  normals,
  qkvTensors,
  randomProblem,
  type SharedOptions,
  toBhsd,
} from '../support/numerics.js';
import { uniform } from '../support/random.js';

/** Runs forward and backward and compares every gradient with float64. */
async function expectGradients(
  shape: ReferenceShape,
  options: SharedOptions & { deterministic?: boolean } = {},
  { dtype = 'float32' as FloatDType, seed = 1 } = {},
): Promise<void> {
  const { batch, seqlenQ, seqlenK, heads, headDim } = shape;
  const kvHeads = shape.kvHeads ?? heads;
  const headDimV = shape.headDimV ?? headDim;
  const layout = options.layout ?? 'bshd';
  const { deterministic, ...shared } = options;
  const problem = randomProblem(shape, shared, seed, dtype);
  const dOut = normals(batch * seqlenQ * heads * headDimV, 77 + seed, dtype);

  const { q, k, v } = qkvTensors(problem, dtype, layout);
  const given = { ...attentionOptions(shared, shape), deterministic };
  const { out, lse } = flashAttention(q, k, v, { ...given, returnLse: true });
  const outShape = [batch, seqlenQ, heads, headDimV];
  const dOutTensor =
    layout === 'bshd'
      ? tensor(dOut, outShape, { dtype })
      : tensor(toBhsd(dOut, outShape), [batch, heads, seqlenQ, headDimV], { dtype });
  const actual = flashAttentionBackward(dOutTensor, { q, k, v, out, lse }, given);

  const gradients = standardAttentionBackward(problem, dOut);
  const standard = standardAttentionBackward(problem, dOut, { precision: dtype });
  const shapes = {
    dq: [batch, seqlenQ, heads, headDim],
    dk: [batch, seqlenK, kvHeads, headDim],
    dv: [batch, seqlenK, kvHeads, headDimV],
  };
  for (const name of ['dq', 'dk', 'dv'] as const) {
    let expected: ArrayLike<number> = gradients[name];
    let yardstick: ArrayLike<number> = standard[name];
    if (layout === 'bhsd') {
      expected = toBhsd(gradients[name], shapes[name]);
      yardstick = toBhsd(standard[name], shapes[name]);
    }
    const error = maxError(await actual[name].toFloat32(), expected);
    const allowed = bound(yardstick, expected);
    expect({ name, error, allowed, within: error <= allowed }).toMatchObject({ within: true });
  }
  expect(actual.dSinks === undefined).toBe(options.sinks === undefined);
  if (actual.dSinks && gradients.dSinks && standard.dSinks) {
    const error = maxError(await actual.dSinks.toFloat32(), gradients.dSinks);
    expect(error).toBeLessThanOrEqual(bound(standard.dSinks, gradients.dSinks));
  }
}

const seqlens = [
  [1, 1],
  [1, 147],
  [3, 799],
  [64, 128],
  [113, 203],
  [128, 217],
  [200, 33],
] as const;
const headDims = [8, 40, 64, 96, 111, 80, 256];

describe.each(floatDTypes)('backward, %s', (dtype) => {
  test.each(seqlens.map((pair, i) => [...pair, headDims[i]]))(
    '%i queries, %i keys, head dim %i',
    async (seqlenQ, seqlenK, headDim) => {
      for (const kvHeads of [1, 2]) {
        const shape = { batch: 1, seqlenQ, seqlenK, heads: 2, kvHeads, headDim };
        for (const causal of [false, true]) await expectGradients(shape, { causal }, { dtype });
      }
    },
  );

  test('longer sequences, another head dim for V', async () => {
    const shape = {
      batch: 1,
      seqlenQ: 333,
      seqlenK: 512,
      heads: 2,
      kvHeads: 1,
      headDim: 32,
      headDimV: 20,
    };
    await expectGradients(shape, { causal: true }, { dtype });
  });
});

const shape = {
  batch: 2,
  seqlenQ: 93,
  seqlenK: 141,
  heads: 4,
  kvHeads: 2,
  headDim: 24,
  headDimV: 17,
};
const { batch, heads, seqlenQ, seqlenK } = shape;
const random = uniform(9);
const boolMask = Uint8Array.from({ length: batch * seqlenQ * seqlenK }, () =>
  random() < 0.7 ? 1 : 0,
);
const floatMask = normals(heads * seqlenQ * seqlenK, 5).map((x) =>
  random() < 0.1 ? -Infinity : x,
);

const options: Record<string, SharedOptions & { deterministic?: boolean }> = {
  scale: { scale: 0.7 },
  window: { window: [17, 5] },
  'causal window with sink tokens': { causal: true, window: [20, 0], sinkTokens: 4 },
  'window that shows nothing': { window: [-10, 5] },
  'seqlensK, one empty': { causal: true, seqlensK: [0, 100] },
  softcap: { softcap: 1.5 },
  'softcap, causal, sinks': { softcap: 20, causal: true, sinks: [0, -2, 3, 0.5] },
  alibi: { alibiSlopes: [0.5, 0.25, 0.125, 0.0625], causal: true },
  'bool mask': { mask: { data: boolMask, shape: [batch, 1, seqlenQ, seqlenK] } },
  'float mask': { mask: { data: floatMask, shape: [heads, seqlenQ, seqlenK] } },
  sinks: { sinks: [0, -2, 3, 0.5] },
  'sinks where nothing is seen': { window: [-10, 5], sinks: [1, 2, 3, 4] },
  dropout: { dropout: { p: 0.3, seed: 123n, offset: 1n << 33n } },
  'dropout, causal, softcap': { causal: true, softcap: 5, dropout: { p: 0.5, seed: 7n } },
  deterministic: { deterministic: true, causal: true },
  'layout bhsd': { layout: 'bhsd', causal: true },
  everything: {
    causal: true,
    window: [70, 30],
    sinkTokens: 3,
    softcap: 8,
    alibiSlopes: [0.05, 0.025, 0.01, 0],
    seqlensK: [120, 141],
    sinks: [0, -2, 3, 0.5],
    dropout: { p: 0.17, seed: 99n },
    mask: { data: floatMask, shape: [1, heads, seqlenQ, seqlenK] },
    layout: 'bhsd',
    deterministic: true,
  },
};

test.each(Object.entries(options))('%s', async (_name, option) => {
  await expectGradients(shape, option);
  await expectGradients(shape, option, { dtype: 'bfloat16', seed: 2 });
});

test('block masks', async () => {
  const masks = [
    BlockMask.slidingWindow({ seqlenQ, seqlenK, left: 21, right: 4, blockSize: 16 }),
    BlockMask.fromPredicate({
      seqlenQ,
      seqlenK,
      blockSize: 20,
      predicate: (i, j) => (i * 31 + j * 17) % 5 < 2,
    }),
  ];
  for (const blockMask of masks) await expectGradients(shape, { blockMask });
});

test('variable lengths are the sequences one by one', async () => {
  const lengthsQ = [5, 0, 40, 17];
  const lengthsK = [9, 30, 40, 3];
  const starts = (lengths: number[]) => {
    const ends = [0];
    for (const n of lengths) ends.push(ends[ends.length - 1] + n);
    return ends;
  };
  const [cuSeqlensQ, cuSeqlensK] = [starts(lengthsQ), starts(lengthsK)];
  const [totalQ, totalK] = [(cuSeqlensQ.at(-1) ?? 0) + 3, cuSeqlensK.at(-1) ?? 0];
  const [H, Hkv, D] = [4, 2, 24];
  const data = {
    q: normals(totalQ * H * D, 1),
    k: normals(totalK * Hkv * D, 2),
    v: normals(totalK * Hkv * D, 3),
    dOut: normals(totalQ * H * D, 4),
  };
  const q = tensor(data.q, [totalQ, H, D]);
  const k = tensor(data.k, [totalK, Hkv, D]);
  const v = tensor(data.v, [totalK, Hkv, D]);
  const given = { cuSeqlensQ, cuSeqlensK, causal: true };
  const { out, lse } = flashAttentionVarlen(q, k, v, { ...given, returnLse: true });
  const packed = flashAttentionVarlenBackward(
    tensor(data.dOut, [totalQ, H, D]),
    { q, k, v, out, lse },
    given,
  );
  const [dq, dk, dv] = [
    await packed.dq.toFloat32(),
    await packed.dk.toFloat32(),
    await packed.dv.toFloat32(),
  ];

  for (let b = 0; b < lengthsQ.length; b++) {
    const rows = (x: Float32Array, begin: number, n: number, h: number) =>
      x.slice(begin * h * D, (begin + n) * h * D);
    const problem = {
      shape: {
        batch: 1,
        seqlenQ: lengthsQ[b],
        seqlenK: lengthsK[b],
        heads: H,
        kvHeads: Hkv,
        headDim: D,
      },
      q: rows(data.q, cuSeqlensQ[b], lengthsQ[b], H),
      k: rows(data.k, cuSeqlensK[b], lengthsK[b], Hkv),
      v: rows(data.v, cuSeqlensK[b], lengthsK[b], Hkv),
      causal: true,
    };
    if (lengthsQ[b] === 0) {
      expect(new Set(rows(dk, cuSeqlensK[b], lengthsK[b], Hkv))).toEqual(new Set([0]));
      continue;
    }
    const truth = standardAttentionBackward(
      problem,
      rows(data.dOut, cuSeqlensQ[b], lengthsQ[b], H),
    );
    expect(maxError(rows(dq, cuSeqlensQ[b], lengthsQ[b], H), truth.dq)).toBeLessThan(1e-5);
    expect(maxError(rows(dk, cuSeqlensK[b], lengthsK[b], Hkv), truth.dk)).toBeLessThan(1e-5);
    expect(maxError(rows(dv, cuSeqlensK[b], lengthsK[b], Hkv), truth.dv)).toBeLessThan(1e-5);
  }
  expect(new Set(dq.slice((totalQ - 3) * H * D))).toEqual(new Set([0]));
});

test('two runs give the same bits', async () => {
  const problem = randomProblem(shape, {}, 3);
  const { q, k, v } = qkvTensors(problem, 'float32');
  const dOut = tensor(normals(batch * seqlenQ * heads * 17, 4), [batch, seqlenQ, heads, 17]);
  const { out, lse } = flashAttention(q, k, v, { causal: true, returnLse: true });
  // Elsewhere sums of atomics come in any order, unless order is asked for.
  for (const deterministic of onCpu ? [false, true] : [true]) {
    const run = async () => {
      const g = flashAttentionBackward(
        dOut,
        { q, k, v, out, lse },
        { causal: true, deterministic },
      );
      return [await g.dq.toFloat32(), await g.dk.toFloat32(), await g.dv.toFloat32()];
    };
    const first = await run();
    for (let i = 0; i < sized(5, 1); i++) expect(await run()).toEqual(first);
  }
});
