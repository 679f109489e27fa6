// Decoding with multi-head latent attention (MLA; DeepSeek-V2, 2024, section 2.1). The cache keeps
// one latent c of a token for all heads, and a few rotated numbers. Keys and values are W_UK c and
// W_UV c, and never made. A score is q_nope · (W_UK c) = (W_UK^T q_nope) · c, so W_UK is absorbed
// by the query; a result is sum p (W_UV c) = W_UV (sum p c), so W_UV comes after attention.
//
//   node examples/mla-decode.mjs
import { flashAttention, randn, tensor } from 'flash-attention';
import { applyRotary, KvCache } from 'flash-attention/serving';

// The sizes of a model, by the names in its configuration. DeepSeek-V2 has 128, 512, 128, 64, 128.
const [heads, kvLoraRank, qkNope, qkRope, vHead] = [8, 128, 32, 16, 32];
const latentDim = kvLoraRank + qkRope;
const scale = 1 / Math.sqrt(qkNope + qkRope); // of the heads before they were absorbed
const [prompt, tokens] = [60, 64];

let seed = 1n;
const random = async (shape, size = 1) => {
  const values = await randn(shape, { seed: seed++ }).toFloat32();
  return values.map((x) => size * x);
};
const wUk = await random([heads, qkNope, kvLoraRank], kvLoraRank ** -0.5);
const wUv = await random([heads, vHead, kvLoraRank], kvLoraRank ** -0.5);
// What the model's projections give for all tokens: q_nope, q_pe, c and k_pe.
const qNope = await random([tokens, heads, qkNope]);
const qPe = await random([tokens, heads, qkRope]);
const c = await random([tokens, kvLoraRank]);
const kPe = await random([tokens, qkRope]);

/** Row by row, what stands left beside what stands right. */
function beside(left, leftDim, right, rightDim) {
  const width = leftDim + rightDim;
  const rows = new Float32Array((left.length / leftDim) * width);
  for (let row = 0; row * width < rows.length; row++) {
    rows.set(left.subarray(row * leftDim, (row + 1) * leftDim), row * width);
    rows.set(right.subarray(row * rightDim, (row + 1) * rightDim), row * width + leftDim);
  }
  return rows;
}

/** For each token and head x W, or x W^T; W [heads, rows, columns]. x of one head serves all. */
function project(x, count, w, [rows, columns], { transposed = false, ofAll = false } = {}) {
  const [from, to] = transposed ? [columns, rows] : [rows, columns];
  const y = new Float32Array(count * heads * to);
  for (let n = 0; n < count * heads; n++) {
    const [h, row] = [n % heads, ofAll ? Math.floor(n / heads) : n];
    for (let j = 0; j < to; j++) {
      let sum = 0;
      for (let i = 0; i < from; i++) {
        const [r, column] = transposed ? [j, i] : [i, j];
        sum += x[row * from + i] * w[(h * rows + r) * columns + column];
      }
      y[n * to + j] = sum;
    }
  }
  return y;
}

const angle = (n) => Math.floor(n / (qkRope / 2)) * 1e4 ** (-(n % (qkRope / 2)) / (qkRope / 2));
const table = (of) =>
  tensor(
    Float32Array.from({ length: (tokens * qkRope) / 2 }, (_, n) => of(angle(n))),
    [tokens, qkRope / 2],
  );
const [cos, sin] = [table(Math.cos), table(Math.sin)];

// Absorbed, over a cache of latents.
const cache = new KvCache({
  ...{ layers: 1, numPages: 8, kvHeads: 1, headDim: latentDim, headDimV: kvLoraRank },
  latents: true,
});
const sequence = cache.createSequence();
const rotary = { cos, sin, rotaryOffset: kvLoraRank }; // the last numbers of a row turn
const absorbed = new Float32Array(tokens * heads * vHead);
for (let begin = 0, end = prompt; begin < tokens; begin = end++) {
  const part = (rows, width) => rows.subarray(begin * width, end * width);
  const count = end - begin;
  const folded = project(part(qNope, heads * qkNope), count, wUk, [qkNope, kvLoraRank]);
  const q = beside(folded, kvLoraRank, part(qPe, heads * qkRope), qkRope);
  const latents = beside(part(c, kvLoraRank), kvLoraRank, part(kPe, qkRope), qkRope);
  const step = cache.step([{ sequence, tokens: count }]);
  const out = step.attention(0, q, latents, undefined, { scale, rotary, sync: true });
  step.commit();
  const sizes = [vHead, kvLoraRank];
  absorbed.set(project(out, count, wUv, sizes, { transposed: true }), begin * heads * vHead);
}

// The same with keys and values of every head, as a cache without latents would keep them.
const made = { transposed: true, ofAll: true };
const turned = async (rows, count) =>
  applyRotary(tensor(rows, [tokens, count, qkRope]), { cos, sin }).toFloat32();
const kNope = project(c, tokens, wUk, [qkNope, kvLoraRank], made);
const oneKey = await turned(kPe, 1);
const keyOfHeads = Float32Array.from(
  { length: tokens * heads * qkRope },
  (_, i) => oneKey[Math.floor(i / heads / qkRope) * qkRope + (i % qkRope)],
);
const heads4d = (rows, dim) => tensor(rows, [1, tokens, heads, dim]);
const dim = qkNope + qkRope;
const expected = await flashAttention(
  heads4d(beside(qNope, qkNope, await turned(qPe, heads), qkRope), dim),
  heads4d(beside(kNope, qkNope, keyOfHeads, qkRope), dim),
  heads4d(project(c, tokens, wUv, [vHead, kvLoraRank], made), vHead),
  { scale, causal: true },
).toFloat32();

const perToken = cache.stats().bytes / (cache.stats().pages * 16);
console.log(`${tokens} tokens, ${tokens - prompt} of them decoded one by one`);
const apart = 4 * heads * (dim + vHead);
console.log(`a token takes ${perToken} bytes; keys and values of every head, ${apart}`);
const difference = expected.reduce((most, x, i) => Math.max(most, Math.abs(x - absorbed[i])), 0);
console.log(`greatest difference ${difference.toExponential(1)}`);
console.log(difference < 1e-5 ? 'the same as with keys and values of every head' : 'not the same');
