// The ways to compute attention with onnxruntime's CPU provider that are worth comparing with.
import type { AttentionShape } from '../shape.js';
import type { OnnxGraph, OnnxValue } from './onnx-model.js';
import type { Feed } from './onnxruntime.js';

export interface OrtProblem {
  readonly graph: OnnxGraph;
  readonly feeds: Readonly<Record<string, Feed>>;
}

/** float32 arrays in the order of axes that the operator wants. */
export interface Arrays {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/**
 * MultiHeadAttention over [batch, seqlen, heads * headDim]: a flash kernel when nothing is masked.
 */
export function multiHeadAttention(shape: AttentionShape, { q, k, v }: Arrays): OrtProblem {
  const { batch, heads, seqlenQ, seqlenK, headDim } = shape;
  const hidden = heads * headDim;
  const graph: OnnxGraph = {
    inputs: [
      { name: 'q', type: 'float32', shape: [batch, seqlenQ, hidden] },
      { name: 'k', type: 'float32', shape: [batch, seqlenK, hidden] },
      { name: 'v', type: 'float32', shape: [batch, seqlenK, hidden] },
    ],
    outputs: [{ name: 'out', type: 'float32', shape: [batch, seqlenQ, hidden] }],
    nodes: [
      {
        op: 'MultiHeadAttention',
        domain: 'com.microsoft',
        inputs: ['q', 'k', 'v'],
        outputs: ['out'],
        attributes: { num_heads: heads, unidirectional: shape.causal ? 1 : 0 },
      },
    ],
  };
  return { graph, feeds: { q, k, v } };
}

/** The same with keys beyond `lengths`, of the batch, as padding. */
export function paddedMultiHeadAttention(
  shape: AttentionShape,
  arrays: Arrays,
  lengths: readonly number[],
): OrtProblem {
  const { graph, feeds } = multiHeadAttention(shape, arrays);
  const [node] = graph.nodes;
  return {
    graph: {
      ...graph,
      inputs: [...graph.inputs, { name: 'lengths', type: 'int32', shape: [lengths.length] }],
      // Before them: a bias of q, k and v.
      nodes: [{ ...node, inputs: [...node.inputs, '', 'lengths'] }],
    },
    feeds: { ...feeds, lengths: Int32Array.from(lengths) },
  };
}

/** A float mask [batch, 1, 1, seqlenK] of what is padding, as servers make it. */
export function paddingMask(seqlenK: number, lengths: readonly number[]): Float32Array {
  const mask = new Float32Array(lengths.length * seqlenK);
  lengths.forEach((length, b) => {
    mask.fill(lowest, b * seqlenK + length, (b + 1) * seqlenK);
  });
  return mask;
}

/** What models add to scores that are to be hidden. */
const lowest = -3.4028234663852886e38;

/** ONNX's own Attention (operator set 23), over [batch, seqlen, heads * headDim]. */
export function onnxAttention(shape: AttentionShape, { q, k, v }: Arrays): OrtProblem {
  const { batch, heads, kvHeads, seqlenQ, seqlenK, headDim, causal } = shape;
  const graph: OnnxGraph = {
    inputs: [
      { name: 'q', type: 'float32', shape: [batch, seqlenQ, heads * headDim] },
      { name: 'k', type: 'float32', shape: [batch, seqlenK, kvHeads * headDim] },
      { name: 'v', type: 'float32', shape: [batch, seqlenK, kvHeads * headDim] },
    ],
    outputs: [{ name: 'out', type: 'float32', shape: [batch, seqlenQ, heads * headDim] }],
    nodes: [
      {
        op: 'Attention',
        inputs: ['q', 'k', 'v'],
        outputs: ['out'],
        attributes: { q_num_heads: heads, kv_num_heads: kvHeads, is_causal: causal ? 1 : 0 },
      },
    ],
  };
  return { graph, feeds: { q, k, v } };
}

/**
 * GroupQueryAttention, causal, over [batch, seqlen, heads * headDim] without a past. Its present
 * key and value are no outputs of the graph: the binding would copy them.
 */
export function groupQueryAttention(shape: AttentionShape, { q, k, v }: Arrays): OrtProblem {
  const { batch, heads, kvHeads, seqlenQ, seqlenK, headDim } = shape;
  const graph: OnnxGraph = {
    inputs: [
      { name: 'q', type: 'float32', shape: [batch, seqlenQ, heads * headDim] },
      { name: 'k', type: 'float32', shape: [batch, seqlenK, kvHeads * headDim] },
      { name: 'v', type: 'float32', shape: [batch, seqlenK, kvHeads * headDim] },
      { name: 'last', type: 'int32', shape: [batch] },
      { name: 'total', type: 'int32', shape: [1] },
    ],
    outputs: [{ name: 'out', type: 'float32', shape: [batch, seqlenQ, heads * headDim] }],
    nodes: [
      {
        op: 'GroupQueryAttention',
        domain: 'com.microsoft',
        inputs: ['q', 'k', 'v', '', '', 'last', 'total'],
        outputs: ['out', 'present_k', 'present_v'],
        attributes: { num_heads: heads, kv_num_heads: kvHeads },
      },
    ],
  };
  const last = new Int32Array(batch).fill(seqlenK - 1);
  return { graph, feeds: { q, k, v, last, total: Int32Array.of(seqlenK) } };
}

/**
 * The same for one new token: q [batch, 1, heads * headDim] against a cache [batch, kvHeads,
 * seqlenK, headDim] whose last key and value come in by `newK` and `newV`.
 */
export function groupQueryDecode(
  shape: AttentionShape,
  arrays: Arrays,
  newK: Float32Array,
  newV: Float32Array,
): OrtProblem {
  const { batch, heads, kvHeads, seqlenK, headDim } = shape;
  const past = [batch, kvHeads, seqlenK - 1, headDim];
  const graph: OnnxGraph = {
    inputs: [
      { name: 'q', type: 'float32', shape: [batch, 1, heads * headDim] },
      { name: 'k', type: 'float32', shape: [batch, 1, kvHeads * headDim] },
      { name: 'v', type: 'float32', shape: [batch, 1, kvHeads * headDim] },
      { name: 'past_k', type: 'float32', shape: past },
      { name: 'past_v', type: 'float32', shape: past },
      { name: 'last', type: 'int32', shape: [batch] },
      { name: 'total', type: 'int32', shape: [1] },
    ],
    outputs: [{ name: 'out', type: 'float32', shape: [batch, 1, heads * headDim] }],
    nodes: [
      {
        op: 'GroupQueryAttention',
        domain: 'com.microsoft',
        inputs: ['q', 'k', 'v', 'past_k', 'past_v', 'last', 'total'],
        outputs: ['out', 'present_k', 'present_v'],
        attributes: { num_heads: heads, kv_num_heads: kvHeads },
      },
    ],
  };
  const feeds = {
    q: arrays.q,
    k: newK,
    v: newV,
    past_k: arrays.k,
    past_v: arrays.v,
    last: new Int32Array(batch).fill(seqlenK - 1),
    total: Int32Array.of(seqlenK),
  };
  return { graph, feeds };
}

/** The same with the grown cache as results, which is what a caller has to feed in next. */
export function groupQueryStep(
  shape: AttentionShape,
  arrays: Arrays,
  newK: Float32Array,
  newV: Float32Array,
): OrtProblem {
  const { graph, feeds } = groupQueryDecode(shape, arrays, newK, newV);
  const { batch, kvHeads, seqlenK, headDim } = shape;
  const present = [batch, kvHeads, seqlenK, headDim];
  const outputs = ['present_k', 'present_v'].map(
    (name) => ({ name, type: 'float32', shape: present }) as const,
  );
  return { graph: { ...graph, outputs: [...graph.outputs, ...outputs] }, feeds };
}

/** The same with a cache in 8 bits, one scale for all keys and one for all values. */
export function quantizedGroupQueryStep(
  shape: AttentionShape,
  arrays: Arrays,
  newK: Float32Array,
  newV: Float32Array,
): OrtProblem {
  const { graph, feeds } = groupQueryStep(shape, arrays, newK, newV);
  const inCodes = (value: OnnxValue): OnnxValue =>
    /^(past|present)_/.test(value.name) ? { ...value, type: 'int8' } : value;
  const scales = ['k_scale', 'v_scale'].map(
    (name) => ({ name, type: 'float32', shape: [1] }) as const,
  );
  const [k, v] = [arrays.k, arrays.v].map(quantized);
  const [node] = graph.nodes;
  const per = 'PER_TENSOR';
  return {
    graph: {
      inputs: [...graph.inputs.map(inCodes), ...scales],
      outputs: graph.outputs.map(inCodes),
      nodes: [
        {
          ...node,
          // Before them: tables and positions of rotary embedding, a bias and sinks.
          inputs: [...node.inputs, '', '', '', '', '', 'k_scale', 'v_scale'],
          attributes: {
            ...node.attributes,
            k_quant_type: per,
            v_quant_type: per,
            kv_cache_bit_width: 8,
          },
        },
      ],
    },
    feeds: { ...feeds, past_k: k.codes, past_v: v.codes, k_scale: k.scale, v_scale: v.scale },
  };
}

function quantized(values: Float32Array): { codes: Int8Array; scale: Float32Array } {
  const scale = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 127;
  return {
    codes: Int8Array.from(values, (x) => Math.round(x / scale)),
    scale: Float32Array.of(scale),
  };
}

/**
 * MatMul, Softmax, MatMul over [batch, kvHeads, group * seqlenQ, headDim]: standard attention, the
 * query heads of a group folded into rows. Not causal. With `lengths` a float mask is added to the
 * scores, which is what exported encoders do.
 */
export function standardGraph(
  shape: AttentionShape,
  { q, k, v }: Arrays,
  lengths?: readonly number[],
): OrtProblem {
  const { batch, heads, kvHeads, seqlenQ, seqlenK, headDim } = shape;
  const rows = (heads / kvHeads) * seqlenQ;
  const queries = [batch, kvHeads, rows, headDim];
  const keys = [batch, kvHeads, seqlenK, headDim];
  const mask = lengths && paddingMask(seqlenK, lengths);
  const graph: OnnxGraph = {
    inputs: [
      { name: 'q', type: 'float32', shape: queries },
      { name: 'k', type: 'float32', shape: keys },
      { name: 'v', type: 'float32', shape: keys },
      ...(mask ? [{ name: 'mask', type: 'float32', shape: [batch, 1, 1, seqlenK] } as const] : []),
    ],
    outputs: [{ name: 'out', type: 'float32', shape: queries }],
    nodes: [
      { op: 'Transpose', inputs: ['k'], outputs: ['kt'], attributes: { perm: [0, 1, 3, 2] } },
      { op: 'Mul', inputs: ['q', 'scale'], outputs: ['scaled'] },
      { op: 'MatMul', inputs: ['scaled', 'kt'], outputs: ['s'] },
      ...(mask ? [{ op: 'Add', inputs: ['s', 'mask'], outputs: ['masked'] }] : []),
      { op: 'Softmax', inputs: [mask ? 'masked' : 's'], outputs: ['p'], attributes: { axis: -1 } },
      { op: 'MatMul', inputs: ['p', 'v'], outputs: ['out'] },
    ],
    scalars: { scale: 1 / Math.sqrt(headDim) },
  };
  return { graph, feeds: { q, k, v, ...(mask && { mask }) } };
}
