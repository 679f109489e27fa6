import { type FloatDType, rounding } from './numerics.js';

/** The tables of RoFormer, [positions, pairs], as `dtype` holds them. */
export function rotaryTables(
  positions: number,
  pairs: number,
  dtype: FloatDType = 'float32',
): { cos: Float32Array; sin: Float32Array } {
  const angle = (n: number) => Math.floor(n / pairs) * 1e4 ** (-(n % pairs) / pairs);
  const table = (of: (x: number) => number) =>
    Float32Array.from({ length: positions * pairs }, (_, n) => rounding[dtype](of(angle(n))));
  return { cos: table(Math.cos), sin: table(Math.sin) };
}
