/**
 * Keys and values shared without a copy: `expand` gives views with stride 0, which every kernel has
 * to walk, or leave to one that can.
 */
import {
  flashAttention,
  flashAttentionBackward,
  flashAttentionPaged,
  flashAttentionVarlen,
  tensor,
} from '../../lib/index.js';
import { standardAttentionBackward } from '../../lib/reference/index.js';
import { sized } from '../support/device.js';
import {
  compare,
  expectWithin,
  type FloatDType,
  maxError,
  normals,
  randomProblem,
  testedDTypes,
} from '../support/numerics.js';

const [batch, seqlenK, kvHeads, headDim] = [3, 90, 2, 64];

/** What k and v have of their own; the other axes are expanded. */
const own = {
  'one batch': [1, seqlenK, kvHeads, headDim],
  'one head': [batch, seqlenK, 1, headDim],
  'one token': [batch, 1, kvHeads, headDim],
  'one number a row': [batch, seqlenK, kvHeads, 1],
  'one number': [1, 1, 1, 1],
} as const;

const whole = [batch, seqlenK, kvHeads, headDim];

/** The elements of `shape` expanded to `whole`. */
function repeated(data: Float32Array, shape: readonly number[]): Float32Array {
  const result = new Float32Array(whole.reduce((a, b) => a * b));
  for (let at = 0; at < result.length; at++) {
    let rest = at;
    let from = 0;
    let step = 1;
    for (let axis = 3; axis >= 0; axis--) {
      from += (shape[axis] === 1 ? 0 : rest % whole[axis]) * step;
      rest = Math.floor(rest / whole[axis]);
      step *= shape[axis];
    }
    result[at] = data[from];
  }
  return result;
}

/** A problem whose k and v repeat, and the tensors that say so. */
function shared(name: keyof typeof own, seqlenQ: number, dtype: FloatDType) {
  const shape = { batch, seqlenQ, seqlenK, heads: 4, kvHeads, headDim };
  const size = own[name].reduce<number>((a, b) => a * b, 1);
  const [kOwn, vOwn] = [normals(size, 71, dtype), normals(size, 72, dtype)];
  const problem = {
    ...randomProblem(shape, {}, 7, dtype),
    k: repeated(kOwn, own[name]),
    v: repeated(vOwn, own[name]),
  };
  const expanded = (data: Float32Array) => tensor(data, own[name], { dtype }).expand(whole);
  const q = tensor(problem.q, [batch, seqlenQ, 4, headDim], { dtype });
  return { problem, q, k: expanded(kOwn), v: expanded(vOwn) };
}

const names = sized(Object.keys(own), ['one batch', 'one number a row']) as (keyof typeof own)[];

describe.each(testedDTypes)('%s', (dtype) => {
  describe.each(names)('k and v of %s', (name) => {
    test.each([
      [1, { numSplits: 2 }],
      [40, { causal: true }],
    ] as const)('%i queries, %p', async (seqlenQ, options) => {
      const { problem, q, k, v } = shared(name, seqlenQ, dtype);
      const { out, lse } = flashAttention(q, k, v, { ...options, returnLse: true });
      const causal = 'causal' in options;
      const values = [await out.toFloat32(), await lse.toFloat32()] as const;
      expectWithin(compare({ ...problem, causal }, dtype, ...values));
    });
  });

  test('transposed, packed and paged', async () => {
    const { problem, q, k, v } = shared('one batch', 5, dtype);
    const turned = [q, k, v].map((t) => t.transpose(0, 2, 1, 3));
    const bhsd = flashAttention(turned[0], turned[1], turned[2], {
      layout: 'bhsd',
      returnLse: true,
    });
    const lse = await bhsd.lse.toFloat32();
    const bshd = await bhsd.out.transpose(0, 2, 1, 3).toFloat32();
    expectWithin(compare(problem, dtype, bshd, lse));

    // One sequence of keys for all: every page of the pool is the same memory.
    const pageTable = tensor([0, 1, 2], [3, 1], { dtype: 'int32' });
    const paged = flashAttentionPaged(q, k, v, { pageTable, seqlensK: [90, 90, 90] });
    expectWithin(compare(problem, dtype, await paged.toFloat32(), lse));

    const tokens = flashAttentionVarlen(
      q.reshape([batch * 5, 4, headDim]),
      k.slice([0, 1]).reshape([seqlenK, kvHeads, headDim]),
      v.slice([0, 1]).reshape([seqlenK, kvHeads, headDim]),
      { cuSeqlensQ: [0, 15], cuSeqlensK: [0, seqlenK] },
    );
    expectWithin(compare(problem, dtype, await tokens.toFloat32(), lse));
  });
});

test.each(['one batch', 'one head', 'one number a row'] as const)(
  'gradients are of the repeated keys and values: %s',
  async (name) => {
    const { problem, q, k, v } = shared(name, 9, 'float32');
    const { out, lse } = flashAttention(q, k, v, { returnLse: true });
    const upstream = normals(problem.q.length, 9);
    const dOut = tensor(upstream, [batch, 9, 4, headDim]);
    const { dq, dk, dv } = flashAttentionBackward(dOut, { q, k, v, out, lse });
    expect([dk.shape, dv.shape]).toEqual([whole, whole]);
    const truth = standardAttentionBackward(problem, upstream);
    const plain = standardAttentionBackward(problem, upstream, { precision: 'float32' });
    for (const [n, d] of Object.entries({ dq, dk, dv }) as ['dq', typeof dq][]) {
      const allowed = 2 * maxError(plain[n], truth[n]) + 1e-5;
      expect(maxError(await d.toFloat32(), truth[n])).toBeLessThanOrEqual(allowed);
    }
  },
);

test('an upstream gradient, a mask and lengths may be expanded too', async () => {
  const { problem, q, k, v } = shared('one batch', 3, 'float32');
  const mask = tensor([0.5, -1, 2], [3, 1]).expand([1, 4, 3, seqlenK]);
  const seqlensK = tensor([60], [1], { dtype: 'int32' }).expand([batch]);
  const { out, lse } = flashAttention(q, k, v, { mask, seqlensK, returnLse: true });
  const expected = {
    ...problem,
    seqlensK: [60, 60, 60],
    mask: { data: await mask.toFloat32(), shape: [1, 4, 3, seqlenK] },
  };
  expectWithin(compare(expected, 'float32', await out.toFloat32(), await lse.toFloat32()));
  const state = { q, k, v, out, lse };
  const ones = tensor([1], [1, 1, 1, 1]).expand(out.shape);
  const copied = ones.contiguous();
  const options = { mask, seqlensK };
  const [one, two] = [ones, copied].map((d) => flashAttentionBackward(d, state, options));
  for (const name of ['dq', 'dk', 'dv'] as const) {
    const values = [await one[name].toFloat32(), await two[name].toFloat32()];
    expect(maxError(values[0], values[1])).toBeLessThan(1e-5);
  }
});
