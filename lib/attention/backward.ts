import { native } from '../native/addon.js';
import { enqueued } from '../native/call-options.js';
import { call, fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
import type { DType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { denseProblem } from './dense.js';
import type { AttentionOptions, ReturnLse, VarlenAttentionOptions } from './options.js';
import { type Problem, release } from './problem.js';
import { handleOn } from './qkv.js';
import { resultTensor } from './result.js';
import { varlenProblem } from './varlen.js';

/** What a forward call took and gave. */
export interface ForwardState<D extends DType = DType> {
  q: Tensor<D>;
  k: Tensor;
  v: Tensor;
  /** As the forward call returned it. */
  out: Tensor;
  /** As the forward call returned it with `returnLse: true`. */
  lse: Tensor;
}

/** The gradients of a loss with regard to the inputs, each shaped and typed like its input. */
export interface AttentionGradients<D extends DType = DType> {
  dq: Tensor<D>;
  dk: Tensor<D>;
  dv: Tensor<D>;
  /** float32 `[heads]`; only where the call had `sinks`. */
  dSinks?: Tensor<'float32'>;
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
 * get zeros. Key heads sum over the query heads that share them.
 * @throws {@link FlashAttentionError} as {@link flashAttention}.
 *
 * @example
 * const { out, lse } = flashAttention(q, k, v, { causal: true, returnLse: true });
 * const { dq, dk, dv } = flashAttentionBackward(dOut, { q, k, v, out, lse }, { causal: true });
 */
export function flashAttentionBackward<D extends DType>(
  dOut: Tensor,
  state: ForwardState<D>,
  options?: Omit<AttentionOptions, 'scales'> & ReturnLse,
): AttentionGradients<D> {
  const { q, k, v } = checkState(state);
  return backward(dOut, state, denseProblem(q, k, v, options, names), options?.deterministic);
}

/**
 * Gradients of {@link flashAttentionVarlen}, as {@link flashAttentionBackward}. Rows that belong to
 * no sequence get 0.
 *
 * @param dOut `[totalQ, heads, headDimV]`, dtype and device of out.
 * @param state Inputs and results of the forward call; lse is `[heads, totalQ]`.
 * @param options Those of the forward call; `cuSeqlensQ` and `cuSeqlensK` are required.
 * @returns Gradients shaped and typed like the inputs.
 * @throws {@link FlashAttentionError} as {@link flashAttentionVarlen}.
 */
export function flashAttentionVarlenBackward<D extends DType>(
  dOut: Tensor,
  state: ForwardState<D>,
  options: Omit<VarlenAttentionOptions, 'scales'> & ReturnLse,
): AttentionGradients<D> {
  const { q, k, v } = checkState(state);
  return backward(dOut, state, varlenProblem(q, k, v, options, names), options.deterministic);
}

const names = { q: 'state.q', k: 'state.k', v: 'state.v', out: 'state.out', lse: 'state.lse' };

function checkState<D extends DType>(state: ForwardState<D>): ForwardState<D> {
  if (typeof state !== 'object' || state === null) {
    fail('ERR_TYPE', 'state', 'an object with q, k, v, out and lse', show(state));
  }
  return state;
}

function backward<D extends DType>(
  dOut: Tensor,
  { v, out, lse }: ForwardState<D>,
  problem: Problem,
  deterministic = false,
): AttentionGradients<D> {
  const { args, q, temporaries } = problem;
  try {
    const backwardArgs = {
      ...args,
      dOut: handleOn(q.device, dOut, 'dOut'),
      out: handleOn(q.device, out, 'state.out'),
      lse: handleOn(q.device, lse, 'state.lse'),
      deterministic,
    };
    // Where out does not fit v either, the caller's own tensor is named rather than the saved one.
    const comparable = dOut.shape.length === v.shape.length;
    if (comparable && dOut.shape.at(-1) !== v.shape.at(-1)) {
      const expected = `of shape [..., ${v.shape.at(-1)}], the head dim of state.v,`;
      fail('ERR_SHAPE', 'dOut', expected, showShape(dOut.shape));
    }
    const [dq, dk, dv, dSinks] = enqueued(problem.options, () =>
      call(() => native().attentionBackward(backwardArgs), names),
    );
    const gradients: AttentionGradients<D> = {
      dq: resultTensor(dq, q.device),
      dk: resultTensor(dk, q.device),
      dv: resultTensor(dv, q.device),
    };
    if (dSinks !== null) gradients.dSinks = resultTensor(dSinks, q.device);
    return gradients;
  } finally {
    release(temporaries);
  }
}
