/**
 * Exact, IO-aware attention for Node.js.
 *
 * @packageDocumentation
 */
export { flashAttention } from './attention.js';
export type { AttentionGradients, ForwardState } from './backward.js';
export { flashAttentionBackward, flashAttentionVarlenBackward } from './backward.js';
export type { BigBirdOptions } from './block-mask/big-bird.js';
export { BlockMask } from './block-mask/block-mask.js';
export type { Blocks, BlocksOptions, FlatBlocks } from './block-mask/blocks.js';
export type { DocumentIds, DocumentOptions, DocumentPair } from './block-mask/document.js';
export type { BlockSize } from './block-mask/geometry.js';
export type { IndexSet } from './block-mask/indices.js';
export type { LongformerOptions } from './block-mask/longformer.js';
export type { PredicateOptions } from './block-mask/predicate.js';
export type { SlidingWindowOptions } from './block-mask/window.js';
export type { DeviceInfo, DeviceName, MemoryUse } from './device.js';
export { defaultDevice, devices, memory, synchronize, timeOnDevice } from './device.js';
export type { DType, TypedArray } from './dtype.js';
export type { ErrorCode } from './errors.js';
export { FlashAttentionError } from './errors.js';
export type { ExplainOptions, Plan } from './explain.js';
export { explain } from './explain.js';
export type { RandnOptions, TensorOptions } from './make.js';
export { empty, randn, tensor, zeros } from './make.js';
export type { MergeOptions } from './merge.js';
export { mergeAttentionStates } from './merge.js';
export type {
  AttentionOptions,
  AttentionResult,
  AttentionScales,
  CommonAttentionOptions,
  DropoutOptions,
  IntVector,
  Layout,
  PagedAttentionOptions,
  ReturnLse,
  VarlenAttentionOptions,
} from './options.js';
export { flashAttentionKvPacked, flashAttentionQkvPacked } from './packed.js';
export { flashAttentionPaged } from './paged.js';
export type { DequantizeOptions, HadamardOptions, Quantized, QuantizeOptions } from './quantize.js';
export { dequantize, quantize } from './quantize.js';
export type { ScaledDotProductAttentionOptions } from './sdpa.js';
export { scaledDotProductAttention } from './sdpa.js';
export { Tensor } from './tensor.js';
export type { NestedArray, TensorData } from './tensor-data.js';
export { flashAttentionVarlen } from './varlen.js';
export { version } from './version.js';
