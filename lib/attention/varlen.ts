import { checkInteger, checkOptions } from '../tensor/check.js';
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
import {
  checkHeads,
  checkTensors,
  failShape,
  maxSeqlen,
  type Names,
  requireOptions,
} from './qkv.js';

/**
 * {@link flashAttention} over sequences of different lengths packed one after the other, without
 * padding. Sequence b is rows `cuSeqlensQ[b]` to `cuSeqlensQ[b + 1]` of q and likewise of k and v;
 * sequences do not see each other, and each has its own diagonal.
 *
 * @param q `[totalQ, heads, headDim]`; float32, float16 or bfloat16.
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
export function flashAttentionVarlen<D extends DType>(
  q: Tensor<D>,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions & ReturnLse<false>,
): Tensor<OutDType<D>>;
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

const plainNames: Names = { q: 'q', k: 'k', v: 'v' };

/** Checks and translates a call. */
export function varlenProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions & ReturnLse,
  names: Names = plainNames,
): Problem {
  checkTensors(q, k, v, 3, names);
  const given = requireOptions(checkOptions(options, varlenKeys), 'cuSeqlensQ and cuSeqlensK');
  const [, heads, headDim] = q.shape as [number, number, number];
  const [totalK, kvHeads] = k.shape as [number, number, number];
  if (k.shape[2] !== headDim) failShape(names.k, `[totalK, kvHeads, ${headDim}]`, k);
  if (v.shape[0] !== totalK || v.shape[1] !== kvHeads) {
    failShape(names.v, `[${totalK}, ${kvHeads}, headDimV]`, v);
  }
  checkHeads(q, v, heads, kvHeads, headDim, names);
  const args = newArgs(q, k, v, 0);
  const { cuSeqlensQ, cuSeqlensK, maxSeqlenQ, maxSeqlenK } = given;
  const ends = checkIntVector(cuSeqlensQ, q.device, 'options.cuSeqlensQ');
  if (ends < 1) failShape('options.cuSeqlensQ', '[batch + 1]', cuSeqlensQ);
  if (checkIntVector(cuSeqlensK, q.device, 'options.cuSeqlensK') !== ends) {
    failShape('options.cuSeqlensK', `[${ends}], like cuSeqlensQ,`, cuSeqlensK);
  }
  if (maxSeqlenQ !== undefined) {
    args.maxSeqlenQ = checkInteger(maxSeqlenQ, 0, maxSeqlen, 'options.maxSeqlenQ');
  }
  if (maxSeqlenK !== undefined) {
    args.maxSeqlenK = checkInteger(maxSeqlenK, 0, maxSeqlen, 'options.maxSeqlenK');
  }
  applyCommon(args, given, ends - 1, heads, q.device);
  const temporaries: Tensor[] = [];
  args.cuSeqlensQ = intHandle(cuSeqlensQ, q.device, temporaries);
  args.cuSeqlensK = intHandle(cuSeqlensK, q.device, temporaries);
  return { args, q, names, temporaries };
}
