import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { roundToBfloat16, roundToFloat16 } from './float.js';
import { addScaled, dot } from './matrix.js';

/** The type an algorithm keeps its intermediate results in. */
export type Precision = 'float64' | 'float32' | 'float16' | 'bfloat16';

/**
 * Arithmetic as a machine with tensors of one type does it: every matrix that goes to memory is
 * rounded to that type (`store`), while matrix products are accumulated in registers, in float32
 * for float32 and for both 16-bit types.
 */
export interface Arithmetic {
  store(x: number): number;
  dot(a: Float64Array, b: Float64Array): number;
  addScaled(y: Float64Array, factor: number, x: Float64Array): void;
}

const f32 = Math.fround;

/** `dot`, rounded to float32 after every operation. */
function dotFloat32(a: Float64Array, b: Float64Array): number {
  const n = a.length;
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let c = 0;
  for (; c + 3 < n; c += 4) {
    s0 = f32(s0 + f32(a[c] * b[c]));
    s1 = f32(s1 + f32(a[c + 1] * b[c + 1]));
    s2 = f32(s2 + f32(a[c + 2] * b[c + 2]));
    s3 = f32(s3 + f32(a[c + 3] * b[c + 3]));
  }
  for (; c < n; c++) s0 = f32(s0 + f32(a[c] * b[c]));
  return f32(f32(s0 + s1) + f32(s2 + s3));
}

/** `addScaled`, rounded to float32 after every operation. */
function addScaledFloat32(y: Float64Array, factor: number, x: Float64Array): void {
  const n = y.length;
  let c = 0;
  for (; c + 3 < n; c += 4) {
    y[c] = f32(y[c] + f32(factor * x[c]));
    y[c + 1] = f32(y[c + 1] + f32(factor * x[c + 1]));
    y[c + 2] = f32(y[c + 2] + f32(factor * x[c + 2]));
    y[c + 3] = f32(y[c + 3] + f32(factor * x[c + 3]));
  }
  for (; c < n; c++) y[c] = f32(y[c] + f32(factor * x[c]));
}

const FLOAT32_REGISTERS = { dot: dotFloat32, addScaled: addScaledFloat32 };

const ARITHMETIC: Record<Precision, Arithmetic> = {
  float64: { store: (x) => x, dot, addScaled },
  float32: { store: f32, ...FLOAT32_REGISTERS },
  float16: { store: roundToFloat16, ...FLOAT32_REGISTERS },
  bfloat16: { store: roundToBfloat16, ...FLOAT32_REGISTERS },
};

/** The arithmetic of `precision`. */
export function arithmetic(precision: Precision = 'float64'): Arithmetic {
  if (!Object.hasOwn(ARITHMETIC, precision)) {
    const names = Object.keys(ARITHMETIC).join(', ');
    fail('ERR_OPTION', 'precision', `one of ${names}`, show(precision));
  }
  return ARITHMETIC[precision];
}
