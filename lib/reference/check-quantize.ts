// Checks of what the float8 functions are given.
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import {
  checkInteger,
  checkLength,
  checkList,
  checkNumbers,
  checkUint64,
  codeOf,
} from './check.js';
import {
  blocksOf,
  type E4m3Shape,
  type E4m3Tensor,
  type QuantizeE4m3Options,
} from './e4m3-tensor.js';

const AXES = '[batch, seqlen, heads, dim]';

function checkObject(argument: string, value: unknown, expected = 'an object'): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    fail('ERR_TYPE', argument, expected, show(value));
  }
}

/** Checks a word that says which of a few ways is meant. */
export function checkOneOf(argument: string, value: unknown, words: readonly string[]): void {
  if (words.includes(value as string)) return;
  const expected = words.map((word) => `'${word}'`).join(' or ');
  fail(codeOf(value, 'string', 'ERR_OPTION'), argument, expected, show(value));
}

function isPowerOfTwo(dim: number): boolean {
  return Number.isInteger(Math.log2(dim));
}

function checkShape(shape: E4m3Shape): number {
  checkObject('shape', shape, 'an object { batch, seqlen, heads, dim }');
  const { batch, seqlen, heads, dim } = shape;
  checkInteger('shape.batch', batch, 0, 'ERR_SHAPE');
  checkInteger('shape.seqlen', seqlen, 0, 'ERR_SHAPE');
  checkInteger('shape.heads', heads, 1, 'ERR_SHAPE');
  checkInteger('shape.dim', dim, 1, 'ERR_SHAPE');
  return batch * seqlen * heads * dim;
}

/** Checks what is to share a scale, and the rotation of rows of length `dim`. */
function checkQuantization(options: QuantizeE4m3Options, dim: number): void {
  checkObject('options', options);
  const { per, hadamard } = options;
  if (per !== undefined) checkOneOf('per', per, ['block', 'head', 'tensor']);
  if (hadamard === undefined) return;
  checkObject('hadamard', hadamard, 'an object { seed }');
  checkUint64('hadamard.seed', hadamard.seed);
  if (!isPowerOfTwo(dim)) {
    fail('ERR_SHAPE', 'hadamard', 'absent unless rows have a power of two of elements', show(dim));
  }
}

function checkSequences(cuSeqlens: unknown, { batch, seqlen }: E4m3Shape): void {
  if (cuSeqlens === undefined) return;
  checkList('cuSeqlens', cuSeqlens);
  const offsets = Array.from(cuSeqlens as ArrayLike<number>);
  const ascends = offsets.every((at, b) => Number.isInteger(at) && at >= (offsets[b - 1] ?? 0));
  if (batch !== 1 || offsets[0] !== 0 || !ascends || Number(offsets.at(-1)) > seqlen) {
    const expected = `integers that ascend from 0 within ${seqlen} tokens of a batch of 1`;
    fail('ERR_SHAPE', 'cuSeqlens', expected, `${show(offsets)} and a batch of ${batch}`);
  }
}

/** Checks the arguments of quantizeE4m3(). */
export function checkQuantize(data: unknown, shape: E4m3Shape, options: QuantizeE4m3Options): void {
  checkNumbers('data', data, checkShape(shape), AXES);
  checkQuantization(options, shape.dim);
  checkSequences(options.cuSeqlens, shape);
}

/** Checks the argument of dequantizeE4m3(). */
export function checkQuantized(quantized: E4m3Tensor): void {
  checkObject('quantized', quantized, 'an object { shape, bits, scales }');
  const { shape, bits, scales } = quantized;
  const size = checkShape(shape);
  if (!ArrayBuffer.isView(bits) || bits[Symbol.toStringTag] !== 'Uint8Array') {
    fail('ERR_TYPE', 'bits', 'a Uint8Array', show(bits));
  }
  checkLength('bits', bits, [size], AXES);
  checkQuantization(quantized, shape.dim);
  checkSequences(quantized.cuSeqlens, shape);
  const { count } = blocksOf(shape, quantized.cuSeqlens);
  checkNumbers('scales', scales, count, '[batch, heads, blocks]');
}

/** Checks the arguments of hadamardRotate(). */
export function checkRotation(rows: unknown, dim: number, seed: bigint, direction: unknown): void {
  checkInteger('dim', dim, 1, 'ERR_SHAPE');
  const { length } = (rows ?? {}) as ArrayLike<number>;
  checkNumbers('rows', rows, length, 'rows of length dim');
  if (!isPowerOfTwo(dim) || length % dim !== 0) {
    fail('ERR_SHAPE', 'dim', 'a power of two that divides the length of rows', show(dim));
  }
  checkUint64('seed', seed);
  checkOneOf('direction', direction, ['forward', 'back']);
}
