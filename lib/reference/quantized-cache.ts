import { fail } from '../native/errors.js';
import { checkInteger, checkNumbers, checkObject } from './check.js';
import { checkOneOf } from './check-quantize.js';
import { e4m3Bits, e4m3FromBits } from './float.js';
import type { Numbers } from './problem.js';

/** What 8 bits hold: whole numbers, or e4m3 values. */
export type CodeDType = 'int8' | 'float8_e4m3';

/** Rows of a cache in 8 bits: element = code * scale of its row. */
export interface QuantizedRows {
  /** Elements of a row. */
  readonly dim: number;
  readonly dtype: CodeDType;
  /** int8 numbers, or e4m3 bits. */
  readonly codes: Int8Array | Uint8Array;
  /** One per row. */
  readonly scales: Float32Array;
}

const largest: Readonly<Record<CodeDType, number>> = { int8: 127, float8_e4m3: 448 };

/** To the nearest whole number, of two the even one. */
function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Keys or values as a cache in 8 bits keeps them: symmetric, one scale per token and head, which
 * maps the row's largest magnitude to the largest code.
 *
 *     scale = max|x| / 127        code = round(x / scale)        (float8_e4m3: 448, and e4m3 of it)
 *
 * Because a row of K shares its scale, q . k = scale (q . code): the scale multiplies the score,
 * and likewise that of V the probability. No row has to be restored to be multiplied.
 *
 * Scales and quotients are float32. A scale is 2^-126 at least; that of a row of zeros is 0. Of a
 * row with a NaN or an infinity, which no code stands for, it is NaN, and its codes are 0.
 *
 * With static scales, which somebody has found beforehand, what is beyond the largest code becomes
 * that. NaN stays NaN in float8_e4m3, and is 0 in int8.
 *
 * @param rows [rows, dim], float32 numbers
 * @param staticScales [heads]: row r is of head r % heads
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the argument
 */
export function quantizedCache(
  rows: Numbers,
  dim: number,
  dtype: CodeDType,
  staticScales?: Float32Array,
): QuantizedRows {
  checkRows('rows', rows, dim, dtype);
  if (staticScales) checkRows('staticScales', staticScales, 1, dtype);
  const scales = new Float32Array(rows.length / dim);
  const codes = dtype === 'int8' ? new Int8Array(rows.length) : new Uint8Array(rows.length);
  for (let row = 0; row < scales.length; row++) {
    const x = rows.subarray(row * dim, (row + 1) * dim);
    const scale = staticScales ? staticScales[row % staticScales.length] : scaleOfRow(x, dtype);
    scales[row] = scale;
    if (!(scale > 0)) continue;
    for (let c = 0; c < dim; c++) {
      codes[row * dim + c] = codeOf(Math.fround(x[c] / scale), dtype);
    }
  }
  return { dim, dtype, codes, scales };
}

function scaleOfRow(x: Numbers, dtype: CodeDType): number {
  let most = 0;
  for (const value of x) most = Math.max(most, Math.abs(value));
  if (most === 0) return 0;
  if (!Number.isFinite(most)) return Number.NaN;
  return Math.max(Math.fround(most / largest[dtype]), 2 ** -126);
}

function codeOf(quotient: number, dtype: CodeDType): number {
  if (dtype === 'float8_e4m3') return e4m3Bits(quotient);
  if (Number.isNaN(quotient)) return 0;
  return roundHalfEven(Math.max(-largest.int8, Math.min(largest.int8, quotient)));
}

/**
 * What rows of a cache stand for.
 *
 * @returns [rows, dim]
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function dequantizedCache(rows: QuantizedRows): Float64Array {
  checkObject('rows', rows);
  const { dim, dtype, codes, scales } = rows;
  checkRows('scales', scales, 1, dtype);
  checkInteger('dim', dim, 1, 'ERR_SHAPE');
  if (codes.length !== scales.length * dim) {
    fail('ERR_SHAPE', 'codes', `${scales.length * dim} elements`, `${codes.length}`);
  }
  return Float64Array.from(codes, (code, i) => {
    const value = dtype === 'int8' ? code : e4m3FromBits(code);
    return value * scales[Math.floor(i / dim)];
  });
}

function checkRows(argument: string, rows: unknown, dim: number, dtype: unknown): void {
  checkInteger('dim', dim, 1, 'ERR_SHAPE');
  const { length } = (rows ?? {}) as ArrayLike<number>;
  checkNumbers(argument, rows, Math.ceil(length / dim) * dim, '[rows, dim]');
  checkOneOf('dtype', dtype, Object.keys(largest));
}
