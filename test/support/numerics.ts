/**
 * One way to check a result everywhere: against the float64 reference, with the tolerance stated
 * once. An exact algorithm may be at most twice as far from the truth as standard attention
 * computed in the same dtype, plus 1e-5.
 */
import {
  type AttentionOptions,
  type BlockMask,
  type DeviceName,
  type DType,
  flashAttention,
  type Tensor,
  tensor,
} from '../../lib/index.js';
import {
  type Numbers,
  type ReferenceOptions,
  type ReferenceProblem,
  type ReferenceResult,
  type ReferenceShape,
  roundToBfloat16,
  roundToFloat16,
  standardAttention,
} from '../../lib/reference/index.js';
import { onSimtHopper } from './device.js';
import { uniform } from './random.js';

export type FloatDType = 'float32' | 'float16' | 'bfloat16';
export const floatDTypes: readonly FloatDType[] = ['float32', 'float16', 'bfloat16'];

/** float32's most negative number: what many models add instead of -Infinity. */
export const lowestFloat32 = -3.4028234663852886e38;

/** Those whose kernels only this device has. */
export const testedDTypes = floatDTypes.filter((dtype) => !onSimtHopper || dtype !== 'float32');

const SLACK = 1e-5;
const { sqrt, log, cos, PI, abs, fround } = Math; // once: see random.ts
const { isNaN: isNotANumber } = Number;

/** What both the library and the reference understand; arrays where the library wants tensors. */
export interface SharedOptions
  extends Omit<ReferenceOptions, 'visible' | 'queryRows' | 'seqlensQ'> {
  readonly layout?: 'bshd' | 'bhsd';
  readonly numSplits?: number | 'auto';
  /** The reference sees it as `visible`. */
  readonly blockMask?: BlockMask;
}

export const rounding: Record<FloatDType, (x: number) => number> = {
  float32: fround,
  float16: roundToFloat16,
  bfloat16: roundToBfloat16,
};

/** What `normals` made of each seed and dtype: more numbers of the same begin with these. */
const made = new Map<string, Float32Array>();
const mostMade = 32;

/** Normal numbers that `dtype` holds exactly. */
export function normals(count: number, seed: number, dtype: FloatDType = 'float32'): Float32Array {
  const key = `${seed} ${dtype}`;
  let numbers = made.get(key);
  if (!numbers || numbers.length < count) {
    const random = uniform(seed);
    const round = rounding[dtype];
    numbers = new Float32Array(count);
    for (let n = 0; n < count; n++) {
      numbers[n] = round(sqrt(-2 * log(1 - random())) * cos(2 * PI * random()));
    }
    if (made.size >= mostMade) made.clear();
    made.set(key, numbers);
  }
  return numbers.slice(0, count);
}

/** Inputs of a shape, exactly representable in `dtype`. */
export function randomProblem(
  shape: ReferenceShape,
  options: SharedOptions = {},
  seed = 1,
  dtype: FloatDType = 'float32',
): ReferenceProblem {
  const { batch, seqlenQ, seqlenK, heads, headDim } = shape;
  const kvHeads = shape.kvHeads ?? heads;
  const headDimV = shape.headDimV ?? headDim;
  const { layout: _layout, numSplits: _numSplits, blockMask, ...rest } = options;
  return {
    ...rest,
    ...(blockMask && {
      visible: (b: number, h: number, i: number, j: number) => blockMask.visible(i, j, h, b),
    }),
    shape,
    q: normals(batch * seqlenQ * heads * headDim, 3 * seed, dtype),
    k: normals(batch * seqlenK * kvHeads * headDim, 3 * seed + 1, dtype),
    v: normals(batch * seqlenK * kvHeads * headDimV, 3 * seed + 2, dtype),
  };
}

/** [b, s, h, d] -> [b, h, s, d]. */
export function toBhsd(data: Numbers, [b, s, h, d]: readonly number[]): Float32Array {
  const result = new Float32Array(data.length);
  for (let ib = 0; ib < b; ib++) {
    for (let is = 0; is < s; is++) {
      for (let ih = 0; ih < h; ih++) {
        const from = ((ib * s + is) * h + ih) * d;
        const to = ((ib * h + ih) * s + is) * d;
        for (let c = 0; c < d; c++) result[to + c] = data[from + c];
      }
    }
  }
  return result;
}

export interface QkvTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

export function qkvTensors(
  problem: ReferenceProblem,
  dtype: FloatDType,
  layout: 'bshd' | 'bhsd' = 'bshd',
  device?: DeviceName,
): QkvTensors {
  const { batch: b, seqlenQ, seqlenK, heads, headDim } = problem.shape;
  const kvHeads = problem.shape.kvHeads ?? heads;
  const headDimV = problem.shape.headDimV ?? headDim;
  const make = (data: Numbers, s: number, h: number, d: number) =>
    layout === 'bshd'
      ? tensor(data, [b, s, h, d], { dtype, device })
      : tensor(toBhsd(data, [b, s, h, d]), [b, h, s, d], { dtype, device });
  return {
    q: make(problem.q, seqlenQ, heads, headDim),
    k: make(problem.k, seqlenK, kvHeads, headDim),
    v: make(problem.v, seqlenK, kvHeads, headDimV),
  };
}

