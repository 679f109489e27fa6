import type { Weights } from './graph-builder.js';

/** Rotary embedding of a layer. */
export interface Rope {
  readonly theta: number;
  /** Elements of a head that turn. Default: all. */
  readonly dim?: number;
  readonly interleaved?: boolean;
}

/** How large a decoder is; `mlp` is the width of its hidden layer, `context` counts tokens. */
export interface DecoderSize {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly mlp: number;
  readonly vocab: number;
  readonly context: number;
}

/** The size of a decoder, and what is special about it. */
export interface Variant extends DecoderSize {
  readonly modelType: string;
  readonly weights: Weights;
  /** One projection for q, k and v. */
  readonly packed: boolean;
  readonly bias?: boolean;
  /** Per-head norm of q and k: as nodes, or as inputs of the attention node. */
  readonly qkNorm?: 'nodes' | 'inputs';
  /** Norms also behind attention and MLP, residuals by Add (Gemma). */
  readonly postNorms?: boolean;
  readonly softcap?: number;
  readonly finalSoftcap?: number;
  readonly scale?: number;
  readonly sinks?: boolean;
  readonly smoothSoftmax?: boolean;
  /** Where rotation happens: in the attention node, or before it by position_ids. */
  readonly rotary: 'attention' | 'nodes';
  readonly rope: (layer: number) => Rope | undefined;
  readonly window?: (layer: number) => number;
  /** Tokens beyond which the other of two tables is taken. */
  readonly longRope?: number;
  /** The MLP is two of so many experts, by a router's choice. */
  readonly experts?: number;
  /** Embedding and output projection are one tensor. */
  readonly tied?: boolean;
  /** Logits of the last token only. */
  readonly lastOnly?: 'gather' | 'num_logits_to_keep';
}

const rope = { theta: 10_000 };

const llama: Variant = {
  modelType: 'llama',
  layers: 3,
  hidden: 64,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  mlp: 128,
  vocab: 384,
  context: 512,
  weights: 'float32',
  packed: true,
  rotary: 'attention',
  rope: () => rope,
};

/** Of 4 layers every other looks back 24 tokens only. */
const alternating = (layer: number) => (layer % 2 === 0 ? 24 : -1);

/** The decoders that tests run on: two to four layers, with random weights of a fixed seed. */
export const variants = {
  llama,
  'llama-separate': { ...llama, packed: false },
  qwen2: { ...llama, modelType: 'qwen2', packed: false, bias: true },
  qwen3: { ...llama, modelType: 'qwen3', packed: false, qkNorm: 'nodes', headDim: 32 },
  /** What qwen3 is on accelerators: not for onnxruntime's CPU provider as a whole. */
  'qwen3-fused': { ...llama, modelType: 'qwen3', packed: false, qkNorm: 'inputs', headDim: 32 },
  gemma2: {
    ...llama,
    modelType: 'gemma2',
    layers: 4,
    postNorms: true,
    softcap: 5,
    finalSoftcap: 3,
    scale: 0.2,
    window: alternating,
    tied: true,
  },
  gemma3: {
    ...llama,
    modelType: 'gemma3_text',
    layers: 4,
    packed: false,
    postNorms: true,
    qkNorm: 'nodes',
    window: alternating,
    rope: (layer) => ({ theta: layer % 2 === 0 ? 10_000 : 1_000_000 }),
    tied: true,
  },
  'gpt-oss': {
    ...llama,
    modelType: 'gpt_oss',
    layers: 4,
    sinks: true,
    window: alternating,
    experts: 4,
  },
  'smooth-softmax': { ...llama, smoothSoftmax: true },
  phi: { ...llama, modelType: 'phi', headDim: 32, rope: () => ({ theta: 10_000, dim: 16 }) },
  phi3: {
    ...llama,
    modelType: 'phi3',
    headDim: 32,
    rope: () => ({ theta: 10_000, dim: 16 }),
    longRope: 64,
  },
  interleaved: { ...llama, rope: () => ({ theta: 10_000, interleaved: true }) },
  smollm3: {
    ...llama,
    modelType: 'smollm3',
    layers: 4,
    rope: (layer) => (layer % 4 === 3 ? undefined : rope),
  },
  /** As transformers.js' files have it. */
  'qwen3-hub': {
    ...llama,
    modelType: 'qwen3',
    packed: false,
    qkNorm: 'nodes',
    rotary: 'nodes',
    headDim: 32,
    weights: { int4: { accuracyLevel: 1 } },
    tied: true,
  },
  'position-ids': { ...llama, packed: false, rotary: 'nodes' },
  tied: { ...llama, tied: true },
  'tied-int4': { ...llama, tied: true, weights: { int4: { accuracyLevel: 1 } } },
  pruned: { ...llama, lastOnly: 'gather' },
  'logits-to-keep': { ...llama, lastOnly: 'num_logits_to_keep' },
  'int4-level1': { ...llama, weights: { int4: { accuracyLevel: 1 } } },
  'int4-level4': { ...llama, weights: { int4: { accuracyLevel: 4 } } },
  /** For measurements: 6 layers of 768, int4. */
  mid: {
    ...llama,
    layers: 6,
    hidden: 768,
    heads: 12,
    kvHeads: 4,
    headDim: 64,
    mlp: 2048,
    vocab: 8192,
    context: 16_384,
    weights: { int4: { accuracyLevel: 4 } },
  },
} satisfies Record<string, Variant>;

export type VariantName = keyof typeof variants;
