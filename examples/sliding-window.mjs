// Two ways to attend to less than everything. A window with attention sinks (StreamingLLM): each
// token sees the 256 before it and the first 4. A block mask says the same of whole blocks, and any
// pattern.
//
//   node examples/sliding-window.mjs
import { BlockMask, explain, flashAttention, randn } from 'flash-attention';

const seqlen = 2048;
const q = randn([1, seqlen, 4, 64], { seed: 1n });
const k = randn([1, seqlen, 4, 64], { seed: 2n });
const v = randn([1, seqlen, 4, 64], { seed: 3n });

const windowed = { causal: true, window: [256, 0], sinkTokens: 4 };
const full = explain(q, k, v, { causal: true });
const plan = explain(q, k, v, windowed);
console.log(`window: ${Math.round((100 * plan.flops) / full.flops)} % of the work of full causal`);

// Blocks of 128 x 128: those that the window touches. Within them, the options above decide.
const count = seqlen / 128;
const blocks = Array.from({ length: count }, (_, i) =>
  Array.from({ length: count }, (_, j) => j === 0 || (j <= i && j >= i - 2)),
);
const blockMask = BlockMask.from(blocks, 128);

const [a, b] = await Promise.all([
  flashAttention(q, k, v, windowed).toFloat32(),
  flashAttention(q, k, v, { ...windowed, blockMask }).toFloat32(),
]);
const difference = a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);
console.log(difference < 1e-5 ? 'the same with a block mask' : `off by ${difference}`);
