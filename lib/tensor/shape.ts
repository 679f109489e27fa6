import { fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';

/** The largest rank the native side has room for (csrc/core/view.h). */
const maxRank = 6;

export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (let i = 0; i < shape.length; i++) size *= shape[i];
  return size;
}

/** Row-major strides, in elements. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== expected) return false;
    expected *= shape[i];
  }
  return true;
}

/** A copy of `shape` after checking that it is one. */
export function checkShape(shape: unknown, argument: string): number[] {
  if (!Array.isArray(shape)) {
    fail('ERR_TYPE', argument, 'an array of non-negative integers', show(shape));
  }
  if (shape.length < 1 || shape.length > maxRank) {
    fail('ERR_SHAPE', argument, `1 to ${maxRank} axes`, show(shape));
  }
  for (let i = 0; i < shape.length; i++) {
    const length: unknown = shape[i];
    if (!Number.isSafeInteger(length) || (length as number) < 0) {
      const code = typeof length === 'number' ? 'ERR_SHAPE' : 'ERR_TYPE';
      fail(code, `${argument}[${i}]`, 'a non-negative integer', show(length));
    }
  }
  const copy = shape.slice() as number[];
  if (!Number.isSafeInteger(sizeOf(copy))) {
    fail('ERR_SHAPE', argument, 'fewer than 2^53 elements', showShape(copy));
  }
  return copy;
}

/** `shape` with a single -1 replaced by the length that makes `size` elements. */
export function checkReshape(shape: unknown, size: number, argument: string): number[] {
  if (!Array.isArray(shape)) return checkShape(shape, argument);
  const unknownAxis = shape.indexOf(-1);
  const other = shape.lastIndexOf(-1);
  if (other !== unknownAxis) {
    fail('ERR_SHAPE', `${argument}[${other}]`, 'a length, for one axis alone may be -1,', '-1');
  }
  if (unknownAxis < 0) {
    const known = checkShape(shape, argument);
    if (sizeOf(known) !== size) fail('ERR_SHAPE', argument, `${size} elements`, showShape(known));
    return known;
  }
  const known = checkShape(
    shape.map((length, axis) => (axis === unknownAxis ? 1 : length)),
    argument,
  );
  const rest = sizeOf(known);
  if (rest === 0 || size % rest !== 0) {
    fail('ERR_SHAPE', argument, `a shape that divides ${size} elements`, show(shape));
  }
  known[unknownAxis] = size / rest;
  return known;
}

/**
 * Strides that show the elements of (`shape`, `strides`) in the same order as `target`, or
 * undefined when only a copy can. Old axes that step as one are merged; every new axis must lie
 * within one of those runs.
 */
export function reshapeStrides(
  shape: readonly number[],
  strides: readonly number[],
  target: readonly number[],
): number[] | undefined {
  if (sizeOf(shape) === 0) return contiguousStrides(target);
  const runs: { length: number; stride: number }[] = []; // innermost first
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const length = shape[axis];
    const stride = strides[axis];
    const inner = runs.at(-1);
    if (length === 1) continue;
    if (inner && stride === inner.stride * inner.length) inner.length *= length;
    else runs.push({ length, stride });
  }
  const result = new Array<number>(target.length).fill(1);
  let run = { length: 1, stride: 1 };
  let next = 0;
  for (let axis = target.length - 1; axis >= 0; axis--) {
    const length = target[axis];
    if (length === 1) continue;
    if (run.length === 1) run = runs[next++] as { length: number; stride: number };
    if (run.length % length !== 0) return undefined;
    result[axis] = run.stride;
    run.length /= length;
    run.stride *= length;
  }
  return result;
}
