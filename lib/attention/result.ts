import { type NativeResult, native } from '../native/addon.js';
import type { DeviceName } from '../native/device.js';
import { dtypes } from '../tensor/dtype.js';
import { newTensor, type Tensor } from '../tensor/tensor.js';

/** The tensor of a result. The native side says what it is. */
export function resultTensor(handle: NativeResult, device: DeviceName): Tensor {
  const [dtype, ...shape] = handle[native().description];
  return newTensor(handle, dtypes[dtype], device, shape);
}
