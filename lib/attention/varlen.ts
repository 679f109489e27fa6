import { checkNumber, checkOptions } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkIntVector, intHandle } from './int-vector.js';
import { applyCommon } from './modifiers.js';
import {
  type AttentionResult,
  type OutDType,
  type ReturnLse,
  type VarlenAttentionOptions,
  varlenKeys,
} from './options.js';
import { newArgs, type Problem, run } from './problem.js';
import { checkTensors, type Names, plainNames, requireOptions } from './qkv.js';
import { applyScales } from './scales.js';

/**
 * {@link flashAttention} over sequences of different lengths packed one after the other, without
 * padding. Sequence b is rows `cuSeqlensQ[b]` to `cuSeqlensQ[b + 1]` of q and likewise of k and v;
 * sequences do not see each other, and each has its own diagonal.
 *
 * @param q `[totalQ, heads, headDim]`; float32, float16, bfloat16, or with `scales` float8_e4m3
 * (GPUs of compute capability 9.0 only).
 * @param k `[totalK, kvHeads, headDim]`, dtype and device of q.
 * @param v `[totalK, kvHeads, headDimV]`, dtype and device of q.
 * @param options See {@link VarlenAttentionOptions}; `layout`, `mask`, `blockMask` and `seqlensK`
 * do not apply.
 * @returns out `[totalQ, heads, headDimV]`; rows past the last sequence are 0. With
 * `returnLse: true` also lse, float32 `[heads, totalQ]`.
 * @throws {@link FlashAttentionError} as {@link flashAttention}; `ERR_SHAPE` when cuSeqlens does
 * not ascend from 0 within the rows, `ERR_OPTION` when maxSeqlen is below a length.
 */
export function flashAttentionVarlen<D extends DType>(
  q: Tensor<D>,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions & { returnLse: true },
): AttentionResult<OutDType<D>>;
/** {@link flashAttentionVarlen} without its lse. */
export function flashAttentionVarlen<D extends DType>(
  q: Tensor<D>,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions & ReturnLse<false>,
): Tensor<OutDType<D>>;
/** {@link flashAttentionVarlen} with its lse or without, as `returnLse` says. */
export function flashAttentionVarlen<D extends DType>(
  q: Tensor<D>,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions & ReturnLse,
): Tensor<OutDType<D>> | AttentionResult<OutDType<D>>;
export function flashAttentionVarlen(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions & ReturnLse,
): Tensor | AttentionResult {
  return run(varlenProblem(q, k, v, options));
}

/** Checks and translates a call. */
export function varlenProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions & ReturnLse,
  names: Names = plainNames,
): Problem {
  checkTensors(q, k, v, names);
  const given = requireOptions(checkOptions(options, varlenKeys), 'cuSeqlensQ and cuSeqlensK');
  const { cuSeqlensQ, cuSeqlensK, maxSeqlenQ, maxSeqlenK, scales } = given;
  const args = newArgs(q, k, v, 0);
  const queries = checkIntVector(cuSeqlensQ, q.device, 'options.cuSeqlensQ');
  const keys = checkIntVector(cuSeqlensK, q.device, 'options.cuSeqlensK');
  if (maxSeqlenQ !== undefined) args.maxSeqlenQ = checkNumber(maxSeqlenQ, 'options.maxSeqlenQ');
  if (maxSeqlenK !== undefined) args.maxSeqlenK = checkNumber(maxSeqlenK, 'options.maxSeqlenK');
  if (scales !== undefined) applyScales(args, scales, q.device);
  applyCommon(args, given, q.device);
  const temporaries: Tensor[] = [];
  args.cuSeqlensQ = intHandle(queries, q.device, temporaries, given);
  args.cuSeqlensK = intHandle(keys, q.device, temporaries, given);
  return { args, q, names, temporaries, options: given };
}
