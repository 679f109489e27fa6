import { native } from '../native/addon.js';
import { call } from '../native/errors.js';
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
import { varlenProblem } from './varlen.js';

/** Options of {@link explain}: those of the function that would be called. */
export type ExplainOptions = (AttentionOptions | VarlenAttentionOptions | PagedAttentionOptions) &
  ReturnLse;

/**
 * What a call with these arguments would do, without doing it: kernel, tiles, splits, FLOPs, bytes
 * moved, and what standard attention would have cost instead (the IO argument of Dao et al. 2022).
 *
 * @param q, k, v As for {@link flashAttention}; with `cuSeqlensQ` in options as for
 * {@link flashAttentionVarlen}, with `pageTable` as for {@link flashAttentionPaged}.
 * @throws {@link FlashAttentionError} as the function that would be called.
 */
export function explain(q: Tensor, k: Tensor, v: Tensor, options?: ExplainOptions): Plan {
  const problem = anyProblem(q, k, v, options);
  try {
    return { device: problem.q.device, ...call(() => native().plan(problem.args), problem.names) };
  } finally {
    release(problem.temporaries);
  }
}

function anyProblem(q: Tensor, k: Tensor, v: Tensor, options?: ExplainOptions): Problem {
  if (typeof options === 'object' && options !== null) {
    if ('cuSeqlensQ' in options) return varlenProblem(q, k, v, options);
    if ('pageTable' in options) return pagedProblem(q, k, v, options);
  }
  return denseProblem(q, k, v, options);
}
