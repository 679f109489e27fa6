// Checks of single arguments. Each returns the value it was given, narrowed, or throws. Those of
// plain values and of options know no tensor, and have files of their own.

import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import type { DType } from './dtype.js';
import { isTensor, type Tensor } from './tensor.js';

export * from '../native/check-options.js';
export * from '../native/check-value.js';

/** A live tensor. */
export function checkTensor(value: unknown, argument: string): Tensor {
  if (!isTensor(value)) {
    const hint = looksLikeData(value) ? 'Make one with tensor(data, shape).' : '';
    fail('ERR_TYPE', argument, 'a Tensor', show(value), hint);
  }
  if (value.disposed) {
    fail('ERR_DISPOSED', argument, 'a live Tensor', 'one that was disposed');
  }
  return value;
}

function looksLikeData(value: unknown): boolean {
  return Array.isArray(value) || ArrayBuffer.isView(value);
}

export function checkSameDevice(tensor: Tensor, device: string, argument: string): void {
  if (tensor.device !== device) {
    fail('ERR_DEVICE', argument, `on ${device}, like the first tensor`, `one on ${tensor.device}`);
  }
}

export function checkTensorDType(
  tensor: Tensor,
  allowed: readonly DType[],
  argument: string,
): void {
  if (!allowed.includes(tensor.dtype)) {
    const expected = allowed.length === 1 ? `${allowed[0]}` : `one of ${allowed.join(', ')}`;
    fail('ERR_DTYPE', argument, expected, tensor.dtype);
  }
}
