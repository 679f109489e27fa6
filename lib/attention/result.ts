import { type NativeResult, native } from '../native/addon.js';
import type { DeviceName } from '../native/device.js';
import { type DType, dtypes } from '../tensor/dtype.js';
import { newTensor, type Tensor } from '../tensor/tensor.js';

/** The tensor of a result. The native side says what it is; `D` is what the caller knows of it. */
export function resultTensor<D extends DType>(handle: NativeResult, device: DeviceName): Tensor<D> {
  const told = handle[native().description];
  return newTensor(handle, dtypes[told[0]] as D, device, told.slice(1));
}