/** The library's options for a problem's. */
export function attentionOptions(
  options: SharedOptions,
  shape: ReferenceShape,
  device?: DeviceName,
): AttentionOptions {
  const { alibiSlopes, seqlensK, sinks, mask, window, dropout, ...rest } = options;
  const result: AttentionOptions = { ...rest };
  if (window) result.window = [...window];
  if (dropout) result.dropout = { ...dropout };
  if (seqlensK) {
    result.seqlensK = tensor(Int32Array.from(seqlensK), [seqlensK.length], { device });
  }
  if (alibiSlopes) {
    const slopesShape =
      alibiSlopes.length === shape.heads ? [shape.heads] : [shape.batch, shape.heads];
    result.alibiSlopes = tensor(Float32Array.from(alibiSlopes), slopesShape, { device });
  }
  if (sinks) result.sinks = tensor(Float32Array.from(sinks), [sinks.length], { device });
  if (mask) {
    const dtype: DType = mask.data instanceof Uint8Array ? 'bool' : 'float32';
    const data = mask.data instanceof Float64Array ? Float32Array.from(mask.data) : mask.data;
    result.mask = tensor(data, [...mask.shape], { dtype, device });
  }
  return result;
}

export interface Errors {
  readonly out: number;
  readonly lse: number;
  readonly outBound: number;
  readonly lseBound: number;
}

/**
 * Largest absolute difference; equal infinities are no difference, any other non-finite pair is
 * infinite.
 */
export function maxError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i]) continue;
    const difference = abs(actual[i] - expected[i]);
    if (!(difference <= worst)) worst = isNotANumber(difference) ? Infinity : difference;
  }
  return worst;
}

/** Allowed error, given the truth and standard attention in the dtype. */
export function bound(standard: ArrayLike<number>, truth: ArrayLike<number>): number {
  return 2 * maxError(standard, truth) + SLACK;
}

/** So many rows from first to last; undefined: all, for there are no more. */
export function sampledRows(seqlen: number, most: number): number[] | undefined {
  if (seqlen <= most) return undefined;
  return Array.from({ length: most }, (_, i) => Math.round((i * (seqlen - 1)) / (most - 1)));
}

/** Rows of [outer, seqlen, inner]. */
export function pick(
  data: ArrayLike<number>,
  rows: readonly number[] | undefined,
  outer: number,
  seqlen: number,
  inner: number,
): ArrayLike<number> {
  if (!rows) return data;
  const result = new Float64Array(outer * rows.length * inner);
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (const row of rows) {
      for (let c = 0; c < inner; c++) result[at++] = data[(o * seqlen + row) * inner + c];
    }
  }
  return result;
}

/**
 * Runs `flashAttention` on a problem and measures it. Of longer sequences `mostRows` rows are
 * compared, first and last included.
 */
export async function measure(
  shape: ReferenceShape,
  options: SharedOptions = {},
  {
    dtype = 'float32' as FloatDType,
    seed = 1,
    mostRows = 16,
    device = undefined as DeviceName | undefined,
  } = {},
): Promise<Errors> {
  const problem = randomProblem(shape, options, seed, dtype);
  const layout = options.layout ?? 'bshd';
  const { q, k, v } = qkvTensors(problem, dtype, layout, device);
  const result = flashAttention(q, k, v, {
    ...attentionOptions(options, shape, device),
    returnLse: true,
  });
  const { batch, seqlenQ, heads } = shape;
  const headDimV = shape.headDimV ?? shape.headDim;
  let out: Numbers = await result.out.toFloat32();
  if (layout === 'bhsd') out = toBhsd(out, [batch, heads, seqlenQ, headDimV]);
  const lse = await result.lse.toFloat32();
  for (const t of [q, k, v, result.out, result.lse]) t.dispose();
  return compare(problem, dtype, out, lse, mostRows);
}

/** Compares a whole result, out [b, s, h, d] and lse [b, h, s], with the reference. */
export function compare(
  problem: ReferenceProblem,
  dtype: FloatDType,
  out: ArrayLike<number>,
  lse: ArrayLike<number>,
  mostRows = 16,
): Errors {
  const { batch, seqlenQ, heads, headDim } = problem.shape;
  const headDimV = problem.shape.headDimV ?? headDim;
  const queryRows = sampledRows(seqlenQ, mostRows);
  const sampled = queryRows ? { ...problem, queryRows } : problem;
  const truth: ReferenceResult = standardAttention(sampled);
  const standard = standardAttention(sampled, { precision: dtype });
  const actualOut = pick(out, queryRows, batch, seqlenQ, heads * headDimV);
  const actualLse = pick(lse, queryRows, batch * heads, seqlenQ, 1);
  return {
    out: maxError(actualOut, truth.out),
    lse: maxError(actualLse, truth.lse),
    outBound: bound(standard.out, truth.out),
    lseBound: bound(standard.lse, truth.lse),
  };
}

/** Jest assertion: within the tolerance. */
export function expectWithin(errors: Errors): void {
  expect(errors.out).toBeLessThanOrEqual(errors.outBound);
  expect(errors.lse).toBeLessThanOrEqual(errors.lseBound);
}
