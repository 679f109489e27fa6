/**
 * Measures calls for scripts/gpu/bench.py: a request is a line of JSON, so is the answer. A time is
 * that of `calls` calls enqueued one after the other, by CUDA events around them, divided by their
 * number, as PyTorch is measured beside it. As many calls come before, to warm up.
 */
import { createInterface } from 'node:readline';
import {
  type DType,
  devices,
  flashAttention,
  flashAttentionBackward,
  quantize,
  randn,
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
  const call = () => [flashAttention(q.values, k.values, v.values, { causal, scales })];
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
    const call = () => [flashAttention(q, k, v, { causal })];
    return { inputs, call };
  }
  const { out, lse } = flashAttention(q, k, v, { causal, returnLse: true });
  const dOut = randn([batch, seqlenQ, heads, headDim], { seed: 4n, dtype });
  inputs.push(out, lse, dOut);
  const call = () => {
    const { dq, dk, dv } = flashAttentionBackward(dOut, { q, k, v, out, lse }, { causal });
    return [dq, dk, dv];
  };
  return { inputs, call };
}

const disposeAll = (tensors: readonly Tensor[]) => {
  for (const each of tensors) each.dispose();
};

/** A launch that was refused takes no time at all: only calls that leave numbers are worth one. */
async function expectNumbers(outputs: readonly Tensor[]): Promise<void> {
  for (const output of outputs) {
    const lastRow = output.shape.slice(0, -1).map((length) => [length - 1, length] as const);
    const values = await output.slice(...lastRow).toFloat32();
    if (!values.every(Number.isFinite) || values.every((x) => x === 0)) {
      throw new Error(`an output ends with ${values.slice(0, 4).join(', ')}`);
    }
  }
  disposeAll(outputs);
}

async function measure(request: Request): Promise<{ milliseconds: number }> {
  const { inputs, call } = prepare(request);
  for (let i = 1; i < request.calls; i++) disposeAll(call());
  await expectNumbers(call());
  const total = await timeOnDevice(() => {
    for (let i = 0; i < request.calls; i++) disposeAll(call());
  });
  await expectNumbers(call());
  disposeAll(inputs);
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
