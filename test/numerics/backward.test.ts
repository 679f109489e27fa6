import {
  flashAttention,
  flashAttentionBackward,
  flashAttentionVarlen,
  flashAttentionVarlenBackward,
  tensor,
} from '../../lib/index.js';
import { standardAttentionBackward } from '../../lib/reference/index.js';
import { onCpu, sized, widestHeadDim } from '../support/device.js';
import { expectGradients } from '../support/gradients.js';
import { maxError, normals, qkvTensors, randomProblem, testedDTypes } from '../support/numerics.js';
import { blockMasks, options, shape } from '../support/option-cases.js';
import { headDims, oddHeadDims, seqlensUpTo } from '../support/shapes.js';

const seqlens = seqlensUpTo(1 << 15);
const groupings = { MHA: [2, 2], GQA: [4, 2], MQA: [3, 1] } as const;

describe.each(testedDTypes)('gradients, %s', (dtype) => {
  describe.each(Object.entries(groupings))('%s', (_name, [heads, kvHeads]) => {
    test.each(seqlens.map((pair, i) => [...pair, headDims[(i * 5 + heads) % headDims.length]]))(
      '%i queries, %i keys, head dim %i',
      async (seqlenQ, seqlenK, headDim) => {
        const long = seqlenQ * seqlenK > 1e6;
        const shape = { batch: 1, seqlenQ, seqlenK, heads, kvHeads, headDim };
        for (const causal of [false, true]) {
          await expectGradients(shape, { causal }, { dtype, mostRows: long ? 3 : 12 });
        }
      },
    );
  });

  test.each(headDims)('every row, head dim %i', async (headDim) => {
    const shape = { batch: 1, seqlenQ: 53, seqlenK: 90, heads: 2, headDim };
    await expectGradients(shape, { causal: true }, { dtype });
  });

  test.each(oddHeadDims)('odd head dim %i, another for V', async (headDim) => {
    const shape = { batch: 1, seqlenQ: 29, seqlenK: 70, heads: 2, kvHeads: 1, headDim };
    const headDimV = ((headDim * 7) % widestHeadDim) + 1;
    await expectGradients({ ...shape, headDimV }, {}, { dtype, mostRows: 12 });
  });

  test('every row of longer sequences', async () => {
    const [seqlenQ, seqlenK] = sized([333, 512], [133, 200]);
    const shape = { batch: 1, seqlenQ, seqlenK, heads: 2, kvHeads: 1, headDim: 32 };
    await expectGradients({ ...shape, headDimV: 20 }, { causal: true }, { dtype });
  });

  test.each([136, 192, 200, 248, 256])('wide heads of %i dims, with options', async (headDim) => {
    const shape = { batch: 1, seqlenQ: 70, seqlenK: 110, heads: 2, kvHeads: 1, headDim };
    const varied: Parameters<typeof expectGradients>[1][] = [
      { causal: true, deterministic: true },
      { window: [30, 5], softcap: 5 },
      { softcap: 5, deterministic: true },
    ];
    for (const option of varied) await expectGradients(shape, option, { dtype, mostRows: 9 });
    const headDimV = 264 - headDim; // narrower ones for V, and 8
    await expectGradients({ ...shape, headDimV }, { causal: true }, { dtype, mostRows: 9 });
  });

  test.each(Object.entries(options))('%s', async (_name, option) => {
    await expectGradients(shape, option, { dtype, mostRows: 24 });
    await expectGradients(shape, { ...option, deterministic: true }, { dtype, mostRows: 9 });
  });
});

test.each(Object.entries(blockMasks))('block mask %s', async (_name, make) => {
  for (const more of [{}, { causal: true }, { seqlensK: [201, 90], window: [50, 10] as const }]) {
    const blockMask = make();
    await expectGradients(shape, { blockMask, ...more }, { mostRows: 64 });
    blockMask.dispose();
  }
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

test.each(testedDTypes)('two runs give the same bits, %s', async (dtype) => {
  // Enough keys for several blocks to add to a row's dq.
  const shape = { batch: 1, seqlenQ: 150, seqlenK: 400, heads: 4, kvHeads: 2, headDim: 40 };
  const { q, k, v } = qkvTensors(randomProblem(shape, {}, 3), dtype);
  const outShape = [shape.batch, shape.seqlenQ, shape.heads, shape.headDim];
  const dOut = tensor(normals(150 * 4 * 40, 4), outShape, { dtype });
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

describe.each(testedDTypes)('NaN and infinity stay with the pairs that see them, %s', (dtype) => {
  // Sums around such rows may take another order.
  const close = { float32: 1e-5, float16: 4e-3, bfloat16: 3e-2 }[dtype];
  const square = { batch: 1, seqlenQ: 130, seqlenK: 130, heads: 1, headDim: 24 };
  const at = 50;
  const gradients = async (poison: number | undefined, rowsOf: readonly string[]) => {
    const { q, k, v } = randomProblem(square, {}, 5);
    const dOut = normals(q.length, 6);
    for (const [name, data] of Object.entries({ q, k, v, dOut })) {
      if (poison !== undefined && rowsOf.includes(name)) data[at * square.headDim + 3] = poison;
    }
    const tensors = [q, k, v, dOut].map((x) => tensor(x, [1, 130, 1, square.headDim], { dtype }));
    const [tq, tk, tv, td] = tensors;
    const { out, lse } = flashAttention(tq, tk, tv, { causal: true, returnLse: true });
    const saved = { q: tq, k: tk, v: tv, out, lse };
    const g = flashAttentionBackward(td, saved, { causal: true });
    return { dq: await g.dq.toFloat32(), dk: await g.dk.toFloat32(), dv: await g.dv.toFloat32() };
  };
  const rows = (x: Float32Array, begin: number, end: number) =>
    x.slice(begin * square.headDim, end * square.headDim);

  test.each([
    [Number.NaN, 'dOut'],
    [Infinity, 'dOut'],
    [Number.NaN, 'q'],
    [Infinity, 'q'],
  ])('%p in a row of %s', async (poison, name) => {
    const clean = await gradients(undefined, []);
    const actual = await gradients(poison, [name]);
    // Keys after the row do not see it; neither do the other rows.
    for (const wanted of ['dk', 'dv'] as const) {
      expect(
        maxError(rows(actual[wanted], at + 1, 130), rows(clean[wanted], at + 1, 130)),
      ).toBeLessThan(close);
      if (name === 'dOut')
        expect(rows(actual[wanted], 0, at + 1).every(Number.isFinite)).toBe(false);
    }
    expect(maxError(rows(actual.dq, 0, at), rows(clean.dq, 0, at))).toBeLessThan(close);
    expect(maxError(rows(actual.dq, at + 1, 130), rows(clean.dq, at + 1, 130))).toBeLessThan(close);
  });

  test.each([Number.NaN, Infinity])('%p in a row of K and V', async (poison) => {
    const clean = await gradients(undefined, []);
    const actual = await gradients(poison, ['k', 'v']);
    expect(maxError(rows(actual.dq, 0, at), rows(clean.dq, 0, at))).toBeLessThan(close);
    expect(rows(actual.dq, at, 130).some(Number.isNaN)).toBe(true);
  });
});
