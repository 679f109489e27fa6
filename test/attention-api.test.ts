import { flashAttention, randn, Tensor, tensor, zeros } from '../lib/index.js';
import { native } from '../lib/native/addon.js';
import { kHandle } from '../lib/native/show.js';
import { heldMemory, settledMemory } from './support/gc.js';
import {
  attentionOptions,
  compare,
  expectWithin,
  maxError,
  normals,
  qkvTensors,
  randomProblem,
} from './support/numerics.js';

const shape = {
  batch: 2,
  seqlenQ: 33,
  seqlenK: 47,
  heads: 4,
  kvHeads: 2,
  headDim: 24,
  headDimV: 16,
};

test('returns out, or out and lse, of the promised shapes', () => {
  const { q, k, v } = qkvTensors(randomProblem(shape), 'bfloat16');
  const alone = flashAttention(q, k, v);
  expect(alone).toBeInstanceOf(Tensor);
  expect(alone).toMatchObject({ shape: [2, 33, 4, 16], dtype: 'bfloat16', device: 'cpu' });
  expect(flashAttention(q, k, v, { returnLse: false })).toBeInstanceOf(Tensor);
  const { out, lse } = flashAttention(q, k, v, { returnLse: true });
  expect(out).toMatchObject({ shape: [2, 33, 4, 16], strides: [2112, 64, 16, 1] });
  expect(lse).toMatchObject({ shape: [2, 4, 33], dtype: 'float32' });
});

test('what JavaScript says of results is what native code says', () => {
  for (const layout of ['bshd', 'bhsd'] as const) {
    const { q, k, v } = qkvTensors(randomProblem(shape), 'float16', layout);
    const { out, lse } = flashAttention(q, k, v, { layout, returnLse: true });
    for (const t of [out, lse]) {
      const told = native().describe(t[kHandle] as never);
      expect([...told.shape]).toEqual([...t.shape]);
      expect([...told.strides]).toEqual([...t.strides]);
    }
  }
});

test.each(['bshd', 'bhsd'] as const)('layout %s', async (layout) => {
  const problem = randomProblem(shape, { causal: true });
  const { q, k, v } = qkvTensors(problem, 'float32', layout);
  const { out, lse } = flashAttention(q, k, v, { layout, causal: true, returnLse: true });
  const bshd = layout === 'bshd' ? out : out.transpose(0, 2, 1, 3);
  expectWithin(compare(problem, 'float32', await bshd.toFloat32(), await lse.toFloat32()));
});

test('a transposed view is as good as the other layout: bit for bit', async () => {
  const { q, k, v } = qkvTensors(randomProblem(shape), 'float32');
  const direct = await flashAttention(q, k, v).toFloat32();
  const [tq, tk, tv] = [q, k, v].map((t) => t.transpose(0, 2, 1, 3));
  const viaViews = flashAttention(tq, tk, tv, { layout: 'bhsd' });
  expect(viaViews.strides).toEqual([2112, 528, 16, 1]);
  expect(await viaViews.transpose(0, 2, 1, 3).toFloat32()).toEqual(direct);
});

test('any strides: slices of larger tensors along every axis', async () => {
  const problem = randomProblem(shape);
  const { q, k, v } = qkvTensors(problem, 'float32');
  /** The same values inside a larger tensor of NaN. */
  const embed = async (t: Tensor) => {
    const [b, s, h, d] = t.shape;
    const data = await t.toFloat32();
    const big = new Float32Array((b + 1) * (s + 3) * (h + 2) * (d + 5)).fill(Number.NaN);
    let at = 0;
    for (let ib = 0; ib < b; ib++) {
      for (let is = 0; is < s; is++) {
        for (let ih = 0; ih < h; ih++) {
          for (let id = 0; id < d; id++) {
            big[(((ib + 1) * (s + 3) + is + 2) * (h + 2) + ih + 1) * (d + 5) + id + 4] = data[at++];
          }
        }
      }
    }
    return tensor(big, [b + 1, s + 3, h + 2, d + 5]).slice(
      [1, b + 1],
      [2, s + 2],
      [1, h + 1],
      [4, d + 4],
    );
  };
  const out = flashAttention(await embed(q), await embed(k), await embed(v));
  expect(maxError(await out.toFloat32(), await flashAttention(q, k, v).toFloat32())).toBe(0);
});

test('a head dim that is not the innermost axis', async () => {
  const { q, k, v } = qkvTensors(randomProblem(shape), 'float32');
  const turned = [q, k, v].map((t) => t.transpose(3, 0, 1, 2).contiguous().transpose(1, 2, 3, 0));
  expect(turned[0].strides[3]).toBe(2 * 33 * 4);
  const out = await flashAttention(turned[0], turned[1], turned[2]).toFloat32();
  expect(maxError(out, await flashAttention(q, k, v).toFloat32())).toBe(0);
});

