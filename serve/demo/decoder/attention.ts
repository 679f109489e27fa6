import {
  flashAttentionVarlen,
  flashAttentionVarlenBackward,
  tensor,
  type Tensor,
} from 'flash-attention';
import type { Numbers } from './numbers.js';

/** Sequences one after the other, and how rows are cut into heads. */
export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Where sequences begin, and where the last one ends. */
  readonly cuSeqlens: Int32Array;
}

export interface AttentionPass {
  readonly out: Numbers;
  backward(dOut: Numbers): Promise<readonly [dq: Numbers, dk: Numbers, dv: Numbers]>;
}

/**
 * Causal attention within each sequence; q `[tokens, heads, headDim]`, k and v with kvHeads.
 */
export type Attention = (
  q: Numbers,
  k: Numbers,
  v: Numbers,
  shape: AttentionShape,
) => Promise<AttentionPass>;

/** Attention and its gradients by flash-attention, in float32. */
export const nativeAttention: Attention = async (q, k, v, shape) => {
  const { heads, kvHeads, headDim, cuSeqlens } = shape;
  const tokens = q.length / (heads * headDim);
  const upload = (rows: Numbers, count: number) => tensor(rows, [tokens, count, headDim]);
  const options = { causal: true, cuSeqlensQ: cuSeqlens, cuSeqlensK: cuSeqlens } as const;
  const inputs = { q: upload(q, heads), k: upload(k, kvHeads), v: upload(v, kvHeads) };
  const result = flashAttentionVarlen(inputs.q, inputs.k, inputs.v, {
    ...options,
    returnLse: true,
  });
  const state = { ...inputs, ...result };
  return {
    out: await floats(state.out),
    async backward(dOut) {
      const given = upload(dOut, heads);
      const { dq, dk, dv } = flashAttentionVarlenBackward(given, state, {
        ...options,
        deterministic: true,
      });
      const gradients = await Promise.all([floats(dq), floats(dk), floats(dv)]);
      for (const each of [given, dq, dk, dv, ...Object.values(state)]) each.dispose();
      return gradients as [Numbers, Numbers, Numbers];
    },
  };
};

const floats = (of: Tensor) => of.toFloat32();
