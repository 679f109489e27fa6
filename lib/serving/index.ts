/**
 * What a server of language models needs beside attention: keys and values in pages that are
 * appended to in place, batches whose sequences differ in everything, rotary position embedding.
 *
 * @module flash-attention/serving
 */
export {
  type DraftTrees,
  flashAttentionRagged,
  type RaggedAttentionOptions,
} from '../attention/ragged.js';
export {
  type AppendedLatents,
  type AppendedPages,
  type AppendOptions,
  appendKv,
} from './append.js';
export { type DraftSequence, type PackedTrees, packTrees } from './trees.js';
export { applyRotary, type RotaryOptions, type RotaryTables } from './rotary.js';
export {
  KvCache,
  type KvCacheOptions,
  type KvCacheStats,
  type SequenceOptions,
  type StepEntry,
} from './kv-cache.js';
export type {
  DecodeGraph,
  DecodeGraphOptions,
  DecodeRows,
  ReplayOptions,
  ReplayResult,
} from './decode-graph.js';
export type { CacheDType } from './page-memory.js';
export {
  ContextParallel,
  type ContextParallelOptions,
  type ContextStepEntry,
} from './context/context-parallel.js';
export type { ContextCut, CutPart } from './context/cut.js';
export type { PartState } from './context/merge-parts.js';
export { ContextPart } from './context/part.js';
export type { ContextAttentionOptions } from './context/options.js';
export type { ContextRows } from './context/rows.js';
export type { ContextSequence } from './context/sequence.js';
export type { ContextStep } from './context/step.js';
export {
  type ContextTransport,
  inProcessTransport,
  type PartRequest,
} from './context/transport.js';
export type { PageCounts } from './page-pool.js';
export type { PrefixObserver } from './prefix-tree.js';
export type { SaveOptions, Sequence } from './sequence.js';
export type { StaticScalesOption } from './static-scales.js';
export type { CommitOptions, Step } from './step.js';
export type { LayerRows, SyncResult } from './step-attention.js';
export type { StepAttentionOptions, Sync } from './step-options.js';
export type { TokenIds } from './token-ids.js';
