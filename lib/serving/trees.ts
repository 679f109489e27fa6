import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkInteger, checkOptions } from '../tensor/check.js';

/** One sequence of a ragged batch. */
export interface DraftSequence {
  /** Its queries. */
  readonly queries: number;
  /** Its keys, those of the queries included, which are the last ones. */
  readonly keys: number;
  /**
   * For each query the index of the one before it on its path, less than its own; -1: the last key
   * before the tree. Left out: the queries are one path.
   */
  readonly parents?: ArrayLike<number>;
}

/** What `DraftTrees` holds: row-major numbers for `tensor()`. */
export interface PackedTrees {
  /** `[total, words]` */
  readonly mask: Int32Array;
  /** Words of a row: bits for the largest tree. */
  readonly words: number;
  /** `[total]` */
  readonly positions: Int32Array;
}

const sequenceKeys: ReadonlySet<string> = new Set(['queries', 'keys', 'parents']);

/**
 * The masks and positions of trees of draft tokens, for `flashAttentionRagged`: a token sees
 * itself, those before it on its path, and all keys before the tree; it stands at its depth.
 *
 * @param sequences All of the batch, in order. One without parents is as it would be without any
 * trees.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`, `ERR_SHAPE`, naming the member.
 *
 * @example
 * const parents = [-1, 0, 0, 1];
 * const { mask, positions } = packTrees([{ queries: 4, keys: 104, parents }]);
 * positions; // [100, 101, 101, 102]
 * mask; // [0b0001, 0b0011, 0b0101, 0b1011]
 */
export function packTrees(sequences: readonly DraftSequence[]): PackedTrees {
  if (!Array.isArray(sequences)) fail('ERR_TYPE', 'sequences', 'an array', show(sequences));
  let [total, longest] = [0, 1];
  sequences.forEach((sequence, b) => {
    checkSequence(sequence, `sequences[${b}]`);
    total += sequence.queries;
    if (sequence.parents) longest = Math.max(longest, sequence.queries);
  });
  const words = Math.ceil(longest / 32);
  const mask = new Int32Array(total * words);
  const positions = new Int32Array(total);
  let first = 0;
  for (const { queries, keys, parents } of sequences) {
    const row = (i: number) => mask.subarray((first + i) * words, (first + i + 1) * words);
    for (let i = 0; i < queries; i++) {
      const parent = parents ? parents[i] : i - 1;
      positions[first + i] = parent < 0 ? keys - queries : positions[first + parent] + 1;
      if (queries > 32 * words) continue;
      if (!parents) row(i).fill(-1);
      else if (parent >= 0) row(i).set(row(parent));
      row(i)[i >> 5] |= 1 << (i & 31);
    }
    first += queries;
  }
  return { mask, words, positions };
}

function checkSequence(sequence: DraftSequence, argument: string): void {
  const given = checkOptions(sequence, sequenceKeys, argument);
  if (given === undefined)
    fail('ERR_TYPE', argument, 'an object with queries and keys', 'undefined');
  const { queries, keys, parents } = given;
  checkInteger(keys, 0, 2 ** 30 - 1, `${argument}.keys`);
  checkInteger(queries, 0, 2 ** 30 - 1, `${argument}.queries`);
  if (parents === undefined) return;
  if (typeof parents !== 'object' || parents === null || typeof parents.length !== 'number') {
    fail('ERR_TYPE', `${argument}.parents`, 'an array of integers', show(parents));
  }
  if (parents.length !== queries || queries > keys) {
    const expected = `one parent for each of ${queries} queries, all among the ${keys} keys,`;
    fail('ERR_SHAPE', `${argument}.parents`, expected, `${parents.length}`);
  }
  for (let i = 0; i < queries; i++) {
    checkInteger(parents[i], -1, i - 1, `${argument}.parents[${i}]`);
  }
}
