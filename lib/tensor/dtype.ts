import { fail } from '../native/errors.js';
import { show } from '../native/show.js';

/**
 * Element type of a {@link Tensor}. A property of the tensor, never guessed from bit patterns:
 * float16 is IEEE binary16, bfloat16 the upper half of a float32, bool one byte that is 0 or 1.
 * float8_e4m3 (OCP 8-bit floating point: 4 exponent bits, 3 of mantissa, largest value 448, NaN but
 * no infinity) is for the values of {@link quantize}.
 */
export type DType = 'float32' | 'float16' | 'bfloat16' | 'int32' | 'bool' | 'float8_e4m3';

/** In the order of csrc/core/dtype.h: the index is the number the native side uses. */
export const dtypes: readonly DType[] = [
  'float32',
  'float16',
  'bfloat16',
  'int32',
  'bool',
  'float8_e4m3',
];

export const dtypeNumber: Readonly<Record<DType, number>> = {
  float32: 0,
  float16: 1,
  bfloat16: 2,
  int32: 3,
  bool: 4,
  float8_e4m3: 5,
};

export const dtypeSize: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int32: 4,
  bool: 1,
  float8_e4m3: 1,
};

export function isDType(value: unknown): value is DType {
  return typeof value === 'string' && Object.hasOwn(dtypeNumber, value);
}

/**
 * Dtypes whose values stand for themselves; those of float8_e4m3 stand for themselves times a
 * scale.
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
 * What {@link Tensor.data} resolves to: `Float32Array` for float32, `Int32Array` for int32,
 * `Uint8Array` for bool and (raw bits) float8_e4m3, `Uint16Array` (raw bits) for bfloat16, and for
 * float16 `Float16Array` where the runtime has it, else `Uint16Array` (raw bits).
 */
export type TypedArray = Float32Array | Int32Array | Uint16Array | Uint8Array | Float16ArrayIfAny;

type Float16ArrayConstructor = new (buffer: ArrayBuffer) => Float16ArrayIfAny;

/** The typed array of `dtype` over all of `buffer`. */
export function typedArrayOver(dtype: DType, buffer: ArrayBuffer): TypedArray {
  switch (dtype) {
    case 'float32':
      return new Float32Array(buffer);
    case 'float16': {
      const { Float16Array } = globalThis as { Float16Array?: Float16ArrayConstructor };
      return Float16Array ? new Float16Array(buffer) : new Uint16Array(buffer);
    }
    case 'bfloat16':
      return new Uint16Array(buffer);
    case 'int32':
      return new Int32Array(buffer);
    case 'bool':
    case 'float8_e4m3':
      return new Uint8Array(buffer);
  }
}
