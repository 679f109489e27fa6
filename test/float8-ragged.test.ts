// float8_e4m3 in packed sequences and in pages: quantize() against the reference, on whichever
// device runs the tests, and attention where there is a kernel.
import {
  concat,
  dequantize,
  devices,
  explain,
  flashAttention,
  flashAttentionPaged,
  flashAttentionVarlen,
  type QuantizeOptions,
  quantize,
  type Tensor,
  tensor,
  type VarlenAttentionOptions,
  zeros,
} from '../lib/index.js';
import { flashAttentionRagged, type RaggedAttentionOptions } from '../lib/serving/index.js';
import {
  dequantizeE4m3,
  quantizedAttention,
  quantizeE4m3,
  type ReferenceOptions,
  standardAttention,
} from '../lib/reference/index.js';
import { device, sized, testIf } from './support/device.js';
import { expectThrow, wrong } from './support/expect-error.js';
import { normals } from './support/numerics.js';

const dtype = 'float8_e4m3';
const bits = (t: Tensor) => t.data() as Promise<Uint8Array>;

/** Integers that the host has no copy of until they are computed. */
const computed = (values: number[]) =>
  concat([tensor(Int32Array.from(values), [values.length])], 0);

function ends(lengths: readonly number[]): number[] {
  const all = [0];
  for (const length of lengths) all.push(all[all.length - 1] + length);
  return all;
}

describe('quantize() of packed sequences', () => {
  const lengths = [0, 1, 127, 128, 129, 300, 0, 5];
  const cuSeqlens = ends(lengths);
  const [used, heads, dim] = [cuSeqlens[lengths.length], 2, 16];
  const total = used + 7;
  const data = normals(total * heads * dim, 5);
  data.fill(1e6, used * heads * dim); // rows of no sequence
  const axes = [total, heads, dim];
  const shape = { batch: 1, seqlen: total, heads, dim };

  test.each(['block', 'head', 'tensor'] as const)(
    'per %s: the bits of the reference',
    async (per) => {
      const expected = quantizeE4m3(data, shape, { per, cuSeqlens });
      const quantized = quantize(tensor(data, axes), dtype, { per, cuSeqlens });
      expect(quantized).toMatchObject({ layout: 'bshd', maxSeqlen: 300 });
      expect(quantized.cuSeqlens).toEqual(Int32Array.from(cuSeqlens));
      expect(quantized.values).toMatchObject({ dtype, device, shape: axes });
      expect(quantized.scales.shape).toEqual(
        { block: [8, heads, 3], head: [8, heads], tensor: [1] }[per],
      );
      expect(await bits(quantized.values)).toEqual(expected.bits);
      const kept = { block: 1, head: 3, tensor: 48 }[per];
      expect(await quantized.scales.toFloat32()).toEqual(
        expected.scales.filter((_, n) => n % kept === 0),
      );
      const back = await dequantize(quantized).toFloat32();
      expect(back).toEqual(Float32Array.from(dequantizeE4m3(expected)));
      expect(back.subarray(used * heads * dim).every((x) => x === 0)).toBe(true);
    },
  );

  test('is each sequence by itself, rotated and in 16 bits, too', async () => {
    const x = tensor(data, axes).to('bfloat16');
    const hadamard = { seed: 3n };
    const packed = quantize(x, dtype, { cuSeqlens, hadamard });
    const back = dequantize(packed, { dtype: 'bfloat16' });
    for (const [b, length] of lengths.entries()) {
      const rows: [number, number] = [cuSeqlens[b], cuSeqlens[b + 1]];
      const alone = quantize(x.slice(rows).reshape([1, length, heads, dim]), dtype, { hadamard });
      expect(await bits(packed.values.slice(rows))).toEqual(await bits(alone.values));
      const blocks = Math.ceil(length / 128);
      expect(await packed.scales.slice([b, b + 1], null, [0, blocks]).toFloat32()).toEqual(
        await alone.scales.toFloat32(),
      );
      const rest = await packed.scales.slice([b, b + 1], null, [blocks, 3]).toFloat32();
      expect(rest.every((scale) => scale === 1)).toBe(true);
      expect(await back.slice(rows).toFloat32()).toEqual(
        await dequantize(alone, { dtype: 'bfloat16' }).toFloat32(),
      );
    }
  });

  test('takes offsets of every kind, and a bound of its own', async () => {
    const x = tensor(data, axes);
    const expected = await bits(quantize(x, dtype, { cuSeqlens }).values);
    const offsets = tensor(cuSeqlens, [9], { dtype: 'int32' });
    const apart = tensor(
      cuSeqlens.flatMap((at) => [at, -1]),
      [9, 2],
      { dtype: 'int32' },
    ).slice(null, [0, 1]);
    for (const given of [
      Int32Array.from(cuSeqlens),
      offsets,
      computed(cuSeqlens),
      apart.reshape([9]),
    ]) {
      const quantized = quantize(x, dtype, { cuSeqlens: given, maxSeqlen: 400 });
      expect(quantized.scales.shape).toEqual([8, heads, 4]);
      expect(await bits(quantized.values)).toEqual(expected);
      expect(quantized.maxSeqlen).toBe(400);
      expect(await dequantize(quantized).toFloat32()).toEqual(
        await dequantize(quantize(x, dtype, { cuSeqlens })).toFloat32(),
      );
    }
    expect(quantize(x, dtype, { cuSeqlens: offsets, maxSeqlen: 300 }).cuSeqlens).toBe(offsets);
    const none = quantize(x, dtype, { cuSeqlens: [0] });
    expect(none.scales.shape).toEqual([0, heads, 0]);
    expect((await bits(none.values)).every((code) => code === 0)).toBe(true);
    const empty = quantize(zeros([0, heads, dim]), dtype, { cuSeqlens: [0, 0] });
    expect(empty.values.shape).toEqual([0, heads, dim]);
  });

  test('bad offsets that the host has not seen reject the result', async () => {
    const x = tensor(data, axes);
    for (const values of [
      [0, 300, 600, total + 1],
      [1, 5],
      [0, 9, 3],
      [0, 301],
    ]) {
      const read = async () =>
        quantize(x, dtype, { cuSeqlens: computed(values), maxSeqlen: 300 }).values.data();
      await expect(read()).rejects.toMatchObject({
        code: values[1] === 301 ? 'ERR_OPTION' : 'ERR_SHAPE',
        argument: expect.stringMatching(/^(options[.])?(cuSeqlens|maxSeqlen)/),
      });
    }
  });
});

