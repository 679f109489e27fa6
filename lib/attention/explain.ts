import { native } from '../native/addon.js';
import { call, publicName } from '../native/errors.js';
import type { Plan } from '../native/plan.js';
import type { Tensor } from '../tensor/tensor.js';
import { denseProblem } from './dense.js';
import type {
  AttentionOptions,
  PagedAttentionOptions,
  ReturnLse,
  VarlenAttentionOptions,
} from './options.js';
import { pagedProblem } from './paged.js';
import { type Problem, release } from './problem.js';
import { type RaggedAttentionOptions, raggedProblem } from './ragged.js';
import { varlenProblem } from './varlen.js';

/** Options of {@link explain}: those of the function that would be called. */
export type ExplainOptions = (
  | AttentionOptions
  | VarlenAttentionOptions
  | PagedAttentionOptions
  | RaggedAttentionOptions
) &
  ReturnLse;

/**
 * What a call with these arguments would do, without doing it: kernel, tiles, splits, FLOPs, bytes
 * moved, and what standard attention would have cost instead (the IO argument of Dao et al. 2022).
 * Its own time does not grow with the lengths: tiles are counted, not walked, but for the blocks of
 * a block mask.
 *
 * Never waits for queued work. While `seqlensK`, `cuSeqlensQ` or `cuSeqlensK` are still being
 * computed, sequences are taken to be as long as the shapes and `maxSeqlenQ`, `maxSeqlenK` allow,
 * and the plan names them in `assumed`. On a GPU that holds until nothing is queued, for the host
 * has no copy of what was computed there. What such tensors hold is checked when the call runs.
 *
 * @param q As for {@link flashAttention}; with `cuSeqlensQ` in options as for
 * {@link flashAttentionVarlen}, with `pageTable` as for {@link flashAttentionPaged}, with both as
 * for `flashAttentionRagged`.
 * @param k Likewise.
 * @param v Likewise.
 * @param options Those of the call; see {@link ExplainOptions}.
 * @throws {@link FlashAttentionError} as the function that would be called.
 */
export function explain(q: Tensor, k: Tensor, v: Tensor, options?: ExplainOptions): Plan {
  const problem = anyProblem(q, k, v, options);
  try {
    const plan = call(() => native().plan(problem.args), problem.names);
    const assumed = plan.assumed.map((name) => publicName(name, problem.names));
    return { device: problem.q.device, ...plan, assumed };
  } finally {
    release(problem.temporaries);
  }
}

function anyProblem(q: Tensor, k: Tensor, v: Tensor, options?: ExplainOptions): Problem {
  if (typeof options === 'object' && options !== null) {
    if ('pageTable' in options) {
      if ('cuSeqlensQ' in options) return raggedProblem(q, k, v, options);
      return pagedProblem(q, k, v, options);
    }
    if ('cuSeqlensQ' in options) return varlenProblem(q, k, v, options);
  }
  return denseProblem(q, k, v, options);
}
