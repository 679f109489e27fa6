// What of a step's tokens is kept.
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkInteger } from '../tensor/check.js';
import type { Reserved } from './reservation.js';

/** Indices of the tokens that are kept, for each sequence. */
export function checkAccept(
  accept: unknown,
  entries: readonly Reserved[],
): readonly (readonly number[])[] | undefined {
  if (accept === undefined) {
    const tree = entries.findIndex(({ parents }) => parents !== undefined);
    if (tree < 0) return undefined;
    fail('ERR_TYPE', 'options.accept', `an array, for entries[${tree}] is a tree,`, 'undefined');
  }
  if (!Array.isArray(accept)) fail('ERR_TYPE', 'options.accept', 'an array', show(accept));
  if (accept.length !== entries.length) {
    const expected = `${entries.length} members, one per sequence,`;
    fail('ERR_SHAPE', 'options.accept', expected, `${accept.length}`);
  }
  return entries.map(({ tokens, parents }, i) => {
    const path = `options.accept[${i}]`;
    if (parents !== undefined) return checkPath(accept[i], parents, path);
    const kept = checkInteger(accept[i], 0, tokens, path);
    return Array.from({ length: kept }, (_, index) => index);
  });
}

/** Indices of a tree, each the parent of the next. */
function checkPath(value: unknown, parents: readonly number[], argument: string): number[] {
  if (!Array.isArray(value)) fail('ERR_TYPE', argument, 'an array of indices', show(value));
  let before = -1;
  return Array.from(value, (each, n) => {
    const index = checkInteger(each, 0, parents.length - 1, `${argument}[${n}]`);
    if (parents[index] !== before) {
      const expected = before < 0 ? 'a root of the tree' : `one whose parent is ${before}`;
      fail(
        'ERR_OPTION',
        `${argument}[${n}]`,
        expected,
        `${index}, whose parent is ${parents[index]}`,
      );
    }
    before = index;
    return index;
  });
}
