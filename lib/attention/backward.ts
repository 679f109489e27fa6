import { native } from '../native/addon.js';
import { call, fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkSameDevice, checkTensor, checkTensorDType } from '../tensor/check.js';
import { floating } from '../tensor/dtype.js';
import { liveHandle, newTensor, type Tensor } from '../tensor/tensor.js';
import { denseProblem } from './dense.js';
import type { AttentionOptions, ReturnLse, VarlenAttentionOptions } from './options.js';
import { type Problem, release } from './problem.js';
import { failShape } from './qkv.js';
import { varlenProblem } from './varlen.js';

/** What a forward call took and gave. */
export interface ForwardState {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  /** As the forward call returned it. */
  out: Tensor;
  /** As the forward call returned it with `returnLse: true`. */
  lse: Tensor;
}

/** The gradients of a loss with regard to the inputs, each shaped and typed like its input. */
export interface AttentionGradients {
  dq: Tensor;
  dk: Tensor;
  dv: Tensor;
  /** float32 `[heads]`; only where the call had `sinks`. */
  dSinks?: Tensor;
}

/**
 * Gradients of {@link flashAttention} by recomputation (FlashAttention-2, Dao 2023, Algorithm 2):
 * the probabilities are computed again tile by tile from q, k and lse, so memory stays linear in
 * the sequence lengths. They are those of the exact function, masks, softcap and dropout included;
 * of `mask`, `alibiSlopes` and `scale` themselves there are none. There are none of float8_e4m3
 * tensors either, which are refused: {@link dequantize} them before the forward call.
 *
 * @param dOut Gradient of the loss with regard to out: shape, dtype and device of out.
 * @param state Inputs and results of the forward call.
 * @param options Those of the forward call. `deterministic` makes the bits independent of the
 * number of threads; `numSplits` and `returnLse` do not matter here.
 * @returns Gradients in the layout of the inputs; rows that saw nothing, and keys that nothing saw,
 * get
 * 0. Key heads sum over the query heads that share them.
 * @throws {@link FlashAttentionError} as {@link flashAttention}.
 *
 * @example
 * const { out, lse } = flashAttention(q, k, v, { causal: true, returnLse: true });
 * const { dq, dk, dv } = flashAttentionBackward(dOut, { q, k, v, out, lse }, { causal: true });
 */
export function flashAttentionBackward(
  dOut: Tensor,
  state: ForwardState,
  options?: Omit<AttentionOptions, 'scales'> & ReturnLse,
): AttentionGradients {
  const { q, k, v } = checkState(state);
  return backward(
    dOut,
    state,
    denseProblem(q, k, v, options, names, floating),
    options?.deterministic,
  );
}

/**
 * Gradients of {@link flashAttentionVarlen}, as {@link flashAttentionBackward}. Rows that belong to
 * no sequence get 0.
 *
 * @param dOut `[totalQ, heads, headDimV]`.
 * @throws {@link FlashAttentionError} as {@link flashAttentionVarlen}.
 */
export function flashAttentionVarlenBackward(
  dOut: Tensor,
  state: ForwardState,
  options: VarlenAttentionOptions & ReturnLse,
): AttentionGradients {
  const { q, k, v } = checkState(state);
  return backward(dOut, state, varlenProblem(q, k, v, options, names), options.deterministic);
}

const names = { q: 'state.q', k: 'state.k', v: 'state.v' };

function checkState(state: ForwardState): ForwardState {
  if (typeof state !== 'object' || state === null) {
    fail('ERR_TYPE', 'state', 'an object with q, k, v, out and lse', show(state));
  }
  return state;
}

function backward(
  dOut: Tensor,
  { k, v, out, lse }: ForwardState,
  problem: Problem,
  deterministic = false,
): AttentionGradients {
  const { args, q, outShape, lseShape, temporaries } = problem;
  try {
    const expectLike = (
      value: unknown,
      argument: string,
      dtype: Tensor['dtype'],
      shape: number[],
    ) => {
      const tensor = checkTensor(value, argument);
      checkTensorDType(tensor, [dtype], argument);
      if (
        tensor.shape.length !== shape.length ||
        tensor.shape.some((n, axis) => n !== shape[axis])
      ) {
        failShape(argument, `[${shape.join(', ')}]`, tensor);
      }
      checkSameDevice(tensor, q.device, argument);
      return liveHandle(tensor);
    };
    const backwardArgs = {
      ...args,
      dOut: expectLike(dOut, 'dOut', q.dtype, outShape),
      out: expectLike(out, 'state.out', q.dtype, outShape),
      lse: expectLike(lse, 'state.lse', 'float32', lseShape),
      deterministic,
    };
    const [dq, dk, dv, dSinks] = call(() => native().attentionBackward(backwardArgs), names);
    const gradients: AttentionGradients = {
      dq: newTensor(dq, q.dtype, q.device, [...q.shape]),
      dk: newTensor(dk, q.dtype, q.device, [...k.shape]),
      dv: newTensor(dv, q.dtype, q.device, [...v.shape]),
    };
    if (dSinks !== null) {
      const heads = args.layout === 0 || q.shape.length === 3 ? q.shape.length - 2 : 1;
      gradients.dSinks = newTensor(dSinks, 'float32', q.device, [q.shape[heads]]);
    }
    return gradients;
  } finally {
    release(temporaries);
  }
}
