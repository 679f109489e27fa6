// Vectors of sequence lengths and offsets: int32 tensors, or plain numbers that are copied to one.
import { checkInteger, checkSameDevice, checkTensor, checkTensorDType } from './check.js';
import type { DeviceName } from './device.js';
import { fail } from './errors.js';
import { tensor } from './make.js';
import type { NativeTensor } from './native.js';
import type { IntVector } from './options.js';
import { failShape, maxSeqlen } from './qkv.js';
import { show } from './show.js';
import { isTensor, liveHandle, type Tensor } from './tensor.js';

/** The length of a vector of integers. */
export function checkIntVector(value: IntVector, argument: string): number {
  if (isTensor(value)) {
    checkTensor(value, argument);
    checkTensorDType(value, ['int32'], argument);
    if (value.shape.length !== 1) failShape(argument, '[length]', value);
    return value.shape[0];
  }
  if (!Array.isArray(value) && !isInt32Array(value)) {
    fail(
      'ERR_TYPE',
      argument,
      'an int32 Tensor, an Int32Array or an array of integers',
      show(value),
    );
  }
  return value.length;
}

function isInt32Array(value: unknown): value is Int32Array {
  return (
    ArrayBuffer.isView(value) &&
    (value as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] === 'Int32Array'
  );
}

/** `seqlensK` of a batch. */
export function seqlensHandle(
  value: IntVector,
  batch: number,
  device: DeviceName,
  temporaries: Tensor[],
): NativeTensor {
  if (checkIntVector(value, 'options.seqlensK') !== batch) {
    failShape('options.seqlensK', `[batch], [${batch}],`, value);
  }
  return intHandle(value, device, 'options.seqlensK', temporaries);
}

/** The handle of an int32 tensor on `device`; plain numbers are copied into a temporary one. */
export function intHandle(
  value: IntVector,
  device: DeviceName,
  argument: string,
  temporaries: Tensor[],
): NativeTensor {
  if (isTensor(value)) {
    checkSameDevice(value, device, argument);
    return liveHandle(value);
  }
  value.forEach((item: number, i: number) => {
    checkInteger(item, 0, maxSeqlen, `${argument}[${i}]`);
  });
  const made = tensor(value, [value.length], { dtype: 'int32', device });
  temporaries.push(made);
  return liveHandle(made);
}
