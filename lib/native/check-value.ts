// Checks of plain values. Each returns the value it was given, narrowed, or throws.

import { fail } from './errors.js';
import { show } from './show.js';

export function checkNumber(value: unknown, argument: string): number {
  if (typeof value !== 'number') fail('ERR_TYPE', argument, 'a number', show(value));
  return value;
}

export function checkInteger(value: unknown, min: number, max: number, argument: string): number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    const code = typeof value === 'number' ? 'ERR_OPTION' : 'ERR_TYPE';
    fail(code, argument, integerFrom(min, max), show(value));
  }
  return value as number;
}

function integerFrom(min: number, max: number): string {
  if (min === max) return `${min}`;
  return max === Number.MAX_SAFE_INTEGER
    ? `an integer of at least ${min}`
    : `an integer from ${min} to ${max}`;
}

/** A window bound: an integer or Infinity. */
export function checkWindowBound(value: unknown, argument: string): number {
  if (!Number.isSafeInteger(value) && value !== Number.POSITIVE_INFINITY) {
    const code = typeof value === 'number' ? 'ERR_OPTION' : 'ERR_TYPE';
    const hint = value === Number.NEGATIVE_INFINITY ? 'Infinity stands for no bound.' : '';
    fail(code, argument, 'an integer or Infinity', show(value), hint);
  }
  return value as number;
}

export function checkBoolean(value: unknown, argument: string): boolean {
  if (typeof value !== 'boolean') fail('ERR_TYPE', argument, 'a boolean', show(value));
  return value;
}

const uint64End = 1n << 64n;

/** A bigint from 0 to 2^64 - 1. Numbers are refused: they cannot hold every seed. */
export function checkUint64(value: unknown, argument: string): bigint {
  if (typeof value !== 'bigint') {
    const hint = Number.isSafeInteger(value) ? `Write ${value}n.` : '';
    fail('ERR_TYPE', argument, 'a bigint', show(value), hint);
  }
  if (value < 0n || value >= uint64End) {
    fail('ERR_OPTION', argument, 'a bigint from 0n to 2n ** 64n - 1n', show(value));
  }
  return value;
}
