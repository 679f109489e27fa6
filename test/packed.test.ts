import {
  type AttentionOptions,
  flashAttention,
  flashAttentionKvPacked,
  flashAttentionQkvPacked,
  memory,
  randn,
  type Tensor,
} from '../lib/index.js';
import { settledMemory } from './support/gc.js';

const optionSets: AttentionOptions[] = [{}, { causal: true }, { window: [5, 2], softcap: 3 }];

/** One of the tensors stacked along `axis`, as a contiguous copy. */
function part(packed: Tensor, axis: number, index: number): Tensor {
  const ranges = packed.shape.map((_, i) => (i === axis ? ([index, index + 1] as const) : null));
  return packed
    .slice(...ranges)
    .contiguous()
    .reshape(packed.shape.filter((_, i) => i !== axis));
}

describe.each(['float32', 'bfloat16'] as const)('%s', (dtype) => {
  test('qkv packed gives what unpacked gives, bit for bit', async () => {
    for (const layout of ['bshd', 'bhsd'] as const) {
      const axis = layout === 'bshd' ? 2 : 1;
      const shape = layout === 'bshd' ? [2, 19, 3, 4, 40] : [2, 3, 4, 19, 40];
      const qkv = randn(shape, { seed: 1n, dtype });
      const [q, k, v] = [0, 1, 2].map((i) => part(qkv, axis, i));
      for (const options of optionSets) {
        const packed = flashAttentionQkvPacked(qkv, { ...options, layout, returnLse: true });
        const plain = flashAttention(q, k, v, { ...options, layout, returnLse: true });
        expect(packed.out.shape).toEqual(plain.out.shape);
        expect(await packed.out.data()).toEqual(await plain.out.data());
        expect(await packed.lse.data()).toEqual(await plain.lse.data());
        const alone = flashAttentionQkvPacked(qkv, { ...options, layout });
        expect(await alone.data()).toEqual(await plain.out.data());
      }
    }
  });

  test('kv packed gives what unpacked gives, bit for bit', async () => {
    for (const layout of ['bshd', 'bhsd'] as const) {
      const axis = layout === 'bshd' ? 2 : 1;
      const q = randn(layout === 'bshd' ? [2, 7, 4, 40] : [2, 4, 7, 40], { seed: 1n, dtype });
      const kv = randn(layout === 'bshd' ? [2, 19, 2, 2, 40] : [2, 2, 2, 19, 40], {
        seed: 2n,
        dtype,
      });
      const [k, v] = [0, 1].map((i) => part(kv, axis, i));
      for (const options of optionSets) {
        const packed = flashAttentionKvPacked(q, kv, { ...options, layout, returnLse: true });
        const plain = flashAttention(q, k, v, { ...options, layout, returnLse: true });
        expect(await packed.out.data()).toEqual(await plain.out.data());
        expect(await packed.lse.data()).toEqual(await plain.lse.data());
        const alone = flashAttentionKvPacked(q, kv, { ...options, layout });
        expect(await alone.data()).toEqual(await plain.out.data());
      }
    }
  });
});

test('leaves no views behind', async () => {
  const before = await settledMemory();
  using qkv = randn([1, 8, 3, 2, 16], { seed: 1n });
  flashAttentionQkvPacked(qkv).dispose();
  expect(memory().tensors).toBe(before.tensors + 1);
});

test('works on a strided packed tensor', async () => {
  const wide = randn([2, 9, 3, 4, 32], { seed: 4n });
  const qkv = wide.slice(null, [2, 7], null, [1, 3], [8, 24]);
  const direct = await flashAttentionQkvPacked(qkv).data();
  expect(await flashAttentionQkvPacked(qkv.contiguous()).data()).toEqual(direct);
});
