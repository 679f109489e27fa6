import { closeSync, openSync, readSync, statSync } from 'node:fs';
import path from 'node:path';
import { elementType, int64, type OnnxTensor } from './format.js';

/** Where a tensor's data lies, when not in the model file itself. */
export interface ExternalData {
  /** Relative to the model file's folder. */
  readonly file: string;
  readonly offset: number;
  /** Bytes; default: all that its dims need. */
  readonly length?: number;
}

export function dimsOf(tensor: OnnxTensor): number[] {
  return tensor.dims.map(int64);
}

export function elementCount(tensor: OnnxTensor): number {
  return dimsOf(tensor).reduce((product, dim) => product * dim, 1);
}

const external = 1;

export function externalData(tensor: OnnxTensor): ExternalData | undefined {
  if (tensor.dataLocation !== external) return undefined;
  const entries = new Map(tensor.externalData?.map(({ key, value }) => [key, value]));
  const length = entries.get('length');
  return {
    file: entries.get('location') ?? '',
    offset: Number(entries.get('offset') ?? 0),
    ...(length === undefined ? {} : { length: Number(length) }),
  };
}

function bitsOf(dataType: number): number {
  const { float32, int32, uint32, float64, uint64, float16, bfloat16, ...types } = elementType;
  if ([float32, int32, uint32].some((type) => type === dataType)) return 32;
  if ([float64, types.int64, uint64].some((type) => type === dataType)) return 64;
  if ([float16, bfloat16, types.int16, types.uint16].some((type) => type === dataType)) return 16;
  return [types.uint4, types.int4].some((type) => type === dataType) ? 4 : 8;
}

/** Bytes of a tensor's data. */
export function byteSize(tensor: OnnxTensor): number {
  return Math.ceil((elementCount(tensor) * bitsOf(tensor.dataType)) / 8);
}

/**
 * The numbers of a float32, int32 or int64 tensor.
 *
 * @param folder where the model file is, for external data.
 * @throws Error for other types, and when data are missing or cut short.
 */
export function tensorNumbers(tensor: OnnxTensor, folder: string): number[] | Float32Array {
  const { dataType, floatData, int32Data, int64Data } = tensor;
  if (floatData?.length) return Float32Array.from(floatData);
  if (int32Data?.length) return int32Data;
  if (int64Data?.length) return int64Data.map(int64);
  const bytes = tensorBytes(tensor, folder);
  if (dataType === elementType.float32) return new Float32Array(bytes.buffer);
  if (dataType === elementType.int32) return Array.from(new Int32Array(bytes.buffer));
  if (dataType === elementType.int64) {
    return Array.from(new BigInt64Array(bytes.buffer), Number);
  }
  throw new Error(`${tensor.name} has elements of type ${dataType}, not float32, int32 or int64`);
}

/** A tensor's data in memory of their own. */
function tensorBytes(tensor: OnnxTensor, folder: string): Uint8Array<ArrayBuffer> {
  const size = byteSize(tensor);
  const result = new Uint8Array(size);
  const at = externalData(tensor);
  if (at === undefined) {
    const raw = tensor.rawData ?? new Uint8Array();
    if (raw.length !== size) throw new Error(`${tensor.name} has ${raw.length} of ${size} bytes`);
    result.set(raw);
    return result;
  }
  const file = openSync(path.join(folder, at.file), 'r');
  try {
    const read = readSync(file, result, 0, size, at.offset);
    if (read !== size) throw new Error(`${tensor.name} has ${read} of ${size} bytes in ${at.file}`);
  } finally {
    closeSync(file);
  }
  return result;
}

/**
 * What is wrong with the files that tensors' data should lie in; nothing when all is there.
 *
 * @param folder where the model file is.
 */
export function missingData(tensors: readonly OnnxTensor[], folder: string): string | undefined {
  const ends = new Map<string, number>();
  for (const tensor of tensors) {
    const at = externalData(tensor);
    if (at === undefined) continue;
    if (path.isAbsolute(at.file) || at.file.split(/[\\/]/).includes('..')) {
      return `${tensor.name} names data outside of the model's folder`;
    }
    const end = at.offset + Math.max(at.length ?? 0, byteSize(tensor));
    ends.set(at.file, Math.max(ends.get(at.file) ?? 0, end));
  }
  for (const [file, end] of ends) {
    const size = statSync(path.join(folder, file), { throwIfNoEntry: false })?.size;
    if (size === undefined) return `the data file ${file} is missing`;
    if (size < end) return `the data file ${file} has ${size} bytes, ${end} are needed`;
  }
  return undefined;
}

/** Elements of a tensor; those of float16 as bits. */
export type TensorData = Float32Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array;

/** A tensor with its data in the model file. */
export function makeTensor(name: string, data: TensorData, dims: readonly number[]): OnnxTensor {
  let dataType: number = elementType.uint8;
  if (data instanceof Float32Array) dataType = elementType.float32;
  else if (data instanceof Uint16Array) dataType = elementType.float16;
  else if (data instanceof Int32Array) dataType = elementType.int32;
  else if (data instanceof BigInt64Array) dataType = elementType.int64;
  const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { name, dataType, dims: [...dims], rawData };
}
