import type { OnnxNode } from '../onnx/format.js';
import { ofConstants, shapeOf } from './constants.js';
import type { Constant, Dependence, Tokens } from './dependence.js';
import { type Input, rules } from './rules.js';

/** Operators that people ask about. */
const known: Readonly<Record<string, string>> = {
  DynamicQuantizeLinear: 'quantises all tokens of a batch by one scale',
  DynamicQuantizeMatMul: 'quantises all tokens of a batch by one scale',
  MultiHeadAttention: 'is attention without GroupQueryAttention',
  Attention: 'is attention without GroupQueryAttention',
  PagedAttention: 'is attention with a paged cache of its own, which runs on CUDA alone',
  LinearAttention: 'keeps a state of the tokens before',
  CausalConvWithState: 'keeps a state of the tokens before',
  GatedDeltaNet: 'keeps a state of the tokens before',
};

const domains = ['', 'ai.onnx', 'com.microsoft'];

/** What a node's outputs depend on. */
export function dependenceOf(
  node: OnnxNode,
  inputs: readonly (Dependence | undefined)[],
): Dependence {
  const refused = inputs.find((input) => input?.kind === 'refused');
  if (refused) return refused;
  const reason = known[node.opType];
  if (reason !== undefined) return { kind: 'refused', node, reason };
  const tokens = inputs.filter((input) => input?.kind === 'tokens');
  const hasLengths = inputs.some((input) => input?.kind === 'lengths');
  if (tokens.length === 0) return hasLengths ? { kind: 'lengths' } : ofConstants(node, inputs);
  const result = hasLengths
    ? 'depends on the lengths of all sequences'
    : ofTokens(node, inputs as readonly Input[], tokens);
  return typeof result === 'string' ? { kind: 'refused', node, reason: result } : result;
}

function ofTokens(
  node: OnnxNode,
  inputs: readonly Input[],
  tokens: readonly Tokens[],
): Tokens | Constant | string {
  const last = tokens.some((each) => each.last);
  if (last && !tokens.every((each) => each.last)) return 'combines the last tokens with all';
  if (node.opType === 'Shape') return shapeOf(tokens[0]);
  if (inputs.some((input) => input?.kind === 'constant' && input.counts)) {
    return 'depends on how many tokens there are';
  }
  const rule = domains.includes(node.domain) ? rules.get(node.opType) : undefined;
  const result = rule?.(node, inputs) ?? 'is no operator known to treat every token alone';
  return typeof result === 'string' || !last ? result : { ...result, last };
}
