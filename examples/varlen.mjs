// Sequences of different lengths in one call, packed end to end: no padding, no mask.
//
//   node examples/varlen.mjs
import { flashAttention, flashAttentionVarlen, randn } from 'flash-attention';

const lengths = [37, 512, 5, 240];
const starts = [0]; // where each sequence begins, and the end: 0, 37, 549, 554, 794
for (const length of lengths) starts.push(starts.at(-1) + length);
const total = starts.at(-1);

const [heads, headDim] = [8, 64];
const q = randn([total, heads, headDim], { seed: 1n });
const k = randn([total, heads, headDim], { seed: 2n });
const v = randn([total, heads, headDim], { seed: 3n });

const packed = await flashAttentionVarlen(q, k, v, {
  cuSeqlensQ: starts,
  cuSeqlensK: starts,
  causal: true,
}).toFloat32(); // [total, heads, headDim]

// One by one, for comparison.
let difference = 0;
for (let n = 0; n < lengths.length; n++) {
  const one = (t) => t.slice([starts[n], starts[n + 1]]).reshape([1, lengths[n], heads, headDim]);
  const alone = await flashAttention(one(q), one(k), one(v), { causal: true }).toFloat32();
  const from = starts[n] * heads * headDim;
  alone.forEach((x, i) => {
    difference = Math.max(difference, Math.abs(x - packed[from + i]));
  });
}
console.log(`${lengths.length} sequences, ${total} tokens, packed`);
console.log(difference < 1e-5 ? 'the same as one by one' : `off by ${difference}`);
