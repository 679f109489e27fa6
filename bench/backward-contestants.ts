// Everyone who computes gradients here. No onnxruntime: its packages for Node.js run inference
// only.
import {
  type AttentionGradients,
  flashAttention,
  flashAttentionBackward,
  synchronize,
  type Tensor,
} from '../lib/index.js';
import type { Work } from './contestants.js';
import type { FloatDType } from './context.js';
import type { Entrant } from './entrant.js';
import type { GradientNumbers, Gradients } from './gradient-oracle.js';
import { disposeInputs, type Inputs, numbersOf } from './inputs.js';
import { ours } from './row.js';
import type { AttentionShape } from './shape.js';

/** What a backward pass takes. */
export interface BackwardInputs extends Inputs {
  readonly out: Tensor;
  readonly lse: Tensor;
  readonly dOut: Tensor;
}

/** Runs the forward pass in the dtype of `inputs`, which now belong to the result. */
export function backwardInputs(
  { causal }: AttentionShape,
  inputs: Inputs,
  dOut: Tensor,
): BackwardInputs {
  const { q, k, v, layout } = inputs;
  const { out, lse } = flashAttention(q, k, v, { causal, layout, returnLse: true });
  return { ...inputs, out, lse, dOut: dOut.to(q.dtype) };
}

export function disposeBackwardInputs(inputs: BackwardInputs): void {
  disposeInputs(inputs);
  for (const tensor of [inputs.out, inputs.lse, inputs.dOut]) tensor.dispose();
}

export async function backwardNumbers(inputs: BackwardInputs): Promise<GradientNumbers> {
  const { out, lse, dOut, layout } = inputs;
  return {
    ...(await numbersOf(inputs)),
    out: await out.toFloat32(),
    lse: await lse.toFloat32(),
    dOut: await dOut.toFloat32(),
    layout,
  };
}

/** flashAttentionBackward through the public API; owns `inputs`. */
export function flashBackwardEntrant(
  { causal }: AttentionShape,
  inputs: BackwardInputs,
  work: Work,
  { read }: { read: boolean },
): Entrant<Gradients> {
  const { dOut, layout } = inputs;
  const dtype = inputs.q.dtype as FloatDType;
  const start = () => flashAttentionBackward(dOut, inputs, { causal, layout });
  const dispose = ({ dq, dk, dv }: AttentionGradients) => {
    for (const gradient of [dq, dk, dv]) gradient.dispose();
  };
  return {
    name: `${ours} ${dtype}`,
    dtype,
    layout,
    ...work,
    async call() {
      const gradients = start();
      const { dq, dk, dv } = gradients;
      await (read ? Promise.all([dq.take(), dk.take(), dv.take()]) : synchronize('cpu'));
      dispose(gradients);
    },
    async result() {
      const gradients = start();
      const [dq, dk, dv] = await Promise.all(
        [gradients.dq, gradients.dk, gradients.dv].map((gradient) => gradient.toFloat32()),
      );
      dispose(gradients);
      return { dq, dk, dv };
    },
    dispose: () => disposeBackwardInputs(inputs),
  };
}
