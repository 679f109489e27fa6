import { FlashAttentionError, fail } from '../native/errors.js';
import { checkBoolean, checkOptions, checkUint64 } from '../tensor/check.js';
import { type DType, floating } from '../tensor/dtype.js';
import { liveHandle, type Tensor } from '../tensor/tensor.js';
import { denseProblem } from './dense.js';
import { checkMask, checkProbability } from './modifiers.js';
import type { AttentionOptions } from './options.js';
import { run } from './problem.js';

/** Options of {@link scaledDotProductAttention}. */
export interface ScaledDotProductAttentionOptions {
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
]);

const sdpaNames = { q: 'query', k: 'key', v: 'value' };

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
  const dense: AttentionOptions = { layout: 'bhsd', scale: given.scale };
  const { attnMask, dropoutP, dropoutSeed, isCausal, enableGqa } = given;
  const p = dropoutP === undefined ? 0 : checkProbability(dropoutP, 'options.dropoutP');
  if (p > 0) dense.dropout = { p, seed: checkUint64(dropoutSeed, 'options.dropoutSeed') };
  else if (dropoutSeed !== undefined) checkUint64(dropoutSeed, 'options.dropoutSeed');
  const causal = isCausal !== undefined && checkBoolean(isCausal, 'options.isCausal');
  const gqa = enableGqa !== undefined && checkBoolean(enableGqa, 'options.enableGqa');
  if (causal && attnMask !== undefined) {
    const message = 'Expected attnMask or isCausal but received both.';
    throw new FlashAttentionError('ERR_OPTION', message, { argument: 'options.isCausal' });
  }

  const problem = denseProblem(query, key, value, dense, sdpaNames, floating);
  const [batch, heads, seqlenQ] = query.shape as [number, number, number, number];
  const seqlenK = key.shape[2];
  if (!gqa && key.shape[1] !== heads) {
    const hint = 'Grouped-query attention needs enableGqa: true.';
    fail('ERR_SHAPE', 'key', `of ${heads} heads, like query,`, `${key.shape[1]}`, hint);
  }
  // Top-left alignment, seen from the bottom right.
  if (causal) problem.args.windowRight = seqlenQ - seqlenK;
  if (attnMask !== undefined) {
    const dims = { batch, heads, seqlenQ, seqlenK };
    problem.args.mask = liveHandle(checkMask(attnMask, dims, query.device, 'options.attnMask'));
  }
  return run(problem) as Tensor<D>;
}
