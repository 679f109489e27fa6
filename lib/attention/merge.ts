import { native } from '../native/addon.js';
import { type CallOptions, callKeys, enqueued } from '../native/call-options.js';
import type { DeviceName } from '../native/device.js';
import { call, fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkOptions } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import type { AttentionResult, Layout } from './options.js';
import { checkLayout, handleOn } from './qkv.js';
import { resultTensor } from './result.js';

/** Options of {@link mergeAttentionStates}. */
export interface MergeOptions extends CallOptions {
  /** Axes of the outs. Default `'bshd'`. */
  layout?: Layout;
}

/** Attention over some of the keys, as {@link AttentionResult} has it. */
export interface AttentionState<D extends DType = DType> {
  readonly out: Tensor<D>;
  readonly lse: Tensor;
}

const mergeKeys: ReadonlySet<string> = new Set(['layout', ...callKeys]);

/**
 * The attention over all keys from attention over disjoint parts of them, exactly: with `lse = log
 * Σ exp(lseᵢ)`, `out = Σ exp(lseᵢ - lse) outᵢ` (online softmax, Milakov & Gimelshein 2018;
 * Flash-Decoding). Ring attention, prefix caching and split keys rest on it.
 *
 * @param states One or more results of calls with `returnLse: true`: outs
 * `[batch, seqlenQ, heads, headDim]` (or bhsd by `layout`) of one shape and dtype, lses float32
 * `[batch, heads, seqlenQ]`. A sink (`sinks`) may be in one of the states only.
 * @param options See {@link MergeOptions}.
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
  const given = checkOptions(options, mergeKeys);
  const layout = checkLayout(given?.layout);
  const device: DeviceName = states[0]?.out?.device;
  const handles = (field: 'out' | 'lse') =>
    states.map((state, i) => handleOn(device, state?.[field], `states[${i}].${field}`));
  const outs = handles('out');
  const lses = handles('lse');
  const [out, lse] = enqueued(given, () =>
    call(() => native().mergeStates(outs, lses, layout), names),
  );
  return { out: resultTensor(out, device), lse: resultTensor(lse, device) };
}

const member = (field: string) => (index: string) => (index ? `states${index}.${field}` : 'states');

const names = { outs: member('out'), lses: member('lse') };
