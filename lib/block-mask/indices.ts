import { checkInteger } from '../native/check-value.js';
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';

/** Which positions are special: the first `n`, or a list of them. */
export type IndexSet = number | readonly number[] | Int32Array;

/** Flags, 1 where the position is in the set. */
export function checkIndexSet(value: unknown, length: number, argument: string): Uint8Array {
  const flags = new Uint8Array(length);
  if (typeof value === 'number') {
    flags.fill(1, 0, checkInteger(value, 0, length, argument));
    return flags;
  }
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) {
    fail('ERR_TYPE', argument, 'a count or a list of indices', show(value));
  }
  const list = value as ArrayLike<unknown>;
  for (let i = 0; i < list.length; i++) {
    flags[checkInteger(list[i], 0, length - 1, `${argument}[${i}]`)] = 1;
  }
  return flags;
}
