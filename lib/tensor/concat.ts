import { native } from '../native/addon.js';
import { type CallOptions, checkCallOptions, enqueued } from '../native/call-options.js';
import { call, fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkTensor } from './check.js';
import type { DType } from './dtype.js';
import { liveHandle, newTensor, type Tensor } from './tensor.js';

/**
 * The tensors one behind the other along `axis`, as a new contiguous tensor. Elements are copied
 * bit by bit on the device; the call returns at once.
 *
 * @param tensors At least one; any strides, one dtype, one device, and one shape but for `axis`.
 * @param axis 0 to rank - 1.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`, `ERR_DTYPE`, `ERR_DEVICE`,
 * `ERR_OPTION` (axis), `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`.
 *
 * @example
 * const keys = concat([cached, fresh], 1); // [batch, seqlen, heads, headDim]
 */
export function concat<D extends DType>(
  tensors: readonly Tensor<D>[],
  axis: number,
  options?: CallOptions,
): Tensor<D> {
  if (!Array.isArray(tensors)) fail('ERR_TYPE', 'tensors', 'an array of Tensors', show(tensors));
  const handles = Array.from(tensors, (tensor, i) => {
    const argument = `tensors[${i}]`;
    return liveHandle(checkTensor(tensor, argument), argument);
  });
  const given = checkCallOptions(options);
  const made = enqueued(given, () => call(() => native().concat(handles, axis)));
  const [, ...shape] = made[native().description];
  const [{ dtype, device }] = tensors as readonly Tensor<D>[];
  return newTensor(made, dtype, device, shape);
}
