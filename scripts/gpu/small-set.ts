/**
 * A few calls of every kernel, for tools that slow a GPU down a hundredfold (compute-sanitizer):
 * every dtype, plain and with options, split keys, variable lengths, pages, conversions, float8
 * where it runs. `forward` or `backward` runs that half.
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
  type Tensor,
  tensor,
} from '../../lib/index.js';

const [half] = process.argv.slice(2);
const dtypes = ['float16', 'bfloat16', 'float32'] as const;
let calls = 0;

/** Reading an output is what tells that the call was carried out. */
async function ran(...outputs: Tensor[]): Promise<void> {
  await outputs[0].data();
  for (const output of outputs) output.dispose();
  calls += 1;
}

/** Operands of one dtype and head dim, and the options they are called with. */
function* problems() {
  for (const dtype of dtypes) {
    for (const headDim of [64, 128, 40]) {
      const make = (seed: bigint, ...shape: number[]) => randn(shape, { seed, dtype });
      const q = make(1n, 1, 150, 4, headDim);
      const k = make(2n, 1, 203, 2, headDim);
      const v = make(3n, 1, 203, 2, headDim);
      const sinks = tensor([0, 1, -1, 0.5], [4]);
      const options = [
        {},
        { causal: true },
        { causal: true, softcap: 5, sinks, dropout: { p: 0.2, seed: 1n } },
        { numSplits: 2 },
      ];
      yield { make, headDim, q, k, v, options };
    }
  }
}

async function forward(): Promise<void> {
  for (const { make, headDim, q, k, v, options } of problems()) {
    for (const each of options) {
      const state = flashAttention(q, k, v, { ...each, returnLse: true });
      const merged = mergeAttentionStates([state, state]);
      await ran(merged.out, merged.lse, state.out, state.lse);
    }
    const packed = [k, v].map((t) => t.reshape([203, 2, headDim]));
    await ran(
      flashAttentionVarlen(make(5n, 100, 4, headDim), packed[0], packed[1], {
        cuSeqlensQ: [0, 20, 20, 100],
        cuSeqlensK: [0, 50, 60, 203],
        causal: true,
      }),
    );
    const pages = make(6n, 6, 16, 2, headDim);
    await ran(
      flashAttentionPaged(make(7n, 2, 1, 4, headDim), pages, pages, {
        pageTable: tensor(Int32Array.of(3, 0, 5, 1), [2, 2]),
        seqlensK: [30, 17],
      }),
    );
    await ran(q.transpose(0, 2, 1, 3).to('float32'));
  }
  await float8();
}

async function float8(): Promise<void> {
  const { kernels } = devices().find(({ name }) => name === defaultDevice()) ?? { kernels: [] };
  for (const headDim of [64, 128, 256]) {
    const make = (seed: bigint, seqlen: number, heads: number) =>
      randn([1, seqlen, heads, headDim], { seed, dtype: 'bfloat16' });
    const rotated = { hadamard: { seed: 1n } };
    const q = quantize(make(8n, 150, 4), 'float8_e4m3', rotated);
    const k = quantize(make(9n, 203, 2), 'float8_e4m3', rotated);
    const v = quantize(make(10n, 203, 2), 'float8_e4m3', { per: 'head' });
    await ran(dequantize(k));
    if (!kernels.includes('sm90.forward.float8')) continue;
    const scales = { q: q.scales, k: k.scales, v: v.scales };
    for (const causal of [false, true]) {
      await ran(flashAttention(q.values, k.values, v.values, { scales, causal }));
    }
  }
}

async function backward(): Promise<void> {
  for (const { make, headDim, q, k, v, options } of problems()) {
    const dOut = make(4n, 1, 150, 4, headDim);
    for (const each of options) {
      const state = flashAttention(q, k, v, { ...each, returnLse: true });
      for (const deterministic of [false, true]) {
        const given = { q, k, v, ...state };
        const { dq, dk, dv } = flashAttentionBackward(dOut, given, { ...each, deterministic });
        await ran(dq, dk, dv);
      }
    }
  }
}

if (half !== 'backward') await forward();
if (half !== 'forward') await backward();
console.log(`small set: ${calls} calls have run`);
