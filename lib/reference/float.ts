/**
 * The narrow floating point formats on plain numbers: what a value becomes when it is stored in
 * float16, bfloat16 or float8 e4m3, and the bits it is stored as. Used to imitate attention
 * computed in lower precision and to prepare test data; the library itself converts natively.
 *
 * | format   | bits: sign, exponent, fraction | smallest normal | largest          |
 * |----------|--------------------------------|-----------------|------------------|
 * | float16  | 1, 5, 10 (IEEE 754 binary16)   | 2^-14           | 65504            |
 * | bfloat16 | 1, 8, 7 (a float32 cut short)  | 2^-126          | (2 - 2^-7) 2^127 |
 * | e4m3     | 1, 4, 3 (OCP FP8; no infinity) | 2^-6            | 448              |
 */

import { checkList } from './check.js';

interface Format {
  readonly fractionBits: number;
  /**
   * Exponent of the smallest normal number; below it lie the subnormals, all with this exponent's
   * spacing.
   */
  readonly minExponent: number;
  readonly largest: number;
  /** What to add to round, for each exponent field of a float64: see `roundTo`. */
  readonly push: Float64Array;
}

function format(
  fractionBits: number,
  minExponent: number,
  maxExponent = 1 - minExponent,
  largest = (2 - 2 ** -fractionBits) * 2 ** maxExponent,
): Format {
  const push = Float64Array.from({ length: 2048 }, (_, field) => {
    const exponent = Math.min(Math.max(field - 1023, minExponent), maxExponent + 1);
    return 1.5 * 2 ** (52 + exponent - fractionBits);
  });
  return { fractionBits, minExponent, largest, push };
}

const FLOAT16 = format(10, -14);
const BFLOAT16 = format(7, -126);
/** The bits of what would be 480 are NaN. */
const E4M3 = format(3, -6, 8, 448);
const E4M3_NAN = 0x7f;

const scratch = new DataView(new ArrayBuffer(8));

/** The exponent field of a float64: floor(log2 |x|) + 1023 for normal numbers. */
function exponentField(x: number): number {
  scratch.setFloat64(0, x);
  return (scratch.getUint16(0) >>> 4) & 0x7ff;
}

/**
 * Rounds to the nearest multiple of the spacing of `format` at x, ties to even.
 *
 * Next to 1.5 * 2^52 spacings a float64 has no room for anything finer than one spacing, so adding
 * them rounds, in the way IEEE 754 prescribes; subtracting them again is exact.
 */
function roundTo({ push, largest }: Format, x: number): number {
  if (!Number.isFinite(x) || x === 0) return x;
  const spacings = push[exponentField(x)];
  const rounded = x + spacings - spacings;
  if (Math.abs(rounded) > largest) return x > 0 ? Infinity : -Infinity;
  return rounded === 0 && x < 0 ? -0 : rounded;
}

function toBits(format: Format, x: number): number {
  const { fractionBits, minExponent } = format;
  const exponentMask = 0x7fff >> fractionBits;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  if (Number.isNaN(x)) return (exponentMask << fractionBits) | (1 << (fractionBits - 1));
  const magnitude = Math.abs(roundTo(format, x));
  if (magnitude === Infinity) return sign | (exponentMask << fractionBits);
  const exponent = Math.max(exponentField(magnitude) - 1023, minExponent);
  // A normal number has its leading 1 at 2^fractionBits; adding it to the field of (exponent - 1)
  // carries into it. A subnormal has no leading 1 and lands on field 0.
  const significand = magnitude / 2 ** (exponent - fractionBits);
  return sign | (((exponent - minExponent) << fractionBits) + significand);
}

function fromBits(format: Format, bits: number): number {
  const { fractionBits, minExponent } = format;
  const exponentMask = 0x7fff >> fractionBits;
  const sign = bits & 0x8000 ? -1 : 1;
  const field = (bits >> fractionBits) & exponentMask;
  const fraction = bits & ((1 << fractionBits) - 1);
  if (field === exponentMask) return fraction === 0 ? sign * Infinity : NaN;
  const significand = field === 0 ? fraction : fraction + (1 << fractionBits);
  return sign * significand * 2 ** (Math.max(field, 1) - 1 + minExponent - fractionBits);
}

/** The float16 value nearest to x, ties to even; beyond the largest, an infinity. NaN stays NaN. */
export function roundToFloat16(x: number): number {
  return roundTo(FLOAT16, x);
}

/**
 * The bfloat16 value nearest to x, ties to even; beyond the largest, an infinity. NaN stays NaN.
 */
export function roundToBfloat16(x: number): number {
  return roundTo(BFLOAT16, x);
}

/** The 16 bits of `roundToFloat16(x)`. NaN becomes the quiet NaN 0x7e00. */
export function float16Bits(x: number): number {
  return toBits(FLOAT16, x);
}

/** The 16 bits of `roundToBfloat16(x)`. NaN becomes the quiet NaN 0x7fc0. */
export function bfloat16Bits(x: number): number {
  return toBits(BFLOAT16, x);
}

/** The value of 16 bits read as float16. */
export function float16FromBits(bits: number): number {
  return fromBits(FLOAT16, bits);
}

/** The value of 16 bits read as bfloat16. */
export function bfloat16FromBits(bits: number): number {
  return fromBits(BFLOAT16, bits);
}

/**
 * The e4m3 value nearest to x, ties to even; beyond 448, infinities included, 448. NaN stays NaN.
 */
export function roundToE4m3(x: number): number {
  return roundTo(E4M3, Math.min(Math.max(x, -E4M3.largest), E4M3.largest));
}

/** The 8 bits of `roundToE4m3(x)`. NaN becomes 0x7f. */
export function e4m3Bits(x: number): number {
  if (Number.isNaN(x)) return E4M3_NAN;
  const bits = toBits(E4M3, roundToE4m3(x));
  return ((bits >> 8) & 0x80) | (bits & 0x7f);
}

/** The value of 8 bits read as e4m3. */
export function e4m3FromBits(bits: number): number {
  if ((bits & 0x7f) === E4M3_NAN) return NaN;
  return fromBits(E4M3, ((bits & 0x80) << 8) | (bits & 0x7f));
}

/** Stores values as float16, in the Uint16Array a float16 tensor takes. */
export function toFloat16Array(values: ArrayLike<number>): Uint16Array {
  checkList('values', values);
  return Uint16Array.from(values, float16Bits);
}

/** Stores values as bfloat16, in the Uint16Array a bfloat16 tensor takes. */
export function toBfloat16Array(values: ArrayLike<number>): Uint16Array {
  checkList('values', values);
  return Uint16Array.from(values, bfloat16Bits);
}

/** Reads stored float16 values. Every one of them is a float32, so nothing is lost. */
export function fromFloat16Array(bits: ArrayLike<number>): Float32Array {
  checkList('bits', bits);
  return Float32Array.from(bits, float16FromBits);
}

/** Reads stored bfloat16 values. Every one of them is a float32, so nothing is lost. */
export function fromBfloat16Array(bits: ArrayLike<number>): Float32Array {
  checkList('bits', bits);
  return Float32Array.from(bits, bfloat16FromBits);
}
