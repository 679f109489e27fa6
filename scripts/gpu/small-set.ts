/**
 * A few calls of every kernel, for tools that slow a GPU down a hundredfold (compute-sanitizer): every dtype, plain and with
 * options, forward and backward, split keys, variable lengths, pages, conversions, float8 where it runs.
 */
import {
  defaultDevice,
  dequantize,
  devices,
  flashAttention,
  flashAttentionBackward,
  flashAttentionPaged,
  flashAttentionVarlen,
  mergeAttentionStates,
  quantize,
  randn,
  synchronize,
  tensor,
} from '../../lib/index.js';

const dtypes = ['float16', 'bfloat16', 'float32'] as const;
let calls = 0;
for (const dtype of dtypes) {
  for (const headDim of [64, 128, 40]) {
    const make = (seed: bigint, ...shape: number[]) => randn(shape, { seed, dtype });
    const q = make(1n, 1, 150, 4, headDim);
    const k = make(2n, 1, 203, 2, headDim);
    const v = make(3n, 1, 203, 2, headDim);
    const sinks = tensor([0, 1, -1, 0.5], [4]);
    for (const options of [
      {},
      { causal: true },
      { causal: true, softcap: 5, sinks, dropout: { p: 0.2, seed: 1n } },
      { numSplits: 2 },
    ]) {
      const state = flashAttention(q, k, v, { ...options, returnLse: true });
      mergeAttentionStates([state, state]);
      const forward = { q, k, v, ...state };
      for (const deterministic of [false, true]) {
        flashAttentionBackward(make(4n, 1, 150, 4, headDim), forward, {
          ...options,
          deterministic,
        });
        calls += 1;
      }
    }
    const cuSeqlensQ = [0, 20, 20, 100];
    const cuSeqlensK = [0, 50, 60, 203];
    flashAttentionVarlen(
      make(5n, 100, 4, headDim),
      k.reshape([203, 2, headDim]),
      v.reshape([203, 2, headDim]),
      {
        cuSeqlensQ,
        cuSeqlensK,
        causal: true,
      },
    );
    const pages = make(6n, 6, 16, 2, headDim);
    flashAttentionPaged(make(7n, 2, 1, 4, headDim), pages, pages, {
      pageTable: tensor(Int32Array.of(3, 0, 5, 1), [2, 2]),
      seqlensK: [30, 17],
    });
    await q.transpose(0, 2, 1, 3).to('float32').toFloat32();
  }
}
const { kernels } = devices().find(({ name }) => name === defaultDevice()) ?? { kernels: [] };
for (const headDim of [64, 128, 256]) {
  const make = (seed: bigint, seqlen: number, heads: number) =>
    randn([1, seqlen, heads, headDim], { seed, dtype: 'bfloat16' });
  const rotated = { hadamard: { seed: 1n } };
  const q = quantize(make(8n, 150, 4), 'float8_e4m3', rotated);
  const k = quantize(make(9n, 203, 2), 'float8_e4m3', rotated);
  const v = quantize(make(10n, 203, 2), 'float8_e4m3', { per: 'head' });
  dequantize(k);
  if (!kernels.includes('sm90.forward.float8')) continue;
  const scales = { q: q.scales, k: k.scales, v: v.scales };
  for (const causal of [false, true]) {
    flashAttention(q.values, k.values, v.values, { scales, causal });
  }
}
await synchronize();
console.log(`small set: ${calls} backward calls and what belongs to them have run`);
