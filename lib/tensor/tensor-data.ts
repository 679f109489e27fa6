import { fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
import { type DType, type Float16ArrayIfAny, isFloating } from './dtype.js';
import { sizeOf } from './shape.js';

/** Numbers or booleans, flat or nested as the shape is. */
export type NestedArray = readonly (number | boolean | NestedArray)[];

/**
 * What {@link tensor} takes. `Uint16Array` holds the raw bits of a 16-bit float, `Uint8Array`
 * booleans or the raw bits of float8_e4m3.
 */
export type TensorData =
  | NestedArray
  | Float32Array
  | Float64Array
  | Float16ArrayIfAny
  | Uint16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Int8Array;

/** What nested arrays hold. */
type Leaf<Data> = Data extends readonly (infer Item)[]
  ? NestedArray extends Data
    ? number | boolean
    : Leaf<Item>
  : Data;

type DTypeOfLeaf<Item> = [Item] extends [never]
  ? 'float32'
  : Item extends boolean
    ? 'bool'
    : Item extends number
      ? 'float32'
      : DType;

/** The dtype of a tensor of `Data` whose options say none. */
export type DTypeOfData<Data extends TensorData> = Data extends readonly unknown[]
  ? DTypeOfLeaf<Leaf<Data>>
  : Data extends Float32Array | Float64Array
    ? 'float32'
    : Data extends Int32Array | BigInt64Array
      ? 'int32'
      : Data extends Int8Array
        ? 'int8'
        : Data extends Float16ArrayIfAny
          ? 'float16'
          : DType;

/** Elements as the native side takes them: a typed array and the dtype of its elements. */
export interface HostData {
  readonly array: ArrayBufferView;
  readonly arrayDType: DType;
  readonly dtype: DType;
}

type Elements = ArrayLike<number | boolean | bigint>;

const kinds =
  'an array of numbers or booleans, Float32Array, Float64Array, Float16Array, Uint16Array, ' +
  'Int32Array, BigInt64Array, Uint8Array or Int8Array';

/** Checks `data` against `shape` and brings it into the form that is copied to the device. */
export function hostData(data: unknown, shape: readonly number[], dtype?: DType): HostData {
  const size = sizeOf(shape);
  if (Array.isArray(data)) {
    const flat = flatten(data, shape, size);
    return convert(flat, dtype ?? (typeof flat[0] === 'boolean' ? 'bool' : 'float32'));
  }
  const view = data as Float32Array;
  if (!ArrayBuffer.isView(data) || view.length === undefined) {
    fail('ERR_TYPE', 'data', kinds, show(data));
  }
  checkAttached(view);
  if (view.length !== size) {
    fail(
      'ERR_SHAPE',
      'data',
      `${size} elements long, as shape ${showShape(shape)} says,`,
      show(data),
    );
  }
  return typedData(view, dtype);
}

function typedData(view: Float32Array, dtype: DType | undefined): HostData {
  // By the tag and not instanceof: an array may come from another realm (vm contexts, Jest).
  switch (view[Symbol.toStringTag] as string) {
    case 'Float32Array':
      return dtype === undefined || isFloating(dtype)
        ? { array: view, arrayDType: 'float32', dtype: dtype ?? 'float32' }
        : convert(view, dtype);
    case 'Float64Array':
      return convert(view, dtype ?? 'float32');
    case 'Float16Array':
      return bits16(view, 'float16', dtype ?? 'float16');
    case 'Uint16Array':
      if (dtype !== 'float16' && dtype !== 'bfloat16') {
        const received = dtype === undefined ? 'no dtype' : `'${dtype}'`;
        const hint = 'A Uint16Array holds raw bits.';
        fail(
          'ERR_DTYPE',
          'options.dtype',
          "'float16' or 'bfloat16' for a Uint16Array",
          received,
          hint,
        );
      }
      return { array: view, arrayDType: dtype, dtype };
    case 'Int32Array':
      return dtype === undefined || dtype === 'int32'
        ? { array: view, arrayDType: 'int32', dtype: 'int32' }
        : convert(view, dtype);
    case 'BigInt64Array':
      if (dtype !== undefined && dtype !== 'int32') {
        fail('ERR_DTYPE', 'options.dtype', "'int32' for a BigInt64Array", `'${dtype}'`);
      }
      return convert(view, 'int32');
    case 'Uint8Array':
      if (dtype === undefined) {
        fail(
          'ERR_DTYPE',
          'options.dtype',
          "given ('bool' or 'float8_e4m3') for a Uint8Array",
          'no dtype',
        );
      }
      return dtype === 'float8_e4m3'
        ? { array: view, arrayDType: dtype, dtype }
        : convert(view, dtype);
    case 'Int8Array':
      return dtype === undefined || dtype === 'int8' || isFloating(dtype)
        ? { array: view, arrayDType: 'int8', dtype: dtype ?? 'int8' }
        : convert(view, dtype);
    default:
      return fail('ERR_TYPE', 'data', kinds, show(view));
  }
}

/**
 * Refuses a view whose buffer went to another thread. It has length 0, like an honest empty one;
 * only making a new view tells them apart.
 */
export function checkAttached(view: ArrayBufferView, argument = 'data'): void {
  if (view.byteLength !== 0) return;
  try {
    new Uint8Array(view.buffer, 0, 0);
  } catch {
    fail('ERR_TYPE', argument, 'a live typed array', 'one whose buffer was detached (transferred)');
  }
}

/** What a typed array is, by its tag: it may come from another realm. */
const tagOf = (value: unknown) =>
  ArrayBuffer.isView(value)
    ? (value as { [Symbol.toStringTag]?: string })[Symbol.toStringTag]
    : undefined;

export function isFloat32Array(value: unknown): value is Float32Array {
  return tagOf(value) === 'Float32Array';
}

export function checkBytes(value: unknown, argument: string): Uint8Array<ArrayBuffer> {
  if (tagOf(value) !== 'Uint8Array') fail('ERR_TYPE', argument, 'a Uint8Array', show(value));
  const { buffer, byteOffset, byteLength } = value as Uint8Array<ArrayBuffer>;
  checkAttached(value as Uint8Array, argument);
  // A Buffer's slice() would be a view.
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** 16-bit floats of class `Float16Array`, which Node-API does not know, as raw bits. */
function bits16(view: ArrayBufferView, arrayDType: 'float16', dtype: DType): HostData {
  if (!isFloating(dtype)) {
    fail('ERR_DTYPE', 'options.dtype', 'a floating dtype for a Float16Array', `'${dtype}'`);
  }
  const array = new Uint16Array(view.buffer, view.byteOffset, view.byteLength / 2);
  return { array, arrayDType, dtype };
}

function convert(elements: Elements, dtype: DType): HostData {
  switch (dtype) {
    case 'int32':
      return { array: integers(elements, Int32Array), arrayDType: 'int32', dtype };
    case 'int8':
      return { array: integers(elements, Int8Array), arrayDType: 'int8', dtype };
    case 'bool':
      return { array: bools(elements), arrayDType: 'bool', dtype };
    default:
      return { array: float32s(elements), arrayDType: 'float32', dtype };
  }
}

function float32s(elements: Elements): Float32Array {
  const result = new Float32Array(elements.length);
  for (let i = 0; i < elements.length; i++) {
    const value = elements[i];
    if (typeof value !== 'number') fail('ERR_TYPE', `data[${i}]`, 'a number', show(value));
    result[i] = value;
  }
  return result;
}

function integers<T extends Int32Array | Int8Array>(
  elements: Elements,
  Integers: { new (length: number): T; readonly BYTES_PER_ELEMENT: number },
): T {
  const result = new Integers(elements.length);
  for (let i = 0; i < elements.length; i++) {
    const element = elements[i];
    const value = typeof element === 'bigint' ? Number(element) : element;
    if (typeof value === 'number') result[i] = value;
    if (result[i] !== value) {
      const code = typeof value === 'number' ? 'ERR_OPTION' : 'ERR_TYPE';
      const bits = 8 * Integers.BYTES_PER_ELEMENT - 1;
      fail(code, `data[${i}]`, `an integer from -2^${bits} to 2^${bits} - 1`, show(element));
    }
  }
  return result;
}

function bools(elements: Elements): Uint8Array {
  const result = new Uint8Array(elements.length);
  for (let i = 0; i < elements.length; i++) {
    const value = elements[i];
    if (value !== true && value !== false && value !== 0 && value !== 1) {
      const code = typeof value === 'number' ? 'ERR_OPTION' : 'ERR_TYPE';
      fail(code, `data[${i}]`, 'true, false, 1 or 0', show(value));
    }
    result[i] = value ? 1 : 0;
  }
  return result;
}

/** The elements of nested arrays in row-major order; flat arrays pass as they are. */
function flatten(
  data: readonly unknown[],
  shape: readonly number[],
  size: number,
): readonly (number | boolean)[] {
  if (!Array.isArray(data[0])) {
    if (data.length !== size) {
      fail(
        'ERR_SHAPE',
        'data',
        `${size} elements long, as shape ${showShape(shape)} says,`,
        show(data),
      );
    }
    return data as readonly (number | boolean)[];
  }
  const flat: (number | boolean)[] = [];
  const walk = (items: unknown, axis: number, where: string): void => {
    if (!Array.isArray(items)) fail('ERR_TYPE', where, 'an array', show(items));
    if (items.length !== shape[axis]) {
      fail('ERR_SHAPE', where, `${shape[axis] ?? 0} elements long`, `${items.length} elements`);
    }
    if (axis === shape.length - 1) {
      for (const item of items) flat.push(item);
    } else {
      items.forEach((item, i) => {
        walk(item, axis + 1, `${where}[${i}]`);
      });
    }
  };
  walk(data, 0, 'data');
  return flat;
}
