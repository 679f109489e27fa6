import { type CallOptions, callKeys } from '../native/call-options.js';
import { FlashAttentionError, fail } from '../native/errors.js';
import {
  checkBoolean,
  checkNumber,
  checkOptions,
  checkTensorDType,
  checkUint64,
} from '../tensor/check.js';
import { type DType, floating } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { denseProblem } from './dense.js';
import type { AttentionOptions } from './options.js';
import { run } from './problem.js';
import { handleOn } from './qkv.js';

/** Options of {@link scaledDotProductAttention}. */
export interface ScaledDotProductAttentionOptions extends CallOptions {
  /**
   * bool (true = attend) or floating (added), broadcastable to `[batch, heads, seqlenQ, seqlenK]`.
   */
  attnMask?: Tensor;
  /** Probability of dropping a weight, 0 <= p < 1. Default 0. */
  dropoutP?: number;
  /** Required with `dropoutP` > 0: PyTorch draws from a global generator, this package has none. */
  dropoutSeed?: bigint;
  /** Query i sees key j only if j <= i (top left aligned, as PyTorch documents). Default false. */
  isCausal?: boolean;
  /** Factor of q·k. Default 1 / sqrt(headDim). */
  scale?: number;
  /** Allow fewer heads in key and value than in query. Default false. */
  enableGqa?: boolean;
}

const sdpaKeys: ReadonlySet<string> = new Set([
  'attnMask',
  'dropoutP',
  'dropoutSeed',
  'isCausal',
  'scale',
  'enableGqa',
  ...callKeys,
]);

const sdpaNames = {
  q: 'query',
  k: 'key',
  v: 'value',
  mask: 'options.attnMask',
  'dropout.p': 'options.dropoutP',
  dropoutSeed: 'options.dropoutSeed',
};

/**
 * {@link flashAttention} under the name, layout and conventions of PyTorch's
 * `torch.nn.functional.scaled_dot_product_attention`. Unlike PyTorch, a row that sees no key gives
 * 0 and never NaN.
 *
 * @param query `[batch, heads, seqlenQ, headDim]`; float32, float16 or bfloat16.
 * @param key `[batch, heads, seqlenK, headDim]`; fewer heads with `enableGqa: true`.
 * @param value `[batch, heads, seqlenK, headDimV]`.
 * @param options See {@link ScaledDotProductAttentionOptions}.
 * @returns `[batch, heads, seqlenQ, headDimV]` in the dtype of query.
 * @throws {@link FlashAttentionError} as {@link flashAttention}; `ERR_OPTION` when attnMask and
 * isCausal are both given, as in PyTorch.
 */
export function scaledDotProductAttention<D extends DType>(
  query: Tensor<D>,
  key: Tensor,
  value: Tensor,
  options?: ScaledDotProductAttentionOptions,
): Tensor<D> {
  const given = checkOptions(options, sdpaKeys) ?? {};
  const { scale, signal, priority } = given;
  const dense: AttentionOptions = { layout: 'bhsd', scale, signal, priority };
  const { attnMask, dropoutP, dropoutSeed, isCausal, enableGqa } = given;
  const p = dropoutP === undefined ? 0 : checkNumber(dropoutP, 'options.dropoutP');
  const drops = p > 0 && p < 1;
  const seed =
    drops || dropoutSeed !== undefined
      ? checkUint64(dropoutSeed, 'options.dropoutSeed')
      : undefined;
  const causal = isCausal !== undefined && checkBoolean(isCausal, 'options.isCausal');
  const gqa = enableGqa !== undefined && checkBoolean(enableGqa, 'options.enableGqa');
  if (causal && attnMask !== undefined) {
    const message = 'Expected attnMask or isCausal but received both.';
    throw new FlashAttentionError('ERR_OPTION', message, { argument: 'options.isCausal' });
  }

  const problem = denseProblem(query, key, value, dense, sdpaNames);
  checkTensorDType(query, floating, 'query'); // there is no option for scales
  const [, heads, seqlenQ] = query.shape;
  const [, kvHeads, seqlenK] = key.shape;
  const comparable = query.shape.length === 4 && key.shape.length === 4;
  if (!gqa && comparable && kvHeads !== heads) {
    const hint = 'Grouped-query attention needs enableGqa: true.';
    fail('ERR_SHAPE', 'key', `of ${heads} heads, like query,`, `${kvHeads}`, hint);
  }
  problem.args.dropoutP = p;
  problem.args.dropoutSeed = seed;
  // Top-left alignment, seen from the bottom right.
  if (causal) problem.args.windowRight = seqlenQ - seqlenK;
  if (attnMask !== undefined) {
    problem.args.mask = handleOn(query.device, attnMask, 'options.attnMask');
  }
  return run(problem) as Tensor<D>;
}
