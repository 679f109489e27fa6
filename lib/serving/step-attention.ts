import type { AttentionResult, ReturnLse } from '../attention/options.js';
import { release } from '../attention/problem.js';
import { type NativeTensor, native } from '../native/addon.js';
import { enqueued } from '../native/call-options.js';
import { call, fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkTensor } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import { isTensor, liveHandle, newTensor, type Tensor } from '../tensor/tensor.js';
import { checkAttached, isFloat32Array } from '../tensor/tensor-data.js';
import type { PageMemory, PageShape } from './page-memory.js';
import type { PreparedStep } from './prepared-step.js';
import { type StepAttentionOptions, type Sync, stepNames } from './step-options.js';

/** Rows of a layer, where they are or as numbers. */
export type LayerRows<D extends DType = DType> =
  | Tensor<D>
  | ('float32' extends D ? Float32Array : never);

/** What a layer gives that was computed in place. */
export interface SyncResult {
  readonly out: Float32Array<ArrayBuffer>;
  readonly lse: Float32Array<ArrayBuffer>;
}

export type LayerResult = Tensor | AttentionResult | Float32Array<ArrayBuffer> | SyncResult;

/** One layer of a step: see {@link Step.attention}. */
export function attendLayer(
  step: PreparedStep,
  memory: PageMemory,
  layer: number,
  rows: readonly [q: LayerRows, k: LayerRows, v: LayerRows | undefined],
  options: (StepAttentionOptions & ReturnLse & Sync) | undefined,
): LayerResult {
  const { device } = memory.shape;
  const q = checkRows(rows[0], 'q', device);
  const k = checkRows(rows[1], 'k', device);
  const v = checkValues(rows[2], 'v', memory.shape);
  const temporaries: Tensor[] = [];
  try {
    const { handle, positions, returnLse, sync, signal } = memory.options.prepare(
      options,
      temporaries,
    );
    const { kPages, vPages, kScales, vScales } = memory.layer(layer);
    const pages = [
      liveHandle(kPages),
      liveHandle(vPages),
      kScales && liveHandle(kScales),
      vScales && liveHandle(vScales),
    ] as const;
    const run = <Value extends boolean>(inPlace: Value) =>
      call(
        () =>
          native().stepAttention(
            step.handle,
            ...pages,
            q,
            k,
            v,
            handle,
            positions,
            returnLse,
            inPlace,
          ),
        stepNames,
      );
    if (sync) {
      const [out, lse] = enqueued({ signal }, () => run(true));
      return lse === null ? out : { out, lse };
    }
    const [out, lse] = enqueued({ signal }, () => run(false));
    const axes = step.resultAxes(headsOf(rows[0], step, memory));
    const dtype = isTensor(rows[0]) ? rows[0].dtype : 'float32';
    const outTensor = newTensor(out, dtype, device, axes.out.shape, axes.out.strides);
    if (lse === null) return outTensor;
    return {
      out: outTensor,
      lse: newTensor(lse, 'float32', device, axes.lse.shape, axes.lse.strides),
    };
  } finally {
    release(temporaries);
  }
}

/** Of q that a layer was computed with. */
function headsOf(q: LayerRows, { totalTokens }: PreparedStep, { shape }: PageMemory): number {
  return isTensor(q) ? q.shape[1] : q.length / (totalTokens * shape.headDim);
}

/** As {@link checkRows}, of v: a cache of latents takes none. */
export function checkValues(
  value: unknown,
  argument: string,
  { device, latents }: PageShape,
): NativeTensor | Float32Array | undefined {
  if (!latents) return checkRows(value, argument, device);
  if (value === undefined) return undefined;
  fail('ERR_TYPE', argument, 'undefined, for a cache of latents,', show(value));
}

/** Numbers are copied, or read before the call returns. */
export function checkRows(
  value: unknown,
  argument: string,
  device: string,
): NativeTensor | Float32Array {
  if (isFloat32Array(value)) {
    checkAttached(value, argument);
    return value;
  }
  if (!isTensor(value)) {
    const hint = 'Rows are [totalTokens, heads, headDim].';
    fail('ERR_TYPE', argument, 'a Tensor or a Float32Array', show(value), hint);
  }
  const tensor = checkTensor(value, argument);
  if (tensor.device !== device) {
    fail('ERR_DEVICE', argument, `on ${device}, like the cache,`, tensor.device);
  }
  return liveHandle(tensor);
}
