// Global memory over blocks: a token attends to its own block, and to one summary key and value of
// every block before it. Both parts are exact attention, merged exactly by their log-sum-exp; what
// is given up is what a summary leaves out.
//
//   node examples/global-memory.mjs
import { concat, flashAttention, mergeAttentionStates, randn, tensor } from 'flash-attention';

const [seqlen, block, heads, headDim] = [2048, 128, 4, 64];
const blocks = seqlen / block;
const [q, k, v] = [1n, 2n, 3n].map((seed) => randn([1, seqlen, heads, headDim], { seed }));

/** [1, seqlen, …] as a batch of blocks: a view. */
const inBlocks = (x) => x.reshape([blocks, block, heads, headDim]);

/** The mean of each block's rows, [1, blocks, heads, headDim]: attention with scores that are 0. */
function summaries(x) {
  const query = inBlocks(x).slice(null, [0, 1]);
  const means = flashAttention(query, inBlocks(x), inBlocks(x), { scale: 0 });
  return means.reshape([1, blocks, heads, headDim]);
}
const [kGlobal, vGlobal] = [summaries(k), summaries(v)];

// 1. In the block, causally: the blocks are a batch.
const local = flashAttention(inBlocks(q), inBlocks(k), inBlocks(v), {
  causal: true,
  returnLse: true,
});

// 2. Over the summaries of the blocks before. Query i sees summary g iff g < floor(i / block).
const sees = (i, g) => g < Math.floor(i / block);
const pairs = (rows, columns, test) =>
  tensor(
    Uint8Array.from({ length: rows * columns }, (_, n) =>
      Number(test(Math.floor(n / columns), n % columns)),
    ),
    [rows, columns],
    { dtype: 'bool' },
  );
const memory = flashAttention(q, kGlobal, vGlobal, {
  mask: pairs(seqlen, blocks, sees),
  returnLse: true,
});

// 3. Put together. The lse of a batch of blocks, [blocks, heads, block], is that of a sequence.
const state = {
  out: local.out.reshape(q.shape),
  lse: local.lse.transpose(1, 0, 2).contiguous().reshape([1, heads, seqlen]),
};
const merged = await mergeAttentionStates([state, memory]).out.toFloat32();

// The same in one call, over all keys and summaries, with a mask of every pair.
const all = pairs(seqlen, seqlen + blocks, (i, j) => {
  if (j >= seqlen) return sees(i, j - seqlen);
  return j <= i && Math.floor(j / block) === Math.floor(i / block);
});
const whole = flashAttention(q, concat([k, kGlobal], 1), concat([v, vGlobal], 1), { mask: all });
const expected = await whole.toFloat32();
const most = (x, y) => x.reduce((max, value, n) => Math.max(max, Math.abs(value - y[n])), 0);
const difference = most(merged, expected);

// What the summaries leave out.
const exact = await flashAttention(q, k, v, { causal: true }).toFloat32();
const pairsOf = { memory: 0, exact: (seqlen * (seqlen + 1)) / 2 };
for (let i = 0; i < seqlen; i++) pairsOf.memory += (i % block) + 1 + Math.floor(i / block);

console.log(`${seqlen} tokens in ${blocks} blocks, each with a summary`);
console.log(`${pairsOf.memory} pairs a head instead of ${pairsOf.exact}`);
console.log(difference < 1e-5 ? 'the same as one call with a mask' : `off by ${difference}`);
console.log(`and ${most(merged, exact).toFixed(2)} at most from attention to all keys`);
