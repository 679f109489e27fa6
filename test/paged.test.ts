import {
  flashAttention,
  flashAttentionPaged,
  type PagedAttentionOptions,
  randn,
  type Tensor,
  tensor,
} from '../lib/index.js';
import { maxError } from './support/numerics.js';

const [B, Sq, H, Hkv, D, Dv] = [3, 6, 4, 2, 40, 24];
const lengths = [37, 0, 16];

/** Dense keys or values cut into shuffled pages; unused rows and pages hold NaN. */
async function paged(
  dense: Tensor,
  pageSize: number,
  pages: number,
  table: number[][],
): Promise<Tensor> {
  const [, seqlen, heads, dim] = dense.shape;
  const data = await dense.toFloat32();
  const row = heads * dim;
  const result = new Float32Array(pages * pageSize * row).fill(Number.NaN);
  for (let b = 0; b < B; b++) {
    for (let j = 0; j < lengths[b]; j++) {
      const page = table[b][Math.floor(j / pageSize)];
      const source = (b * seqlen + j) * row;
      result.set(data.subarray(source, source + row), (page * pageSize + (j % pageSize)) * row);
    }
  }
  return tensor(result, [pages, pageSize, heads, dim]).to(dense.dtype);
}

describe.each([1, 3, 16, 64])('pages of %i', (pageSize) => {
  const perSequence = Math.ceil(40 / pageSize) + 1;
  const pages = B * perSequence + 2;
  const table = Array.from({ length: B }, (_, b) =>
    Array.from({ length: perSequence }, (_, i) => (1 + (b * perSequence + i) * 7919) % pages),
  );

  test.each<[string, Partial<PagedAttentionOptions>]>([
    ['plain', {}],
    ['causal', { causal: true }],
    ['window, sink tokens, softcap', { window: [9, 0], sinkTokens: 3, softcap: 2 }],
    ['splits', { numSplits: 3 }],
    ['bhsd', { layout: 'bhsd' }],
  ])('%s: equals dense', async (_, options) => {
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const q = randn([B, Sq, H, D], { seed: 1n, dtype });
      const k = randn([B, 40, Hkv, D], { seed: 2n, dtype });
      const v = randn([B, 40, Hkv, Dv], { seed: 3n, dtype });
      const { layout = 'bshd', ...rest } = options;
      const dense = flashAttention(q, k, v, { ...rest, seqlensK: lengths, returnLse: true });
      const { out, lse } = flashAttentionPaged(
        layout === 'bshd' ? q : q.transpose(0, 2, 1, 3),
        await paged(k, pageSize, pages, table),
        await paged(v, pageSize, pages, table),
        {
          ...options,
          pageTable: tensor(Int32Array.from(table.flat()), [B, perSequence]),
          seqlensK: tensor(Int32Array.from(lengths), [B]),
          returnLse: true,
        },
      );
      expect(out.shape).toEqual(layout === 'bshd' ? [B, Sq, H, Dv] : [B, H, Sq, Dv]);
      const bshd = layout === 'bshd' ? out : out.transpose(0, 2, 1, 3);
      const tolerance = dtype === 'float32' ? 2e-6 : 2e-2;
      expect(maxError(await bshd.toFloat32(), await dense.out.toFloat32())).toBeLessThan(tolerance);
      expect(maxError(await lse.toFloat32(), await dense.lse.toFloat32())).toBeLessThan(1e-5);
    }
  });
});

test('sequences may share pages', async () => {
  const q = randn([2, 3, 2, 16], { seed: 1n });
  const pages = randn([4, 8, 2, 16], { seed: 2n });
  const pageTable = tensor(Int32Array.of(0, 1, 0, 2), [2, 2]);
  const out = await flashAttentionPaged(q, pages, pages, {
    pageTable,
    seqlensK: [16, 16],
  }).toFloat32();
  const first = pages.slice([0, 2]).reshape([1, 16, 2, 16]);
  const alone = await flashAttention(q.slice([0, 1]), first, first).toFloat32();
  expect(maxError(out.slice(0, alone.length), alone)).toBeLessThan(1e-6);
});

test('a mask and a strided page table', async () => {
  const q = randn([2, 3, 2, 16], { seed: 1n });
  const pages = randn([4, 8, 2, 16], { seed: 2n });
  const wide = tensor(Int32Array.of(3, 99, 1, 99, 0, 99, 2, 99), [2, 4]);
  const columns = wide.reshape([2, 2, 2]).slice(null, null, [0, 1]).reshape([2, 2]);
  const mask = tensor(
    Uint8Array.from({ length: 48 }, (_, i) => (i % 3 ? 1 : 0)),
    [3, 16],
    { dtype: 'bool' },
  );
  const out = flashAttentionPaged(q, pages, pages, {
    pageTable: columns,
    seqlensK: [16, 11],
    mask,
  });
  const plain = tensor(Int32Array.of(3, 1, 0, 2), [2, 2]);
  const same = flashAttentionPaged(q, pages, pages, { pageTable: plain, seqlensK: [16, 11], mask });
  expect(await out.data()).toEqual(await same.data());
  const dense = pages.slice([3, 4]);
  const first = tensor(
    [...(await dense.toFloat32()), ...(await pages.slice([1, 2]).toFloat32())],
    [1, 16, 2, 16],
  );
  const alone = await flashAttention(q.slice([0, 1]), first, first, { mask }).toFloat32();
  expect(maxError((await out.toFloat32()).slice(0, alone.length), alone)).toBeLessThan(1e-6);
});
