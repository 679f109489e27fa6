import {
  flashAttention,
  flashAttentionVarlen,
  flashAttentionVarlenBackward,
  memory,
  randn,
  Tensor,
  tensor,
  type VarlenAttentionOptions,
} from '../lib/index.js';
import { native } from '../lib/native/addon.js';
import { kHandle } from '../lib/native/show.js';
import { settledMemory } from './support/gc.js';
import { maxError } from './support/numerics.js';

const lengthsQ = [5, 0, 70, 1, 12];
const lengthsK = [9, 4, 70, 33, 0];
function ends(lengths: number[]): number[] {
  const all = [0];
  for (const length of lengths) all.push(all[all.length - 1] + length);
  return all;
}
const cuSeqlensQ = ends(lengthsQ);
const cuSeqlensK = ends(lengthsK);
const [totalQ, totalK] = [cuSeqlensQ[5], cuSeqlensK[5]];
const [H, Hkv, D, Dv] = [4, 2, 40, 24];

const q = randn([totalQ, H, D], { seed: 1n });
const k = randn([totalK, Hkv, D], { seed: 2n });
const v = randn([totalK, Hkv, Dv], { seed: 3n });

/** Each sequence by itself through the dense function, put together again. */
async function oneByOne(options: object, slopes?: (b: number) => Tensor) {
  const out = new Float32Array(totalQ * H * Dv);
  const lse = new Float32Array(H * totalQ);
  for (let b = 0; b < lengthsQ.length; b++) {
    const rows = (t: Tensor, cu: number[]) =>
      t.slice([cu[b], cu[b + 1]]).reshape([1, cu[b + 1] - cu[b], ...t.shape.slice(1)]);
    const own = { ...options, ...(slopes && { alibiSlopes: slopes(b) }) };
    const [sq, sk, sv] = [rows(q, cuSeqlensQ), rows(k, cuSeqlensK), rows(v, cuSeqlensK)];
    const dense = flashAttention(sq, sk, sv, { ...own, returnLse: true });
    out.set(await dense.out.toFloat32(), cuSeqlensQ[b] * H * Dv);
    const logs = await dense.lse.toFloat32();
    for (let h = 0; h < H; h++) {
      lse.set(logs.subarray(h * lengthsQ[b], (h + 1) * lengthsQ[b]), h * totalQ + cuSeqlensQ[b]);
    }
  }
  return { out, lse };
}

test.each<[string, Partial<VarlenAttentionOptions>]>([
  ['plain', {}],
  ['causal', { causal: true }],
  ['window with sink tokens', { window: [7, -1], sinkTokens: 2 }],
  ['softcap, scale, sinks', { softcap: 2, scale: 0.5, sinks: tensor([0, 1, -1, 2], [4]) }],
  ['maxSeqlen given', { maxSeqlenQ: 100, maxSeqlenK: 70 }],
  ['the largest maxSeqlen', { maxSeqlenQ: 2 ** 30 - 1, maxSeqlenK: 2 ** 30 - 1 }],
])('%s: equals each sequence by itself', async (_, options) => {
  const { maxSeqlenQ: _q, maxSeqlenK: _k, ...dense } = options;
  const expected = await oneByOne(dense);
  const { out, lse } = flashAttentionVarlen(q, k, v, {
    ...options,
    cuSeqlensQ,
    cuSeqlensK,
    returnLse: true,
  });
  expect(out.shape).toEqual([totalQ, H, Dv]);
  expect(lse.shape).toEqual([H, totalQ]);
  for (const t of [out, lse]) {
    expect([...native().describe(t[kHandle] as never).shape]).toEqual([...t.shape]);
  }
  expect(maxError(await out.toFloat32(), expected.out)).toBeLessThan(2e-6);
  expect(maxError(await lse.toFloat32(), expected.lse)).toBeLessThan(2e-6);
});

test('ALiBi slopes per sequence', async () => {
  const slopes = Float32Array.from({ length: 5 * H }, (_, i) => i / 20);
  const expected = await oneByOne({}, (b) => tensor(slopes.slice(b * H, (b + 1) * H), [H]));
  const out = flashAttentionVarlen(q, k, v, {
    cuSeqlensQ,
    cuSeqlensK,
    alibiSlopes: tensor(slopes, [5, H]),
  });
  expect(maxError(await out.toFloat32(), expected.out)).toBeLessThan(2e-6);
});

test('lengths as numbers, Int32Array and Tensor, and temporaries are freed', async () => {
  const before = await settledMemory();
  const expected = flashAttentionVarlen(q, k, v, { cuSeqlensQ, cuSeqlensK });
  const arrays = flashAttentionVarlen(q, k, v, {
    cuSeqlensQ: Int32Array.from(cuSeqlensQ),
    cuSeqlensK: Int32Array.from(cuSeqlensK),
  });
  expect(memory().tensors).toBe(before.tensors + 2);
  const tensors = flashAttentionVarlen(q, k, v, {
    cuSeqlensQ: tensor(cuSeqlensQ, [6], { dtype: 'int32' }),
    cuSeqlensK: tensor(Int32Array.from(cuSeqlensK), [6]),
  });
  expect(await arrays.data()).toEqual(await expected.data());
  expect(await tensors.data()).toEqual(await expected.data());
});

test('rows after the last sequence are 0', async () => {
  const { out, lse } = flashAttentionVarlen(q, k, v, {
    cuSeqlensQ: [0, 5, 9],
    cuSeqlensK: [0, 9, 20],
    returnLse: true,
  });
  const values = await out.toFloat32();
  expect(values.slice(9 * H * Dv).every((x) => x === 0)).toBe(true);
  expect(values.slice(0, 9 * H * Dv).every((x) => x !== 0)).toBe(true);
  const logs = await lse.toFloat32();
  for (let h = 0; h < H; h++) {
    expect(logs.slice(h * totalQ + 9, (h + 1) * totalQ).every((x) => x === -Infinity)).toBe(true);
  }
});

test('no sequences at all', async () => {
  const out = flashAttentionVarlen(q, k, v, { cuSeqlensQ: [0], cuSeqlensK: [0] });
  expect(out).toBeInstanceOf(Tensor);
  expect((await out.toFloat32()).every((x) => x === 0)).toBe(true);
});

test('a maxSeqlen far beyond the true ones changes no gradient', async () => {
  const given = { cuSeqlensQ, cuSeqlensK, causal: true };
  const state = flashAttentionVarlen(q, k, v, { ...given, returnLse: true });
  const dOut = randn([totalQ, H, Dv], { seed: 4n });
  const gradients = async (options: object) => {
    const all = { ...given, ...options, deterministic: true };
    const { dq, dk, dv } = flashAttentionVarlenBackward(dOut, { q, k, v, ...state }, all);
    return Promise.all([dq, dk, dv].map((gradient) => gradient.toFloat32()));
  };
  const loose = await gradients({ maxSeqlenQ: 2 ** 30 - 1, maxSeqlenK: 2 ** 30 - 1 });
  expect(loose).toEqual(await gradients({}));
});
