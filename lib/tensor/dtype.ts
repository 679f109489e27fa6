import { fail } from '../native/errors.js';
import { show } from '../native/show.js';

/**
 * Element type of a {@link Tensor}. A property of the tensor, never guessed from bit patterns:
 * float16 is IEEE binary16, bfloat16 the upper half of a float32, bool one byte that is 0 or 1.
 * float8_e4m3 (OCP 8-bit floating point: 4 exponent bits, 3 of mantissa, largest value 448, NaN but
 * no infinity) is for the values of {@link quantize} and, like int8, for keys and values of a
 * cache.
 */
export type DType = 'float32' | 'float16' | 'bfloat16' | 'int32' | 'bool' | 'float8_e4m3' | 'int8';

/**
 * The typed array of each dtype, in the order of csrc/core/dtype.h: a dtype's place is the number
 * that the native side uses.
 */
const constructors = {
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int32: Int32Array,
  bool: Uint8Array,
  float8_e4m3: Uint8Array,
  int8: Int8Array,
} as const satisfies Record<DType, unknown>;

export const dtypes = Object.keys(constructors) as readonly DType[];

const table = (of: (dtype: DType, place: number) => number) =>
  Object.fromEntries(dtypes.map((dtype, place) => [dtype, of(dtype, place)])) as Readonly<
    Record<DType, number>
  >;

export const dtypeNumber = table((_, place) => place);

/** Bytes of an element. */
export const dtypeSize = table((dtype) => constructors[dtype].BYTES_PER_ELEMENT);

export function isDType(value: unknown): value is DType {
  return typeof value === 'string' && Object.hasOwn(dtypeNumber, value);
}

/**
 * Dtypes whose values stand for themselves; those of float8_e4m3, and of int8 in a cache, stand for
 * themselves times a scale.
 */
export const floating: readonly DType[] = ['float32', 'float16', 'bfloat16'];

/** Dtypes that numbers convert to. */
export function isFloating(dtype: DType): boolean {
  return dtype === 'float8_e4m3' || floating.includes(dtype);
}

/** A dtype, one of `allowed`. */
export function checkDType(
  value: unknown,
  argument: string,
  allowed: readonly DType[] = dtypes,
): DType {
  if (allowed.includes(value as DType)) return value as DType;
  const code = typeof value === 'string' ? 'ERR_DTYPE' : 'ERR_TYPE';
  const names = allowed.map((dtype) => `'${dtype}'`).join(', ');
  return fail(code, argument, allowed.length === 1 ? names : `one of ${names}`, show(value));
}

/**
 * `Float16Array` where the runtime and the TypeScript library of the reader have it, else `never`.
 */
export type Float16ArrayIfAny = typeof globalThis extends { Float16Array: { prototype: infer T } }
  ? T
  : never;

/**
 * What {@link Tensor.data} resolves to, by dtype. 16-bit floats and float8_e4m3 come as raw bits,
 * on every runtime alike: where there is a `Float16Array`, `new Float16Array(data.buffer)` shows
 * the same float16 elements as numbers, and {@link Tensor.toFloat32} converts anywhere.
 */
export interface TypedArrays {
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int32: Int32Array;
  bool: Uint8Array;
  float8_e4m3: Uint8Array;
  int8: Int8Array;
}

/** The typed array of a dtype's elements, or of any; see {@link TypedArrays}. */
export type TypedArray<D extends DType = DType> = TypedArrays[D];

/** The typed array of `dtype` over all of `buffer`. */
export function typedArrayOver<D extends DType>(dtype: D, buffer: ArrayBuffer): TypedArray<D> {
  return new constructors[dtype](buffer) as TypedArray<D>;
}
