import { type NativeTensor, native } from '../native/addon.js';
import { call, fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
import {
  checkOptions,
  checkSameDevice,
  checkTensor,
  checkTensorDType,
  checkTensorShape,
} from '../tensor/check.js';
import { type DType, floating } from '../tensor/dtype.js';
import { liveHandle, type Tensor } from '../tensor/tensor.js';
import { checkLayout } from './modifiers.js';
import type { AttentionResult, Layout } from './options.js';
import { resultTensor } from './result.js';

/** Options of {@link mergeAttentionStates}. */
export interface MergeOptions {
  /** Axes of the outs. Default `'bshd'`. */
  layout?: Layout;
}

/** Attention over some of the keys, as {@link AttentionResult} has it. */
export interface AttentionState<D extends DType = DType> {
  readonly out: Tensor<D>;
  readonly lse: Tensor;
}

const mergeKeys: ReadonlySet<string> = new Set(['layout']);

/**
 * The attention over all keys from attention over disjoint parts of them, exactly: with `lse = log
 * Σ exp(lseᵢ)`, `out = Σ exp(lseᵢ - lse) outᵢ` (online softmax, Milakov & Gimelshein 2018;
 * Flash-Decoding). Ring attention, prefix caching and split keys rest on it.
 *
 * @param states One or more results of calls with `returnLse: true`: outs
 * `[batch, seqlenQ, heads, headDim]` (or bhsd by `layout`) of one shape and dtype, lses float32
 * `[batch, heads, seqlenQ]`. A sink (`sinks`) may be in one of the states only.
 * @returns The merged out and lse, of the same shapes and dtypes.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`, `ERR_DTYPE`, `ERR_DEVICE`,
 * `ERR_OPTION`, `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`.
 */
export function mergeAttentionStates<D extends DType>(
  states: readonly AttentionState<D>[],
  options?: MergeOptions,
): AttentionResult<D> {
  if (!Array.isArray(states)) {
    fail('ERR_TYPE', 'states', 'an array of { out, lse }', show(states));
  }
  if (states.length === 0) fail('ERR_SHAPE', 'states', 'at least one { out, lse }', 'none');
  const layout = checkLayout(checkOptions(options, mergeKeys)?.layout);
  const first = checkTensor(states[0]?.out, 'states[0].out');
  checkTensorDType(first, floating, 'states[0].out');
  if (first.shape.length !== 4) {
    fail('ERR_SHAPE', 'states[0].out', 'of rank 4', showShape(first.shape));
  }
  const [batch, second, third] = first.shape as [number, number, number, number];
  const lseShape = layout === 0 ? [batch, third, second] : [batch, second, third];
  const outs: NativeTensor[] = [];
  const lses: NativeTensor[] = [];
  for (let i = 0; i < states.length; i++) {
    const out = checkTensor(states[i]?.out, `states[${i}].out`);
    const lse = checkTensor(states[i]?.lse, `states[${i}].lse`);
    checkTensorDType(out, [first.dtype], `states[${i}].out`);
    checkTensorShape(out, first.shape, 'the shape of the first out', `states[${i}].out`);
    checkSameDevice(out, first.device, `states[${i}].out`);
    checkTensorDType(lse, ['float32'], `states[${i}].lse`);
    checkTensorShape(lse, lseShape, '[batch, heads, seqlenQ]', `states[${i}].lse`);
    checkSameDevice(lse, first.device, `states[${i}].lse`);
    outs.push(liveHandle(out));
    lses.push(liveHandle(lse));
  }
  const [out, lse] = call(() => native().mergeStates(outs, lses, layout));
  return {
    out: resultTensor(out, first.device),
    lse: resultTensor(lse, first.device),
  };
}
