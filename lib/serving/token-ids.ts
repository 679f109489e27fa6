import { checkIntegers } from '../attention/int-vector.js';
import { fail } from '../native/errors.js';

/** Ids of tokens, as a tokenizer gives them: non-negative integers below 2^31. */
export type TokenIds = Int32Array | Uint32Array | readonly number[];

const greatest = 2 ** 31 - 1;

/** A copy of token ids, at least one. */
export function checkTokenIds(value: unknown, argument: string): number[] {
  const ids = Array.from(checkIntegers(value, argument, 0, greatest));
  if (ids.length === 0) fail('ERR_SHAPE', argument, 'at least one token', 'none');
  return ids;
}