const kernels = devices().find(({ name }) => name === device)?.kernels ?? [];
const testKernel = testIf(
  kernels.includes('sm90.forward.float8'),
  `${device} has no float8 kernel`,
);

interface Packed {
  readonly data: Float32Array;
  readonly shape: number[];
  readonly cuSeqlens: number[];
}

function pack(lengths: readonly number[], heads: number, dim: number, seed: number): Packed {
  const cuSeqlens = ends(lengths);
  const shape = [cuSeqlens[lengths.length], heads, dim];
  return { data: normals(shape[0] * heads * dim, seed), shape, cuSeqlens };
}

/** The rows of a sequence. */
function rowsOf({ data, shape, cuSeqlens }: Packed, b: number, of: Float32Array = data) {
  const row = shape[1] * shape[2];
  return of.subarray(cuSeqlens[b] * row, cuSeqlens[b + 1] * row);
}

const rmse = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.sqrt(Array.from(a).reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0) / a.length);

/** The numbers of head h of sequence b among `[heads, total]`. */
const lseRows = (lse: Float32Array, { shape, cuSeqlens }: Packed, b: number, h: number) =>
  lse.subarray(h * shape[0] + cuSeqlens[b], h * shape[0] + cuSeqlens[b + 1]);

describe('attention on packed float8 tensors', () => {
  const lengthsQ = [0, 1, 127, 128, 129, 20, 3, sized(300, 140)];
  const lengthsK = [40, 1, 130, 128, sized(300, 200), 0, 70, 257];

  /** Three tensors, and what the functions take of them. */
  function inputs(
    [heads, kvHeads, headDim, headDimV]: readonly number[],
    quantization: QuantizeOptions,
  ) {
    const q = pack(lengthsQ, heads, headDim, 31);
    const k = pack(lengthsK, kvHeads, headDim, 32);
    const v = pack(lengthsK, kvHeads, headDimV, 33);
    const narrow = ({ data, shape, cuSeqlens }: Packed, options: QuantizeOptions) =>
      quantize(tensor(data, shape), dtype, { ...options, cuSeqlens });
    const [q8, k8] = [q, k].map((x) => narrow(x, quantization));
    const v8 = narrow(v, { per: 'head' });
    const scales = { q: q8.scales, k: k8.scales, v: v8.scales };
    const options = { cuSeqlensQ: q.cuSeqlens, cuSeqlensK: k.cuSeqlens, scales };
    return { q, k, v, q8, k8, v8, options };
  }

  testKernel.each<[string, readonly number[], Partial<VarlenAttentionOptions>, QuantizeOptions]>([
    ['a scale per block', [1, 1, 128, 128], {}, {}],
    ['a scale per head, grouped heads, causal', [4, 2, 64, 64], { causal: true }, { per: 'head' }],
    ['window, rotated', [2, 2, 64, 48], { window: [100, 20] }, { hadamard: { seed: 3n } }],
    ['head dim 96', [2, 1, 96, 96], { causal: true }, {}],
    ['head dim 256', [1, 1, 256, 256], { causal: true }, {}],
    ['splits', [2, 1, 128, 128], { numSplits: 3 }, {}],
  ])('%s', async (_, sizes, options, quantization) => {
    const [heads, kvHeads, headDim, headDimV] = sizes;
    const { q, k, v, q8, k8, v8, options: packed } = inputs(sizes, quantization);
    const call = { numSplits: 1, ...options, ...packed, returnLse: true } as const;
    const { out, lse } = flashAttentionVarlen(q8.values, k8.values, v8.values, call);
    expect(out).toMatchObject({ dtype: 'bfloat16', shape: [q.shape[0], heads, headDimV] });
    const [values, logs] = [await out.toFloat32(), await lse.toFloat32()];
    const outs: Packed = { ...q, data: values, shape: [q.shape[0], heads, headDimV] };
    const { numSplits: _splits, ...reference } = options;
    for (const [b, seqlenQ] of lengthsQ.entries()) {
      if (seqlenQ === 0) continue;
      const seqlenK = lengthsK[b];
      const own = rowsOf(outs, b);
      const ownLse = Array.from({ length: heads }, (_, h) => [...lseRows(logs, q, b, h)]).flat();
      if (seqlenK === 0) {
        expect(new Set(own)).toEqual(new Set([0]));
        expect(new Set(ownLse)).toEqual(new Set([-Infinity]));
        continue;
      }
      const problem = {
        shape: { batch: 1, seqlenQ, seqlenK, heads, kvHeads, headDim, headDimV },
        q: rowsOf(q, b),
        k: rowsOf(k, b),
        v: rowsOf(v, b),
        ...(reference as ReferenceOptions),
      };
      const exact = standardAttention(problem).out;
      const { per, hadamard } = quantization;
      const model = quantizedAttention(problem, { per, hadamard });
      const error = rmse(model.out, exact);
      expect(rmse(own, exact)).toBeLessThanOrEqual(1.1 * error + 2e-3);
      expect(rmse(own, model.out)).toBeLessThanOrEqual(0.7 * error + 2e-3);
      const finite = ownLse.map((x, n) => (x === model.lse[n] ? 0 : x - model.lse[n]));
      expect(rmse(finite, new Float32Array(finite.length))).toBeLessThan(2e-3);
    }
  });

  testKernel('has the bits of each sequence by itself, and of one scale for all', async () => {
    const { q, k, v, options } = inputs([2, 1, 64, 64], {});
    const { q8, k8, v8 } = inputs([2, 1, 64, 64], {});
    const call = { ...options, causal: true, numSplits: 1 };
    const out = flashAttentionVarlen(q8.values, k8.values, v8.values, call);
    for (const [b, length] of lengthsQ.entries()) {
      if (length === 0) continue;
      const alone = (x: Packed, y: { values: Tensor; scales: Tensor }, n: number) => ({
        values: y.values
          .slice([x.cuSeqlens[b], x.cuSeqlens[b + 1]])
          .reshape([1, n, ...x.shape.slice(1)]),
        scales:
          y.scales.shape.length === 2
            ? y.scales.slice([b, b + 1])
            : y.scales.slice([b, b + 1], null, [0, Math.ceil(n / 128)]),
      });
      const [sq, sk, sv] = [
        alone(q, q8, length),
        alone(k, k8, lengthsK[b]),
        alone(v, v8, lengthsK[b]),
      ];
      const scales = { q: sq.scales, k: sk.scales, v: sv.scales };
      const dense = flashAttention(sq.values, sk.values, sv.values, {
        causal: true,
        numSplits: 1,
        scales,
      });
      expect(await out.slice([q.cuSeqlens[b], q.cuSeqlens[b + 1]]).data()).toEqual(
        await dense.data(),
      );
    }
    const one = tensor([0.5], [1]);
    const each = (heads: number, blocks: number[]) =>
      tensor(new Float32Array(8 * heads * (blocks[0] ?? 1)).fill(0.5), [8, heads, ...blocks]);
    const shared = { q: one, k: one, v: one };
    const apart = { q: each(2, [5]), k: each(1, [3]), v: each(1, []) };
    const [first, second] = [shared, apart].map((scales) =>
      flashAttentionVarlen(q8.values, k8.values, v8.values, { ...call, scales }),
    );
    expect(await first.data()).toEqual(await second.data());
  });

  testKernel('offsets that are computed on the device, and plans of them', async () => {
    const { q8, k8, v8, options } = inputs([2, 1, 64, 64], {});
    const expected = await flashAttentionVarlen(q8.values, k8.values, v8.values, options).data();
    const call = () => ({
      scales: options.scales,
      cuSeqlensQ: computed(options.cuSeqlensQ),
      cuSeqlensK: computed(options.cuSeqlensK),
    });
    const { kernel } = explain(q8.values, k8.values, v8.values, call());
    expect(kernel).toBe('sm90.forward.float8');
    const out = flashAttentionVarlen(q8.values, k8.values, v8.values, call());
    expect(await out.data()).toEqual(expected);
    const longer = { ...call(), cuSeqlensK: computed([0, 400, 400, 400, 400, 400, 400, 400, 400]) };
    await expect(
      flashAttentionVarlen(q8.values, k8.values, v8.values, longer).data(),
    ).rejects.toMatchObject({ code: 'ERR_SHAPE', argument: expect.stringContaining('scales.k') });
  });

  testKernel('blocks that a sequence has no scale for', () => {
    const { q8, k8, v8, options } = inputs([2, 1, 64, 64], {});
    const fewer = (name: 'q' | 'k') => ({
      ...options,
      scales: { ...options.scales, [name]: options.scales[name].slice(null, null, [0, 1]) },
    });
    for (const name of ['q', 'k'] as const) {
      expectThrow(
        () => flashAttentionVarlen(q8.values, k8.values, v8.values, fewer(name)),
        'ERR_SHAPE',
        `options.scales.${name}`,
        /at least [23] blocks of 128 tokens, for a sequence of \d+, but received shape \[8, \d, 1\]/,
      );
    }
  });
});

