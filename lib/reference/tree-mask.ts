import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkList } from './check.js';

/**
 * The draft tokens of one sequence as speculative decoding proposes them: several continuations.
 */
export interface TreeMask {
  /** Of each draft token: how many others come before it on its path. */
  readonly depths: readonly number[];
  /** `sees[i][j]`: whether draft token j is on the path of i, which ends with i itself. */
  readonly sees: readonly (readonly boolean[])[];
}

/**
 * What a tree of draft tokens hides: a token sees its own path only, for the others are what might
 * have come instead. It stands at its depth, not at its index. With all tokens committed before the
 * tree, one pass over the model so judges every path (Miao et al., "SpecInfer", 2023, arXiv
 * 2305.09781, section 4.2).
 *
 * @param parents For each draft token the index of the one before it on its path, which is less
 * than its own; -1: the last committed token.
 *
 * @example
 * treeMask([-1, 0, 0, 1]).depths; // [0, 1, 1, 2]
 * treeMask([-1, 0, 0, 1]).sees[3]; // [true, true, false, true]
 *
 * @throws FlashAttentionError ERR_TYPE or ERR_OPTION, naming the parent
 */
export function treeMask(parents: ArrayLike<number>): TreeMask {
  checkList('parents', parents);
  const depths: number[] = [];
  const sees: boolean[][] = [];
  for (let i = 0; i < parents.length; i++) {
    const parent = parents[i];
    if (!Number.isInteger(parent) || parent < -1 || parent >= i) {
      fail('ERR_OPTION', `parents[${i}]`, `an integer from -1 to ${i - 1}`, show(parent));
    }
    depths.push(parent < 0 ? 0 : depths[parent] + 1);
    sees.push(Array.from(parents, (_, j) => j === i || (parent >= 0 && sees[parent][j])));
  }
  return { depths, sees };
}
