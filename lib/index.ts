/**
 * Exact, IO-aware attention for Node.js.
 *
 * @module flash-attention
 */

export type { AttentionGradients, ForwardState } from './attention/backward.js';
export { flashAttentionBackward, flashAttentionVarlenBackward } from './attention/backward.js';
export { flashAttention } from './attention/dense.js';
export type {
  DynamicConvOptions,
  DynamicConvResult,
  ReturnState,
} from './attention/dynamic-conv.js';
export { dynamicConv } from './attention/dynamic-conv.js';
export type { ExplainOptions } from './attention/explain.js';
export { explain } from './attention/explain.js';
export type { AttentionState, MergeOptions } from './attention/merge.js';
export { mergeAttentionStates } from './attention/merge.js';
export type {
  AttentionOptions,
  AttentionResult,
  AttentionScales,
  CommonAttentionOptions,
  DropoutOptions,
  IntRow,
  IntVector,
  Layout,
  PagedAttentionOptions,
  PageTable,
  ReturnLse,
  VarlenAttentionOptions,
} from './attention/options.js';
export { flashAttentionKvPacked, flashAttentionQkvPacked } from './attention/packed.js';
export { flashAttentionPaged } from './attention/paged.js';
export type {
  DequantizeOptions,
  HadamardOptions,
  Quantized,
  QuantizeOptions,
} from './attention/quantize.js';
export { dequantize, quantize } from './attention/quantize.js';
export type { ScaledDotProductAttentionOptions } from './attention/sdpa.js';
export { scaledDotProductAttention } from './attention/sdpa.js';
export { flashAttentionVarlen } from './attention/varlen.js';
export type { BigBirdOptions } from './block-mask/big-bird.js';
export { BlockMask } from './block-mask/block-mask.js';
export type { Blocks, BlocksOptions, FlatBlocks } from './block-mask/blocks.js';
export type { DocumentIds, DocumentOptions, DocumentPair } from './block-mask/document.js';
export type { BlockSize } from './block-mask/geometry.js';
export type { IndexSet } from './block-mask/indices.js';
export type { LongformerOptions } from './block-mask/longformer.js';
export type { PredicateOptions } from './block-mask/predicate.js';
export type { SlidingWindowOptions } from './block-mask/window.js';
export type { CallOptions, Priority } from './native/call-options.js';
export type { ChromeTraceEvent, CpuTrace, TraceEvent, TraceLoop } from './native/chrome-trace.js';
export { chromeTrace } from './native/chrome-trace.js';
export type { DeviceInfo, DeviceName, MemoryUse, PoolUse } from './native/device.js';
export { defaultDevice, devices, memory, synchronize, timeOnDevice } from './native/device.js';
export type { ErrorCode } from './native/errors.js';
export { FlashAttentionError } from './native/errors.js';
export { version } from './native/package.js';
export type { Plan } from './native/plan.js';
export type { TraceOptions } from './native/trace.js';
export { traceCpu } from './native/trace.js';
export { concat } from './tensor/concat.js';
export type { DType, TypedArray, TypedArrays } from './tensor/dtype.js';
export type { RandnOptions, TensorOptions } from './tensor/make.js';
export { empty, randn, tensor, zeros } from './tensor/make.js';
export { Tensor } from './tensor/tensor.js';
export type { NestedArray, TensorData } from './tensor/tensor-data.js';
