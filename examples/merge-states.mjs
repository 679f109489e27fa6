// Attention over keys that lie in different places, exactly: attend to each part, then merge the
// parts by their log-sum-exp. So a long prompt shared by many requests is attended to once for all
// of them.
//
//   node examples/merge-states.mjs
import { flashAttention, mergeAttentionStates, randn } from 'flash-attention';

const [heads, headDim] = [8, 64];
const q = randn([1, 16, heads, headDim], { seed: 1n });
const k = randn([1, 3000, heads, headDim], { seed: 2n });
const v = randn([1, 3000, heads, headDim], { seed: 3n });

const part = (start, end) => {
  const rows = (t) => t.slice(null, [start, end]); // a view
  return flashAttention(q, rows(k), rows(v), { returnLse: true });
};
const merged = mergeAttentionStates([part(0, 2048), part(2048, 2900), part(2900, 3000)]);

const whole = await flashAttention(q, k, v).toFloat32();
const parts = await merged.out.toFloat32();
const difference = whole.reduce((most, x, i) => Math.max(most, Math.abs(x - parts[i])), 0);
console.log('3,000 keys in three parts, merged');
console.log(difference < 1e-5 ? 'the same as in one piece' : `off by ${difference}`);