describe('attention on float8 pages', () => {
  const [batch, kvHeads] = [3, 2];
  const lengthsK = [sized(300, 170), 37, 0];

  /** Pages of all sequences, last page first; slots that no key has hold NaN. */
  function pages(pageSize: number, dim: number, seed: number) {
    const perSequence = Math.ceil(Math.max(...lengthsK) / pageSize);
    const count = batch * perSequence;
    const table = Array.from({ length: batch }, (_, b) =>
      Array.from({ length: perSequence }, (_, i) => count - 1 - b * perSequence - i),
    );
    const row = kvHeads * dim;
    const data = new Float32Array(count * pageSize * row).fill(NaN);
    const rows = lengthsK.map((length, b) => normals(length * row, seed + b));
    for (const [b, own] of rows.entries()) {
      for (let j = 0; j < lengthsK[b]; j++) {
        const slot = table[b][Math.floor(j / pageSize)] * pageSize + (j % pageSize);
        data.set(own.subarray(j * row, (j + 1) * row), slot * row);
      }
    }
    const all = quantize(tensor(data, [1, count * pageSize, kvHeads, dim]), dtype, { per: 'head' });
    return {
      table,
      rows,
      values: all.values.reshape([count, pageSize, kvHeads, dim]),
      scales: all.scales.reshape([kvHeads]),
      /** A sequence, as values of its own with the scales of all. */
      async sequence(b: number) {
        const codes = await bits(all.values);
        const own = new Uint8Array(lengthsK[b] * row);
        for (let j = 0; j < lengthsK[b]; j++) {
          const slot = table[b][Math.floor(j / pageSize)] * pageSize + (j % pageSize);
          own.set(codes.subarray(slot * row, (slot + 1) * row), j * row);
        }
        return tensor(own, [1, lengthsK[b], kvHeads, dim], { dtype });
      },
    };
  }

  testKernel.each<[number, number, number, Partial<RaggedAttentionOptions>]>([
    [16, 64, 2, {}],
    [8, 64, 4, { causal: true }],
    [24, 96, 2, { causal: true }],
    [64, 128, 2, { window: [60, 0] }],
    [128, 128, 4, { causal: true, numSplits: 2 }],
    [256, 256, 2, {}],
  ])('pages of %i keys, head dim %i, %i heads, %p', async (pageSize, dim, heads, options) => {
    const lengthsQ = [70, 3, 2];
    const q = pack(lengthsQ, heads, dim, 50);
    const q8 = quantize(tensor(q.data, q.shape), dtype, { cuSeqlens: q.cuSeqlens });
    const [k8, v8] = [pages(pageSize, dim, 60), pages(pageSize, dim, 70)];
    const scales = { q: q8.scales, k: k8.scales, v: v8.scales };
    const call = {
      numSplits: 1,
      ...options,
      cuSeqlensQ: q.cuSeqlens,
      pageTable: k8.table,
      seqlensK: lengthsK,
      scales,
    };
    expect(explain(q8.values, k8.values, v8.values, call).kernel).toBe('sm90.forward.float8');
    const out = flashAttentionRagged(q8.values, k8.values, v8.values, call);
    const { numSplits = 1, ...shared } = options;
    for (const [b, seqlenQ] of lengthsQ.entries()) {
      const rows: [number, number] = [q.cuSeqlens[b], q.cuSeqlens[b + 1]];
      const own = out.slice(rows);
      if (lengthsK[b] === 0) {
        expect(new Set(await own.toFloat32())).toEqual(new Set([0]));
        continue;
      }
      const dense = flashAttention(
        q8.values.slice(rows).reshape([1, seqlenQ, heads, dim]),
        await k8.sequence(b),
        await v8.sequence(b),
        {
          ...(shared as object),
          numSplits,
          scales: {
            q: q8.scales.slice([b, b + 1]),
            k: k8.scales.reshape([1, kvHeads]),
            v: v8.scales.reshape([1, kvHeads]),
          },
        },
      );
      expect(await own.data()).toEqual(await dense.data());
      const exact = standardAttention({
        shape: { batch: 1, seqlenQ, seqlenK: lengthsK[b], heads, kvHeads, headDim: dim },
        q: rowsOf(q, b),
        k: k8.rows[b],
        v: v8.rows[b],
        ...(shared as ReferenceOptions),
      }).out;
      const size = Math.sqrt(exact.reduce((sum, x) => sum + x * x, 0) / exact.length);
      expect(rmse(await own.toFloat32(), exact) / size).toBeLessThan(0.06);
    }
  });

  testKernel('queries of a batch; scales per tensor, per head, per sequence and head', async () => {
    const data = normals(batch * 70 * 2 * 64, 80);
    const q8 = quantize(tensor(data, [batch, 70, 2, 64]), dtype);
    const [k8, v8] = [pages(16, 64, 60), pages(16, 64, 70)];
    const attend = (k: Tensor, v: Tensor) =>
      flashAttentionPaged(q8.values, k8.values, v8.values, {
        pageTable: k8.table,
        seqlensK: lengthsK,
        scales: { q: q8.scales, k, v },
        causal: true,
        numSplits: 1,
      }).data();
    const filled = (shape: number[]) =>
      tensor(new Float32Array(shape.reduce((a, b) => a * b)).fill(0.25), shape);
    const expected = await attend(filled([1]), filled([1]));
    expect(await attend(filled([kvHeads]), filled([kvHeads]))).toEqual(expected);
    expect(await attend(filled([batch, kvHeads]), filled([1]))).toEqual(expected);
    const [a, b] = [
      await attend(k8.scales, v8.scales),
      await attend(k8.scales, tensor([1, 0.5], [kvHeads])),
    ];
    expect(a).not.toEqual(b);
  });

  testKernel('what does not fit is refused by its name', () => {
    const make = (pageSize: number) => {
      const one = tensor([1], [1]);
      const q8 = zeros([1, 5, 2, 32], { dtype });
      const [k8, v8] = [0, 1].map(() => zeros([4, pageSize, kvHeads, 32], { dtype }));
      const scales = { q: one, k: one, v: one };
      const options = { pageTable: [[0, 1, 2, 3]], seqlensK: [9], scales };
      return (more: object = {}) =>
        () =>
          flashAttentionPaged(q8, k8, v8, wrong({ ...options, ...more }));
    };
    expectThrow(
      make(12)(),
      'ERR_SHAPE',
      'kPages',
      /pages of a multiple of 8 keys with float8_e4m3 but received pages of 12: dequantize/,
    );
    const one = tensor([1], [1]);
    expectThrow(
      make(16)({ scales: { q: one, k: zeros([4, 16, 2]), v: one } }),
      'ERR_SHAPE',
      'options.scales.k',
      /\[1\] or \[2\] or \[1, 2\] with options.pageTable but received \[4, 16, 2\]/,
    );
    const rows = zeros([4, 16, 2]);
    expectThrow(make(16)({ kScales: rows }), 'ERR_OPTION', 'options.scales', /absent with kScales/);
    expectThrow(
      make(16)({ scales: undefined, kScales: rows, vScales: rows }),
      'ERR_OPTION',
      'options.scales.q',
    );
    expectThrow(make(16)({ scales: undefined }), 'ERR_OPTION', 'options.scales');
    const tree = { mask: zeros([5, 1], { dtype: 'int32' }), positions: [4, 5, 6, 7, 8] };
    const pools = [0, 1].map(() => zeros([4, 16, 2, 32], { dtype }));
    expectThrow(
      () =>
        flashAttentionRagged(zeros([5, 2, 32], { dtype }), pools[0], pools[1], {
          cuSeqlensQ: [0, 5],
          pageTable: [[0, 1, 2, 3]],
          seqlensK: [9],
          scales: { q: one, k: one, v: one },
          tree,
        }),
      'ERR_OPTION',
      'options.tree.mask',
      /left out with float8_e4m3/,
    );
  });

  testKernel('of no pages is nothing', async () => {
    const none = zeros([0, 16, 2, 32], { dtype });
    const one = tensor([1], [1]);
    const { out, lse } = flashAttentionPaged(zeros([1, 5, 2, 32], { dtype }), none, none, {
      pageTable: [[0, 0]],
      seqlensK: [0],
      scales: { q: one, k: one, v: one },
      returnLse: true,
    });
    expect(new Set(await out.toFloat32())).toEqual(new Set([0]));
    expect(new Set(await lse.toFloat32())).toEqual(new Set([-Infinity]));
  });
});
