import type { DeviceName, Tensor } from 'flash-attention';
import { tensor } from 'flash-attention';
import type { Step } from 'flash-attention/serving';
import type { CutLayer } from '../cutter/cut.js';

/** Rows of a part's results, one token behind the other. */
export interface Rows {
  /** `[total, heads * headDim]` */
  readonly q: Float32Array;
  /** `[total, kvHeads * headDim]` */
  readonly k: Float32Array;
  /** Likewise. */
  readonly v: Float32Array;
}

/** Appends keys and values of a layer and attends: `[total, heads * headDim]`. */
export type Attend = (step: Step, layer: number, rows: Rows) => Promise<Float32Array>;

/** What attention needs of a model on a device. Sinks stay there; they go with the process. */
export function attentionOn(device: DeviceName, layers: readonly CutLayer[]): Attend {
  const settings = layers.map(({ attention, sinks }) => {
    const { scale, softcap, window, heads, kvHeads, headDim } = attention;
    const options = {
      ...(scale === undefined ? {} : { scale }),
      ...(softcap === undefined ? {} : { softcap }),
      // A window counts the token itself; the later ones are cut off by causality.
      ...(window === undefined ? {} : { window: [window - 1, Infinity] as [number, number] }),
      ...(sinks === undefined ? {} : { sinks: tensor(sinks, [heads], { device }) }),
    };
    return { heads, kvHeads, headDim, options };
  });
  if (device === 'cpu') {
    // This thread is the engine's own: it computes, and copies nothing.
    return async (step, layer, { q, k, v }) =>
      step.attention(layer, q, k, v, { ...settings[layer].options, sync: true });
  }
  return async (step, layer, { q, k, v }) => {
    const { heads, kvHeads, headDim, options } = settings[layer];
    const total = step.totalTokens;
    const tensors: Tensor[] = [];
    const upload = (data: Float32Array, count: number) => {
      const made = tensor(data, [total, count, headDim], { device });
      tensors.push(made);
      return made;
    };
    try {
      const inputs = [upload(q, heads), upload(k, kvHeads), upload(v, kvHeads)] as const;
      const out = step.attention(layer, ...inputs, options);
      return (await out.take()) as Float32Array;
    } finally {
      for (const each of tensors) each.dispose();
    }
  };
}
