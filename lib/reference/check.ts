import { type ErrorCode, FlashAttentionError, fail } from '../native/errors.js';
import { show } from '../native/show.js';

/** ERR_TYPE for a value that is not even of the right type, else `code`. */
export function codeOf(value: unknown, type: string, code: ErrorCode): ErrorCode {
  return typeof value === type ? code : 'ERR_TYPE';
}

export function checkInteger(argument: string, value: unknown, min: number, code: ErrorCode): void {
  if (!Number.isInteger(value) || (value as number) < min) {
    fail(codeOf(value, 'number', code), argument, `an integer of at least ${min}`, show(value));
  }
}

export function checkFinite(argument: string, value: unknown, min = -Infinity): void {
  if (!Number.isFinite(value) || (value as number) < min) {
    const expected = min === 0 ? 'a finite number of at least 0' : 'a finite number';
    fail(codeOf(value, 'number', 'ERR_OPTION'), argument, expected, show(value));
  }
}

export function checkObject(argument: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) {
    fail('ERR_TYPE', argument, 'an object', show(value));
  }
}

/** An object whose fields are all `known`: a misspelt one would pass for one that is left out. */
export function checkFields<T extends object>(
  argument: string,
  value: T,
  known: readonly (keyof T & string)[],
  prefix = '',
): void {
  checkObject(argument, value);
  for (const field of Object.keys(value)) {
    if ((known as readonly string[]).includes(field)) continue;
    throw new FlashAttentionError(
      'ERR_OPTION',
      `Expected ${argument} to hold known fields but received '${field}'. Known: ${known.join(', ')}.`,
      { argument: `${prefix}${field}` },
    );
  }
}

/** An array of any length. */
export function checkList(argument: string, data: unknown): void {
  const { length } = (data ?? {}) as ArrayLike<number>;
  if (typeof data !== 'object' || typeof length !== 'number') {
    fail('ERR_TYPE', argument, 'an array of numbers', show(data));
  }
}

export function checkLength(
  argument: string,
  data: unknown,
  lengths: number[],
  meaning: string,
): void {
  checkList(argument, data);
  const { length } = data as ArrayLike<number>;
  if (!lengths.includes(length)) {
    fail('ERR_SHAPE', argument, `${lengths.join(' or ')} numbers, ${meaning},`, String(length));
  }
}

/** A Float32Array or Float64Array, by name: arrays of another realm are welcome. */
export function checkNumbers(
  argument: string,
  data: unknown,
  length: number,
  meaning: string,
): void {
  const type = ArrayBuffer.isView(data) && Object.prototype.toString.call(data).slice(8, -1);
  if (type !== 'Float32Array' && type !== 'Float64Array') {
    const code = ArrayBuffer.isView(data) ? 'ERR_DTYPE' : 'ERR_TYPE';
    fail(code, argument, 'a Float32Array or a Float64Array', show(data));
  }
  checkLength(argument, data, [length], meaning);
}

export function checkUint64(argument: string, value: unknown): void {
  if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) {
    const code = codeOf(value, 'bigint', 'ERR_OPTION');
    fail(code, argument, 'a bigint from 0n to 2n ** 64n - 1n', show(value));
  }
}

export function checkBoolean(argument: string, value: unknown): void {
  if (typeof value !== 'boolean') fail('ERR_TYPE', argument, 'a boolean', show(value));
}

/** Checks the size of a tile, a chunk or the like. */
export function checkTile(argument: string, value: unknown): void {
  checkInteger(argument, value, 1, 'ERR_OPTION');
}
