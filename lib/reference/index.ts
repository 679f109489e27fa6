/**
 * The algorithms of the FlashAttention literature, written to be read: plain TypeScript in float64,
 * one page each, and the oracle that the rest of this package is tested against. Nothing here
 * touches the native addon.
 *
 * Where to start: `safeSoftmax`, `onlineSoftmax` (the idea everything rests on),
 * `standardAttention` (what is to be computed), then `memoryEfficientAttention`, `flashAttention1`,
 * `flashAttention2`, `flashDecoding` (ways to compute it without the N x N matrix),
 * `flashAttentionBackward` and `quantizedAttention` (the same in float8); for servers, `rotary`,
 * `pagedAttention`, `quantizedCache` and `treeMask`.
 *
 * What is used in place of attention: `lightweightConvolution`, `dynamicConvolution` and
 * `globalMemoryAttention`. The other road, approximations, each marked as one: `linformer`,
 * `performer`, `linearAttention`, `reformer`, `routingTransformer`.
 *
 * @module flash-attention/reference
 */
export { type LinformerOptions, linformer } from './approximations/linformer.js';
export {
  emptyLinearState,
  type LinearAttentionState,
  linearAttention,
  linearAttentionStep,
} from './approximations/linear-attention.js';
export {
  type PerformerOptions,
  performer,
  performerDirections,
  positiveFeatures,
} from './approximations/performer.js';
export type { ApproximationProblem } from './approximations/problem.js';
export { type ReformerOptions, reformer } from './approximations/reformer.js';
export { type RoutingOptions, routingTransformer } from './approximations/routing-transformer.js';
export {
  type ConvolutionProblem,
  type ConvolutionResult,
  type ConvolutionShape,
  dynamicConvolution,
  lightweightConvolution,
} from './dynamic-convolution.js';
export type { E4m3Shape, E4m3Tensor, QuantizeE4m3Options } from './e4m3-tensor.js';
export { type FlashAttention1Options, flashAttention1 } from './flash-attention-1.js';
export { flashAttention2, type TileOptions } from './flash-attention-2.js';
export { type BackwardInputs, flashAttentionBackward } from './flash-attention-backward.js';
export { type FlashDecodingOptions, flashDecoding } from './flash-decoding.js';
export {
  bfloat16Bits,
  bfloat16FromBits,
  e4m3Bits,
  e4m3FromBits,
  float16Bits,
  float16FromBits,
  fromBfloat16Array,
  fromFloat16Array,
  roundToBfloat16,
  roundToE4m3,
  roundToFloat16,
  toBfloat16Array,
  toFloat16Array,
} from './float.js';
export {
  type BlockProblem,
  blockMeans,
  type GlobalMemory,
  globalMemoryAttention,
} from './global-memory.js';
export type { IoCounter, MachineOptions, Named, Range, Step, Tile } from './machine.js';
export type { Matrix } from './matrix.js';
export {
  type MemoryEfficientAttentionOptions,
  memoryEfficientAttention,
} from './memory-efficient-attention.js';
export { type AttentionState, mergeStates } from './merge.js';
export { EMPTY_SOFTMAX, mergeSoftmax, onlineSoftmax, type SoftmaxState } from './online-softmax.js';
export { type PagedProblem, type PagedShape, pagedAttention } from './paged-attention.js';
export { type Dropout, dropoutFactor, philox4x32 } from './philox.js';
export type { Precision } from './precision.js';
export type {
  Numbers,
  ReferenceGradients,
  ReferenceMask,
  ReferenceOptions,
  ReferenceProblem,
  ReferenceResult,
  ReferenceShape,
} from './problem.js';
export {
  dequantizeE4m3,
  hadamardRotate,
  quantizeE4m3,
} from './quantize.js';
export {
  type CodeDType,
  dequantizedCache,
  type QuantizedRows,
  quantizedCache,
} from './quantized-cache.js';
export { type QuantizedAttentionOptions, quantizedAttention } from './quantized-attention.js';
export { type RotaryOptions, type RotaryShape, rotary } from './rotary.js';
export { type SoftmaxResult, safeSoftmax } from './safe-softmax.js';
export { type StandardAttentionOptions, standardAttention } from './standard-attention.js';
export {
  type StandardAttentionBackwardOptions,
  standardAttentionBackward,
} from './standard-attention-backward.js';
export { type TreeMask, treeMask } from './tree-mask.js';
