// Everyone who computes attention here, as entrants of one shape.
import { flashAttention, type Layout, synchronize, type Tensor } from '../lib/index.js';
import type { FloatDType } from './context.js';
import type { Entrant } from './entrant.js';
import { disposeInputs, type Inputs } from './inputs.js';
import type { OrtProblem } from './peers/onnx-graphs.js';
import type { OnnxRuntime } from './peers/onnxruntime.js';
import { ours } from './row.js';
import type { AttentionShape } from './shape.js';

/** What a time is judged by; see Entrant. */
export type Work = Pick<Entrant, 'flops' | 'bytes' | 'limit'>;

export const dtypeSize: Readonly<Record<FloatDType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
};

/** A call of the public API whose result is one tensor. */
export interface FlashCall {
  readonly dtype: FloatDType;
  readonly layout: Layout;
  attend(): Tensor;
  /** What it computed, as the oracle expects it; default: as it is. */
  result?(out: Tensor): Promise<Float32Array>;
  dispose(): void;
}

/** `call` with the result in JavaScript if `read`. */
export function callEntrant(
  { dtype, layout, attend, result = (out) => out.toFloat32(), dispose }: FlashCall,
  work: Work,
  { read, note = '' }: { read: boolean; note?: string },
): Entrant {
  return {
    name: `${ours} ${dtype}${note}`,
    dtype,
    layout,
    ...work,
    async call() {
      const out = attend();
      await (read ? out.take() : synchronize('cpu'));
      out.dispose();
    },
    result: () => result(attend()),
    dispose,
  };
}

/** flashAttention through the public API; owns `inputs`. */
export function flashEntrant(
  shape: AttentionShape,
  inputs: Inputs,
  work: Work,
  how: { read: boolean; note?: string },
): Entrant {
  const { q, k, v, layout } = inputs;
  const call: FlashCall = {
    dtype: q.dtype as FloatDType,
    layout,
    attend: () => flashAttention(q, k, v, { causal: shape.causal, layout }),
    dispose: () => disposeInputs(inputs),
  };
  return callEntrant(call, work, how);
}

/** An onnxruntime graph in float32. */
export async function ortEntrant(
  name: string,
  onnxRuntime: OnnxRuntime,
  { graph, feeds }: OrtProblem,
  layout: Layout,
  work: Work,
): Promise<Entrant> {
  const model = await onnxRuntime.load(graph, feeds);
  return {
    name: `onnxruntime ${name}`,
    dtype: 'float32',
    layout,
    ...work,
    call: () => model.run(),
    result: () => model.run(),
    dispose: () => model.dispose(),
  };
}

/** A peer in float32 that takes heads as planes. */
const planarPeer = { dtype: 'float32', layout: 'bhsd' } as const;

/**
 * This package's micro-kernels with the N x N matrices in memory: nativeStandard or
 * nativeStandardBackward.
 */
export function standardEntrant<Result>(run: () => Result, work: Work): Entrant<Result> {
  const call = async () => run();
  return { name: 'standard attention, our kernels', ...planarPeer, ...work, call, result: call };
}

/** Loops in JavaScript: naiveAttention or naiveAttentionBackward. */
export function javascriptEntrant<Result>(run: () => Result, work: Work): Entrant<Result> {
  const call = async () => run();
  return { name: 'plain JavaScript', ...planarPeer, ...work, rounds: 1, call, result: call };
}
