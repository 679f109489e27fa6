/**
 * Measures calls for scripts/gpu/bench.py: a request is a line of JSON, so is the answer. A time is that of `calls` calls
 * enqueued one after the other, by CUDA events around them, divided by their number, as PyTorch is measured beside it.
 */
import { createInterface } from 'node:readline';
import {
  type DType,
  devices,
  flashAttention,
  flashAttentionBackward,
  quantize,
  randn,
  synchronize,
  type Tensor,
  timeOnDevice,
  version,
} from '../../lib/index.js';

interface Request {
  readonly kind: 'forward' | 'backward';
  readonly batch: number;
  readonly seqlenQ: number;
  readonly seqlenK: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal: boolean;
  /** float8_e4m3: forward alone, of operands that are quantized beforehand. */
  readonly dtype: DType;
  readonly calls: number;
}

function prepareFloat8({ batch, seqlenQ, seqlenK, heads, kvHeads, headDim, causal }: Request) {
  const make = (seqlen: number, numHeads: number, seed: bigint, per: 'block' | 'head') => {
    const wide = randn([batch, seqlen, numHeads, headDim], { seed, dtype: 'bfloat16' });
    const narrow = quantize(wide, 'float8_e4m3', { per });
    wide.dispose();
    return narrow;
  };
  const q = make(seqlenQ, heads, 1n, 'block');
  const k = make(seqlenK, kvHeads, 2n, 'block');
  const v = make(seqlenK, kvHeads, 3n, 'head');
  const scales = { q: q.scales, k: k.scales, v: v.scales };
  const call = () => flashAttention(q.values, k.values, v.values, { causal, scales }).dispose();
  return { inputs: [q, k, v].flatMap(({ values, scales }) => [values, scales]), call };
}

function prepare(request: Request) {
  const { kind, batch, seqlenQ, seqlenK, heads, kvHeads, headDim, causal, dtype } = request;
  if (dtype === 'float8_e4m3') return prepareFloat8(request);
  const q = randn([batch, seqlenQ, heads, headDim], { seed: 1n, dtype });
  const k = randn([batch, seqlenK, kvHeads, headDim], { seed: 2n, dtype });
  const v = randn([batch, seqlenK, kvHeads, headDim], { seed: 3n, dtype });
  const inputs: Tensor[] = [q, k, v];
  if (kind === 'forward') {
    const call = () => flashAttention(q, k, v, { causal }).dispose();
    return { inputs, call };
  }
  const { out, lse } = flashAttention(q, k, v, { causal, returnLse: true });
  const dOut = randn([batch, seqlenQ, heads, headDim], { seed: 4n, dtype });
  inputs.push(out, lse, dOut);
  const call = () => {
    const { dq, dk, dv } = flashAttentionBackward(dOut, { q, k, v, out, lse }, { causal });
    for (const gradient of [dq, dk, dv]) gradient.dispose();
  };
  return { inputs, call };
}

async function measure(request: Request): Promise<{ milliseconds: number }> {
  const { inputs, call } = prepare(request);
  call();
  await synchronize();
  const total = await timeOnDevice(() => {
    for (let i = 0; i < request.calls; i++) call();
  });
  for (const input of inputs) input.dispose();
  return { milliseconds: total / request.calls };
}

const answer = (value: unknown) => console.log(JSON.stringify(value));
answer({ version, node: process.version, devices: devices() });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    answer(await measure(JSON.parse(line) as Request));
  } catch (error) {
    answer({ error: String(error) });
  }
}
