import { type Layout, randn, type Tensor } from '../lib/index.js';
import type { FloatDType } from './context.js';
import type { Numbers } from './oracle.js';
import type { AttentionShape } from './shape.js';

/** q, k and v on the CPU device. */
export interface Inputs {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly layout: Layout;
}

function axes(layout: Layout, batch: number, seqlen: number, heads: number, headDim: number) {
  return layout === 'bshd' ? [batch, seqlen, heads, headDim] : [batch, heads, seqlen, headDim];
}

/** Standard normal numbers; the same for the same shape. */
export function randomInputs(shape: AttentionShape, layout: Layout): Inputs {
  const { batch, heads, kvHeads, seqlenQ, seqlenK, headDim } = shape;
  const keys = axes(layout, batch, seqlenK, kvHeads, headDim);
  return {
    q: randn(axes(layout, batch, seqlenQ, heads, headDim), { seed: 1n, device: 'cpu' }),
    k: randn(keys, { seed: 2n, device: 'cpu' }),
    v: randn(keys, { seed: 3n, device: 'cpu' }),
    layout,
  };
}

export function converted({ q, k, v, layout }: Inputs, dtype: FloatDType): Inputs {
  return { q: q.to(dtype), k: k.to(dtype), v: v.to(dtype), layout };
}

/** The same numbers in the other order of axes. */
export function relaid({ q, k, v, layout }: Inputs): Inputs {
  const swap = (tensor: Tensor) => tensor.transpose(0, 2, 1, 3).contiguous();
  return { q: swap(q), k: swap(k), v: swap(v), layout: layout === 'bshd' ? 'bhsd' : 'bshd' };
}

export async function numbersOf({ q, k, v, layout }: Inputs): Promise<Numbers> {
  return { q: await q.toFloat32(), k: await k.toFloat32(), v: await v.toFloat32(), layout };
}

export function disposeInputs({ q, k, v }: Inputs): void {
  for (const tensor of [q, k, v]) tensor.dispose();
}
