import { checkOptions } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkSeqlens, intHandle } from './int-vector.js';
import { applyCommon, applyMasks } from './modifiers.js';
import {
  type AttentionOptions,
  type AttentionResult,
  type OutDType,
  denseKeys,
  type ReturnLse,
} from './options.js';
import { newArgs, type Problem, run } from './problem.js';
import { checkLayout, checkTensors, type Names, plainNames } from './qkv.js';
import { applyScales } from './scales.js';

/**
 * Exact attention, `softmax(scale * q kᵀ + bias) v`, without ever storing the seqlenQ x seqlenK
 * matrix (FlashAttention: Dao et al. 2022; FlashAttention-2: Dao 2023). Enqueues the work and
 * returns at once; reading the result back waits for it.
 *
 * A query row that sees no key gives 0, and -Infinity as its lse. Query head h reads kv head
 * `floor(h / (heads / kvHeads))` (grouped-query attention, Ainslie et al. 2023).
 *
 * @param q `[batch, seqlenQ, heads, headDim]`, or `[batch, heads, seqlenQ, headDim]` with `layout:
 * 'bhsd'`; any strides; float32, float16, bfloat16, or with `scales` float8_e4m3 (GPUs of compute
 * capability 9.0 only); headDim 1 to 576 (on CUDA devices above 256 in 16 bits, without masks,
 * dropout and gradients: docs/design/mla.md).
 * @param k `[batch, seqlenK, kvHeads, headDim]` (or bhsd), dtype and device of q; heads is a
 * multiple of kvHeads.
 * @param v `[batch, seqlenK, kvHeads, headDimV]` (or bhsd), dtype and device of q.
 * @param options See {@link AttentionOptions}.
 * @returns out, like q but headDimV wide, in the dtype of q (bfloat16 for float8_e4m3); sums are
 * kept in float32. With `returnLse: true` also lse, float32 `[batch, heads, seqlenQ]`.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`, `ERR_DTYPE`, `ERR_DEVICE`,
 * `ERR_OPTION`, `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`. What an index tensor that is still being
 * computed holds is checked when the work runs; such an error rejects the reading of the result.
 *
 * @example
 * const out = flashAttention(q, k, v, { causal: true });
 * const values = await out.toFloat32();
 */
export function flashAttention<D extends DType>(
  q: Tensor<D>,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions & { returnLse: true },
): AttentionResult<OutDType<D>>;
/** {@link flashAttention} without its lse. */
export function flashAttention<D extends DType>(
  q: Tensor<D>,
  k: Tensor,
  v: Tensor,
  options?: AttentionOptions & ReturnLse<false>,
): Tensor<OutDType<D>>;
/** {@link flashAttention} with its lse or without, as `returnLse` says. */
export function flashAttention<D extends DType>(
  q: Tensor<D>,
  k: Tensor,
  v: Tensor,
  options?: AttentionOptions & ReturnLse,
): Tensor<OutDType<D>> | AttentionResult<OutDType<D>>;
export function flashAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options?: AttentionOptions & ReturnLse,
): Tensor | AttentionResult {
  const problem = denseProblem(q, k, v, options);
  problem.args.plain = options === undefined;
  return run(problem);
}

/** Checks and translates a call. */
export function denseProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: (AttentionOptions & ReturnLse) | undefined,
  names: Names = plainNames,
): Problem {
  checkTensors(q, k, v, names);
  const given = checkOptions(options, denseKeys);
  const args = newArgs(q, k, v, given === undefined ? 0 : checkLayout(given.layout));
  const temporaries: Tensor[] = [];
  if (given !== undefined) {
    const { scales, seqlensK } = given;
    if (scales !== undefined) applyScales(args, scales, q.device);
    applyCommon(args, given, q.device);
    applyMasks(args, given, q.device);
    if (seqlensK !== undefined) {
      const lengths = checkSeqlens(seqlensK, q.shape[0], q.device, 'options.seqlensK');
      args.seqlensK = intHandle(lengths, q.device, temporaries, given);
    }
  }
  return { args, q, names, temporaries, options: given };
}
