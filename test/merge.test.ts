import {
  type AttentionResult,
  flashAttention,
  mergeAttentionStates,
  randn,
  tensor,
  zeros,
} from '../lib/index.js';
import { maxError } from './support/numerics.js';

const [B, Sq, Sk, H, Hkv, D] = [2, 9, 50, 4, 2, 32];

describe.each(['bshd', 'bhsd'] as const)('%s', (layout) => {
  const axis = layout === 'bshd' ? 1 : 2;
  const make = (s: number, h: number, seed: bigint, dtype: 'float32' | 'bfloat16') =>
    randn(layout === 'bshd' ? [B, s, h, D] : [B, h, s, D], { seed, dtype });

  test.each([
    ['float32', 2e-6],
    ['bfloat16', 2e-2],
  ] as const)(
    'attention over parts of the keys merges to attention over all, %s',
    async (dtype, tolerance) => {
      const q = make(Sq, H, 1n, dtype);
      const k = make(Sk, Hkv, 2n, dtype);
      const v = make(Sk, Hkv, 3n, dtype);
      const whole = flashAttention(q, k, v, { layout, returnLse: true });
      const cuts = [0, 1, 17, 17, 50];
      const states: AttentionResult[] = [];
      for (let i = 0; i + 1 < cuts.length; i++) {
        const range = [cuts[i], cuts[i + 1]] as const;
        const ranges = axis === 1 ? [null, range] : [null, null, range];
        states.push(
          flashAttention(q, k.slice(...ranges), v.slice(...ranges), { layout, returnLse: true }),
        );
      }
      const merged = mergeAttentionStates(states, { layout });
      expect(merged.out).toMatchObject({ shape: whole.out.shape, dtype });
      expect(merged.lse).toMatchObject({ shape: [B, H, Sq], dtype: 'float32' });
      expect(maxError(await merged.out.toFloat32(), await whole.out.toFloat32())).toBeLessThan(
        tolerance,
      );
      expect(maxError(await merged.lse.toFloat32(), await whole.lse.toFloat32())).toBeLessThan(
        1e-5,
      );
    },
  );
});

test('one state merges to itself, an empty one changes nothing, nothing stays nothing', async () => {
  const q = randn([1, 3, 2, 16], { seed: 1n });
  const state = flashAttention(q, q, q, { returnLse: true });
  const nothing = flashAttention(q, zeros([1, 0, 2, 16]), zeros([1, 0, 2, 16]), {
    returnLse: true,
  });
  const values = await state.out.data();
  expect(await mergeAttentionStates([state]).out.data()).toEqual(values);
  expect(await mergeAttentionStates([nothing, state, nothing]).out.data()).toEqual(values);
  const empty = mergeAttentionStates([nothing, nothing]);
  expect([...(await empty.out.toFloat32())]).toEqual(new Array(96).fill(0));
  expect([...(await empty.lse.toFloat32())]).toEqual(new Array(6).fill(-Infinity));
});

test('takes strided states', async () => {
  const q = randn([1, 5, 2, 16], { seed: 1n });
  const a = flashAttention(q, q, q, { returnLse: true });
  const b = flashAttention(
    q,
    randn([1, 4, 2, 16], { seed: 2n }),
    randn([1, 4, 2, 16], { seed: 3n }),
    { returnLse: true },
  );
  const plain = mergeAttentionStates([a, b]);
  const turned = [a, b].map(({ out, lse }) => ({
    out: out.transpose(3, 2, 1, 0).contiguous().transpose(3, 2, 1, 0),
    lse: lse.transpose(2, 1, 0).contiguous().transpose(2, 1, 0),
  }));
  const merged = mergeAttentionStates(turned);
  expect(await merged.out.data()).toEqual(await plain.out.data());
  expect(await merged.lse.data()).toEqual(await plain.lse.data());
});

test('by hand: weights are exp(lse - total)', async () => {
  const out = (x: number) => tensor([x], [1, 1, 1, 1]);
  const lse = (x: number) => tensor([x], [1, 1, 1]);
  const merged = mergeAttentionStates([
    { out: out(1), lse: lse(Math.log(1)) },
    { out: out(5), lse: lse(Math.log(3)) },
  ]);
  expect((await merged.out.toFloat32())[0]).toBeCloseTo(4, 5);
  expect((await merged.lse.toFloat32())[0]).toBeCloseTo(Math.log(4), 5);
});
