// Rows as messages hold them.
import type { DeviceName } from '../../native/device.js';
import { dtypeSize, type TypedArray, typedArrayOver } from '../../tensor/dtype.js';
import type { FloatDType } from '../../tensor/host-tensor.js';
import { tensor } from '../../tensor/make.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Elements of rows, 16-bit floats as raw bits. */
export interface HostRows {
  readonly dtype: FloatDType;
  readonly data: TypedArray<FloatDType>;
}

export function zeroRows(dtype: FloatDType, elements: number): HostRows {
  return { dtype, data: typedArrayOver(dtype, new ArrayBuffer(elements * dtypeSize[dtype])) };
}

/** The rows on a device in float32, which holds all 16-bit floats exactly. */
export function widened(
  { dtype, data }: HostRows,
  shape: readonly number[],
  device: DeviceName,
): Tensor<'float32'> {
  const rows = tensor(data, shape, { dtype, device });
  if (dtype === 'float32') return rows as Tensor<'float32'>;
  try {
    return rows.to('float32');
  } finally {
    rows.dispose();
  }
}
