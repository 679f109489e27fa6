import { endianness } from 'node:os';
import { type DType, dtypeSize, floating, type TypedArray, typedArrayOver } from './dtype.js';

/** What attention computes with. */
export type FloatDType = Extract<DType, 'float32' | 'float16' | 'bfloat16'>;

export const floatDTypes = floating as readonly FloatDType[];

/** A tensor as files hold it: row-major elements, 16-bit floats as raw bits. */
export interface HostTensor<D extends DType = FloatDType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: TypedArray<D>;
}

/**
 * The typed array of `dtype` over `bytes`, which are in `order`; swaps them where they stand if
 * need be.
 */
export function elementsOf<D extends DType>(
  bytes: ArrayBuffer,
  dtype: D,
  order: 'LE' | 'BE' = 'LE',
): TypedArray<D> {
  if (order !== endianness()) swap(bytes, dtypeSize[dtype]);
  return typedArrayOver(dtype, bytes);
}

/** The elements in little-endian order, which is what files are written in. */
export function littleEndian(data: ArrayBufferView, itemBytes: number): ArrayBufferView {
  if (endianness() === 'LE') return data;
  const copy = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  swap(copy.buffer, itemBytes);
  return copy;
}

/** Reverses the bytes of every item. By hand: Buffer holds no more than 4 GiB. */
function swap(bytes: ArrayBuffer, itemBytes: number): void {
  const view = new Uint8Array(bytes);
  for (let i = 0; i < view.length; i += itemBytes) view.subarray(i, i + itemBytes).reverse();
}
