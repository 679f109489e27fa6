// Vectors of sequence lengths and offsets: int32 tensors, or plain numbers that are copied to one.

import type { NativeTensor } from '../native/addon.js';
import type { DeviceName } from '../native/device.js';
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkInteger, checkSameDevice, checkTensor, checkTensorDType } from '../tensor/check.js';
import { tensor } from '../tensor/make.js';
import { isTensor, liveHandle, type Tensor } from '../tensor/tensor.js';
import type { IntVector } from './options.js';
import { failShape, maxSeqlen } from './qkv.js';

/** Checks a vector of non-negative integers and tells its length. */
export function checkIntVector(value: IntVector, device: DeviceName, argument: string): number {
  if (isTensor(value)) {
    checkTensor(value, argument);
    checkTensorDType(value, ['int32'], argument);
    if (value.shape.length !== 1) failShape(argument, '[length]', value);
    checkSameDevice(value, device, argument);
    return value.shape[0];
  }
  if (!Array.isArray(value) && !isInt32Array(value)) {
    const expected = 'an int32 Tensor, an Int32Array or an array of integers';
    fail('ERR_TYPE', argument, expected, show(value));
  }
  for (let i = 0; i < value.length; i++) {
    checkInteger(value[i], 0, maxSeqlen, `${argument}[${i}]`);
  }
  return value.length;
}

function isInt32Array(value: unknown): value is Int32Array {
  return (
    ArrayBuffer.isView(value) &&
    (value as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] === 'Int32Array'
  );
}

/** The handle of a checked vector; plain numbers are copied into a temporary tensor. */
export function intHandle(
  value: IntVector,
  device: DeviceName,
  temporaries: Tensor[],
): NativeTensor {
  if (isTensor(value)) return liveHandle(value);
  const made = tensor(value, [value.length], { dtype: 'int32', device });
  temporaries.push(made);
  return liveHandle(made);
}

/** The handle of `seqlensK`. */
export function seqlensHandle(
  value: IntVector,
  batch: number,
  device: DeviceName,
  temporaries: Tensor[],
): NativeTensor {
  if (checkIntVector(value, device, 'options.seqlensK') !== batch) {
    failShape('options.seqlensK', `[batch], [${batch}],`, value);
  }
  return intHandle(value, device, temporaries);
}
