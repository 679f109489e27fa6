import { isIntArray } from '../attention/int-vector.js';
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkInteger } from '../tensor/check.js';
import { checkAttached } from '../tensor/tensor-data.js';

/** Ids of tokens, as a tokenizer gives them: non-negative integers below 2^31. */
export type TokenIds = Int32Array | Uint32Array | readonly number[];

const greatest = 2 ** 31 - 1;

/** A copy of token ids, at least one. */
export function checkTokenIds(value: unknown, argument: string): number[] {
  if (!Array.isArray(value) && !isIntArray(value)) {
    fail('ERR_TYPE', argument, 'an Int32Array, a Uint32Array or an array of integers', show(value));
  }
  if (ArrayBuffer.isView(value)) checkAttached(value, argument);
  const ids = Array.from(value as ArrayLike<number>);
  if (ids.length === 0) fail('ERR_SHAPE', argument, 'at least one token', 'none');
  for (let i = 0; i < ids.length; i++) checkInteger(ids[i], 0, greatest, `${argument}[${i}]`);
  return ids;
}
