import { floatAttribute, intAttribute, stringAttribute } from '../onnx/attributes.js';
import { elementType, int64, type OnnxNode, type OnnxValue } from '../onnx/format.js';
import { UnsupportedModelError } from './refusal.js';

/** com.microsoft GroupQueryAttention as a node has it: names of tensors, '' for none. */
export interface AttentionNode {
  readonly node: OnnxNode;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Multiplies scores. Default: 1 / sqrt(headDim). */
  readonly scale?: number;
  readonly softcap?: number;
  /** Tokens that a token sees, itself among them. Default: all before it. */
  readonly window?: number;
  /** Rotates q and k by these tables. */
  readonly rotary?: { readonly cos: string; readonly sin: string; readonly interleaved: boolean };
  /** A tensor of one number per head, in the softmax's denominator alone; `zeros` stands for 0. */
  readonly sinks?: string | 'zeros';
  /** Weights of the per-head RMS norm of q and k, before rotation. */
  readonly norms?: { readonly q: string; readonly k: string; readonly epsilon: number };
}

export const isAttention = (node: OnnxNode) => node.opType === 'GroupQueryAttention';

/** Inputs of the node, by the schema's order. */
const at = { pastKey: 3, cos: 7, sin: 8, bias: 10, sinks: 11, qNorm: 14, kNorm: 15 } as const;

/**
 * @param values the graph's inputs: that of the past says how long a head is.
 * @param headDim where the graph doesn't say.
 * @throws {@link UnsupportedModelError}
 */
export function readAttention(
  node: OnnxNode,
  values: ReadonlyMap<string, OnnxValue>,
  headDim: number | undefined,
): AttentionNode {
  const input = (index: number) => node.input[index] ?? '';
  const refuse = (reason: string) => UnsupportedModelError.at(node, reason);
  if (input(at.bias) !== '') throw refuse('has an attention_bias');
  if (intAttribute(node, 'causal', 1) !== 1) throw refuse('is not causal');
  if ((node.output[3] ?? '') !== '') throw refuse('tells its scores');
  const kinds = ['k', 'v'].map((name) => stringAttribute(node, `${name}_quant_type`, 'NONE'));
  const past = values.get(input(at.pastKey))?.type?.tensorType;
  const quantized = kinds.some((kind) => kind !== 'NONE');
  if (!quantized && (past?.elemType ?? elementType.float32) !== elementType.float32) {
    throw refuse('computes in another type than float32: take a model in float32, or one in int4');
  }
  const [heads, kvHeads] = ['num_heads', 'kv_num_heads'].map((name) => intAttribute(node, name, 0));
  const dim = int64(past?.shape?.dim?.[3]?.dimValue ?? 0);
  const known = (quantized ? 0 : dim) || headDim;
  if (!known) throw refuse('has heads of unknown size');
  const window = intAttribute(node, 'local_window_size', -1);
  const scale = floatAttribute(node, 'scale', 0);
  const softcap = floatAttribute(node, 'softcap', 0);
  const smooth = intAttribute(node, 'smooth_softmax', 0) === 1;
  const sinks = input(at.sinks) || (smooth ? ('zeros' as const) : '');
  const [cos, sin, q, k] = [at.cos, at.sin, at.qNorm, at.kNorm].map(input);
  const interleaved = intAttribute(node, 'rotary_interleaved', 0) === 1;
  const epsilon = floatAttribute(node, 'qk_norm_epsilon', 1e-6);
  return {
    node,
    heads,
    kvHeads,
    headDim: known,
    ...(scale === 0 ? {} : { scale }),
    ...(softcap === 0 ? {} : { softcap }),
    ...(window < 0 ? {} : { window }),
    ...(intAttribute(node, 'do_rotary', 0) === 1 ? { rotary: { cos, sin, interleaved } } : {}),
    ...(sinks === '' ? {} : { sinks }),
    ...(q === '' ? {} : { norms: { q, k, epsilon } }),
  };
}