test('every option reaches the kernel: each changes the result, and all together match the reference', async () => {
  const options = {
    scale: 0.3,
    window: [20, 3] as const,
    sinkTokens: 2,
    softcap: 4,
    alibiSlopes: [0.1, 0.2, 0.3, 0.4],
    sinks: [1, -1, 0, 2],
    seqlensK: [47, 30],
    mask: { shape: [33, 47], data: normals(33 * 47, 9) },
    dropout: { p: 0.3, seed: 12345678901234567890n, offset: 3n },
  };
  const problem = randomProblem(shape);
  const { q, k, v } = qkvTensors(problem, 'float32');
  const plain = await flashAttention(q, k, v).toFloat32();
  for (const [name, value] of Object.entries(options)) {
    // On their own, sink tokens lift no bound.
    const one = attentionOptions(
      name === 'sinkTokens' ? { window: [5, 0], sinkTokens: 2 } : { [name]: value },
      shape,
    );
    expect(maxError(await flashAttention(q, k, v, one).toFloat32(), plain)).toBeGreaterThan(1e-3);
  }
  const { out, lse } = flashAttention(q, k, v, {
    ...attentionOptions(options, shape),
    returnLse: true,
  });
  expectWithin(
    compare({ ...problem, ...options }, 'float32', await out.toFloat32(), await lse.toFloat32()),
  );
  const offset = { ...options, dropout: { ...options.dropout, offset: 4n } };
  const moved = flashAttention(q, k, v, attentionOptions(offset, shape));
  expect(maxError(await moved.toFloat32(), await out.toFloat32())).toBeGreaterThan(1e-3);
});

test('masks broadcast from the right', async () => {
  const problem = randomProblem(shape);
  const { q, k, v } = qkvTensors(problem, 'float32');
  for (const maskShape of [
    [47],
    [33, 1],
    [1, 47],
    [4, 1, 47],
    [2, 1, 1, 47],
    [2, 4, 33, 47],
    [1, 1, 1, 1],
  ]) {
    const size = maskShape.reduce((a, b) => a * b, 1);
    const bool = Uint8Array.from({ length: size }, (_, i) =>
      (i * 7) % 5 === 1 && size > 1 ? 0 : 1,
    );
    for (const data of [bool, normals(size, 5)]) {
      const mask = { shape: maskShape, data };
      const options = attentionOptions({ mask }, shape);
      const { out, lse } = flashAttention(q, k, v, { ...options, returnLse: true });
      expectWithin(
        compare({ ...problem, mask }, 'float32', await out.toFloat32(), await lse.toFloat32()),
      );
    }
  }
});

test('seqlensK and alibiSlopes in every form give the same', async () => {
  const { q, k, v } = qkvTensors(randomProblem(shape), 'float32');
  const results = [];
  for (const seqlensK of [[40, 7], Int32Array.of(40, 7), tensor(Int32Array.of(40, 7), [2])]) {
    results.push(await flashAttention(q, k, v, { seqlensK }).toFloat32());
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
  const perHead = flashAttention(q, k, v, { alibiSlopes: tensor([1, 2, 3, 4], [4]) });
  const perSequence = flashAttention(q, k, v, {
    alibiSlopes: tensor([1, 2, 3, 4, 1, 2, 3, 4], [2, 4]),
  });
  expect(await perSequence.toFloat32()).toEqual(await perHead.toFloat32());
});

test('rows that see nothing give 0 and -Infinity', async () => {
  const { q, k, v } = qkvTensors(randomProblem({ ...shape, seqlenQ: 60 }), 'float32');
  const { out, lse } = flashAttention(q, k, v, { causal: true, returnLse: true });
  const values = await out.toFloat32();
  const logs = await lse.toFloat32();
  // Bottom right aligned: the first 13 of 60 queries stand before the first of 47 keys.
  for (let i = 0; i < 60; i++) {
    const row = values.slice(i * 64, (i + 1) * 64);
    expect(row.every((x) => x === 0)).toBe(i < 13);
    expect(logs[i] === -Infinity).toBe(i < 13);
  }
});

test.each([
  ['no batch', [0, 3, 2, 8], [0, 4, 2, 8]],
  ['no queries', [2, 0, 2, 8], [2, 4, 2, 8]],
  ['no keys', [2, 3, 2, 8], [2, 0, 2, 8]],
])('%s', async (_, shapeQ, shapeK) => {
  const { out, lse } = flashAttention(zeros(shapeQ), zeros(shapeK), zeros(shapeK), {
    returnLse: true,
  });
  expect(out.shape).toEqual(shapeQ);
  expect(lse.shape).toEqual([shapeQ[0], 2, shapeQ[1]]);
  expect([...(await out.toFloat32())]).toEqual(new Array(out.size).fill(0));
  expect([...(await lse.toFloat32())]).toEqual(new Array(lse.size).fill(-Infinity));
});

test('results come in the order of calls, whatever is disposed meanwhile', async () => {
  const before = await settledMemory();
  const q = randn([1, 1024, 8, 64], { seed: 1n });
  const outs: Tensor[] = [];
  let previous = q;
  for (let i = 0; i < 6; i++) {
    const out = flashAttention(previous, q, q, { causal: true });
    outs.push(out);
    previous = out;
  }
  q.dispose();
  const order: number[] = [];
  const reads = outs.map((out, i) =>
    out.toFloat32().then((values) => {
      order.push(i);
      return values;
    }),
  );
  for (const out of outs) out.dispose();
  const values = await Promise.all(reads);
  expect(order).toEqual([0, 1, 2, 3, 4, 5]);
  expect(values.every((x) => x.every(Number.isFinite))).toBe(true);
  expect(heldMemory()).toEqual(before);
});
