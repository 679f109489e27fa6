import { explain, flashAttention, flashAttentionPaged, randn, tensor } from '../../lib/index.js';
import { testOnCpu } from '../support/device.js';
import {
  expectWithin,
  maxError,
  measure,
  normals,
  type SharedOptions,
  testedDTypes,
} from '../support/numerics.js';

const seqlenK = 301;

/** One mask row per sequence and key, as padding masks have; about every fifth key is hidden. */
const padding = Uint8Array.from({ length: 2 * seqlenK }, (_, at) => Number(at % 5 !== 3));
/** -Infinity hides. */
const biases = Float64Array.from({ length: 8 * seqlenK }, (_, at) =>
  at % 7 === 2 ? -Infinity : Math.fround(Math.sin(at)),
);

/**
 * Few query rows over many keys take a kernel of their own, unless a block mask or dropout is asked
 * for.
 */
const options: Record<string, SharedOptions> = {
  plain: {},
  causal: { causal: true },
  window: { window: [100, 0] },
  'window and sink tokens': { causal: true, window: [37, 0], sinkTokens: 5 },
  'window that shows nothing to some': { window: [-2, 1] },
  seqlensK: { causal: true, seqlensK: [300, 0] },
  softcap: { softcap: 3, causal: true },
  alibi: { alibiSlopes: [0.5, 0.25, 0.125, 0.0625, 0.1, 0.2, 0.3, 0.4], causal: true },
  sinks: { sinks: [0, -2, 3, 0.5, 1, 2, -1, 4] },
  'three splits': { numSplits: 3, causal: true, sinks: [0, -2, 3, 0.5, 1, 2, -1, 4] },
  'padding mask': { mask: { data: padding, shape: [2, 1, 1, seqlenK] } },
  'padding mask, causal': { mask: { data: padding, shape: [2, 1, 1, seqlenK] }, causal: true },
  'mask of nothing': { mask: { data: new Uint8Array(1), shape: [1, 1] } },
  'float mask of each head': { mask: { data: biases, shape: [1, 8, 1, seqlenK] }, softcap: 3 },
  'layout bhsd': { layout: 'bhsd', causal: true },
  'window in layout bhsd': { layout: 'bhsd', causal: true, window: [37, 0], sinkTokens: 5 },
};

describe.each(testedDTypes)('%s', (dtype) => {
  test.each(Object.entries(options))('%s', async (_name, option) => {
    for (const [seqlenQ, kvHeads] of [
      [1, 8],
      [1, 2],
      [3, 4],
      [7, 8],
    ]) {
      const shape = {
        batch: 2,
        seqlenQ,
        seqlenK,
        heads: 8,
        kvHeads,
        headDim: 16,
        headDimV: 32,
      };
      expectWithin(await measure(shape, option, { dtype, seed: seqlenQ * kvHeads }));
    }
  });

  test.each([16, 64, 80, 128, 256])('head dim %i', async (headDim) => {
    const shape = { batch: 1, seqlenQ: 1, seqlenK: 1030, heads: 4, kvHeads: 1, headDim };
    expectWithin(await measure(shape, {}, { dtype }));
  });
});

testOnCpu('it is the decode kernel that runs, and says so', () => {
  const q = randn([1, 1, 32, 128], { seed: 1n });
  const k = randn([1, 300, 8, 128], { seed: 2n });
  expect(explain(q, k, k).kernel).toBe('cpu.decode');
  const long = randn([1, 64, 32, 128], { seed: 1n });
  expect(explain(long, k, k).kernel).toBe('cpu.forward');
});

test('paged keys give the bits of dense ones', async () => {
  const [B, H, Hkv, D, pageSize, pages] = [2, 8, 2, 32, 16, 20];
  const q = tensor(normals(B * H * D, 1), [B, 1, H, D]);
  const kPages = normals(pages * pageSize * Hkv * D, 2);
  const vPages = normals(pages * pageSize * Hkv * D, 3);
  const order = [7, 3, 19, 0, 11, 5, 2, 13, 17, 1, 4, 6];
  const seqlensK = [90, 71];
  const table = Int32Array.of(...order);
  const dense = (data: Float32Array) => {
    const rows = new Float32Array(B * 6 * pageSize * Hkv * D);
    const page = pageSize * Hkv * D;
    for (const [to, from] of order.entries()) {
      rows.set(data.subarray(from * page, (from + 1) * page), to * page);
    }
    return tensor(rows, [B, 6 * pageSize, Hkv, D]);
  };
  const shape = [pages, pageSize, Hkv, D];
  const paged = flashAttentionPaged(q, tensor(kPages, shape), tensor(vPages, shape), {
    pageTable: tensor(table, [B, 6]),
    seqlensK,
    numSplits: 1,
  });
  const plain = flashAttention(q, dense(kPages), dense(vPages), { seqlensK, numSplits: 1 });
  expect(await paged.toFloat32()).toEqual(await plain.toFloat32());
});

test.each([NaN, Infinity])(
  '%d in a key or value that one row sees and another does not',
  async (bad) => {
    const [S, H, D] = [130, 2, 16];
    const q = tensor(normals(3 * H * D, 1), [1, 3, H, D]);
    const [k, v] = [normals(S * H * D, 2), normals(S * H * D, 3)];
    const make = (x: Float32Array) => tensor(x, [1, S, H, D]);
    const plain = await flashAttention(q, make(k), make(v), { causal: true }).toFloat32();
    const poison = (x: Float32Array) => x.map((e, at) => (at >= (S - 1) * H * D ? bad : e));
    const out = await flashAttention(q, make(poison(k)), make(poison(v)), {
      causal: true,
    }).toFloat32();
    expect(maxError(out.slice(0, 2 * H * D), plain.slice(0, 2 * H * D))).toBe(0);
    expect(out[2 * H * D]).toBeNaN();
  },
);
