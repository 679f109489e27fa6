import { native } from '../native/addon.js';
import { type CallOptions, callKeys, enqueued } from '../native/call-options.js';
import { call } from '../native/errors.js';
import { checkBoolean, checkOptions, checkTensor } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import { liveHandle, type Tensor } from '../tensor/tensor.js';
import type { Layout } from './options.js';
import { checkLayout, handleOn } from './qkv.js';
import { resultTensor } from './result.js';

/** Options of {@link dynamicConv}. */
export interface DynamicConvOptions extends CallOptions {
  /** Axes of x, weights, state and out. Default `'bshd'`. */
  layout?: Layout;
  /**
   * `[batch, kernelSize - 1, heads, headDim]` (or bhsd by `layout`), in the dtype of x: the inputs
   * before x, the latest last. Default: zeros, as at the beginning of a sequence.
   */
  state?: Tensor;
}

/** Whether to return `{ out, state }` and not `out` alone. Default false. */
export interface ReturnState<Value extends boolean = boolean> {
  returnState?: Value;
}

/** What {@link dynamicConv} returns with `returnState: true`. */
export interface DynamicConvResult<D extends DType = DType> {
  /** Like x. */
  readonly out: Tensor<D>;
  /** The last kernelSize - 1 inputs: `state` of the call with the tokens that follow. */
  readonly state: Tensor<D>;
}

const keys: ReadonlySet<string> = new Set(['layout', 'state', 'returnState', ...callKeys]);

/**
 * Dynamic convolution (Wu et al. 2019, "Pay Less Attention with Lightweight and Dynamic
 * Convolutions"), causal and depthwise. With K taps and `p = softmax(weights[b, i, h])`,
 *
 *     out[b, i, h, c] = Σ_t p_t x[b, i - (K - 1) + t, h, c]
 *
 * so that the last tap is token i itself. The weights of a token are made from that token, by a
 * matrix product that is the caller's; all channels of a head share them. Weights `[heads, K]`, the
 * same for every token, make it the paper's lightweight convolution. Inputs before the first are 0.
 *
 * A token costs K * headDim products a head however long the sequence is, and to continue takes the
 * last K - 1 inputs and not all of them. What is further away than that a token does not see, and
 * which input gets which weight is decided by the token and the distance, never by what the input
 * holds: this is no attention, and finds nothing by its content.
 *
 * Sums are kept in float32. The bits of a token's result depend on its K inputs and its weights
 * alone: a sequence in pieces, one token a call even, gives what it gives in one call. A tap whose
 * logit is -Infinity does not exist; where all are, out is 0. Runs on the CPU only. There is no
 * packed form with cuSeqlens: sequences of different lengths have a call each, or padding at the
 * end.
 *
 * @param x `[batch, seqlen, heads, headDim]`, or `[batch, heads, seqlen, headDim]` with `layout:
 * 'bhsd'`; any strides; float32, float16 or bfloat16; headDim 1 to 576.
 * @param weights Logits of the taps, `[batch, seqlen, heads, kernelSize]` (or bhsd), or `[heads,
 * kernelSize]`; float32, float16 or bfloat16; kernelSize 1 to 1024.
 * @param options See {@link DynamicConvOptions}.
 * @returns out, of the shape and dtype of x; with `returnState: true` also the state to go on with.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`, `ERR_DTYPE`, `ERR_DEVICE` (also of
 * tensors that are not on the CPU), `ERR_OPTION`, `ERR_DISPOSED`, `ERR_ABORTED`,
 * `ERR_OUT_OF_MEMORY`.
 *
 * @example
 * let { out, state } = dynamicConv(prompt, weights, { returnState: true });
 * // then token by token: x [1, 1, heads, headDim], w [1, 1, heads, kernelSize]
 * ({ out, state } = dynamicConv(x, w, { state, returnState: true }));
 */
export function dynamicConv<D extends DType>(
  x: Tensor<D>,
  weights: Tensor,
  options: DynamicConvOptions & { returnState: true },
): DynamicConvResult<D>;
/** {@link dynamicConv} without its state. */
export function dynamicConv<D extends DType>(
  x: Tensor<D>,
  weights: Tensor,
  options?: DynamicConvOptions & ReturnState<false>,
): Tensor<D>;
/** {@link dynamicConv} with its state or without, as `returnState` says. */
export function dynamicConv<D extends DType>(
  x: Tensor<D>,
  weights: Tensor,
  options?: DynamicConvOptions & ReturnState,
): Tensor<D> | DynamicConvResult<D>;
export function dynamicConv(
  x: Tensor,
  weights: Tensor,
  options?: DynamicConvOptions & ReturnState,
): Tensor | DynamicConvResult {
  const { device } = checkTensor(x, 'x');
  const weightsHandle = handleOn(device, weights, 'weights');
  const given = checkOptions(options, keys);
  const layout = checkLayout(given?.layout);
  const returnState = given?.returnState ?? false;
  checkBoolean(returnState, 'options.returnState');
  const before = given?.state;
  const stateHandle = before === undefined ? before : handleOn(device, before, 'options.state');
  const [out, state] = enqueued(given, () =>
    call(
      () => native().dynamicConv(liveHandle(x), weightsHandle, stateHandle, layout, returnState),
      names,
    ),
  );
  const result = resultTensor(out, device);
  return state === null ? result : { out: result, state: resultTensor(state, device) };
}

const names = { state: 'options.state' };
