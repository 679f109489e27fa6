// Pages of 8-bit codes, and calls that append to them.
import fc from 'fast-check';
import type { CodeDType } from '../../lib/reference/index.js';
import { sized } from './device.js';
import { floatDTypes } from './numerics.js';

export const codeDTypes: readonly CodeDType[] = ['int8', 'float8_e4m3'];

/** Codes that nothing has been written to. */
export function unwritten(codes: CodeDType, count: number): Int8Array | Uint8Array {
  return new { int8: Int8Array, float8_e4m3: Uint8Array }[codes](count).fill(0x7f);
}

/** What tokens are appended to which pages; `turned` is rotated, interleaved or not. */
export const appendedCodes = {
  total: fc.integer({ min: 0, max: sized(40, 12) }),
  pages: fc.integer({ min: 1, max: 5 }),
  pageSize: fc.constantFrom(1, 3, 16),
  kvHeads: fc.integer({ min: 1, max: 3 }),
  dim: fc.constantFrom(2, 5, 16, 40, 128),
  dimV: fc.constantFrom(1, 7, 64),
  from: fc.constantFrom(...floatDTypes),
  fromV: fc.constantFrom(...floatDTypes),
  codes: fc.constantFrom(...codeDTypes),
  turned: fc.constantFrom<undefined | boolean>(undefined, true, false),
};
