import { setFloat16 } from '@petamoriken/float16';
import { dimsOf } from '../../src/onnx/tensors.js';
import type { OnnxTensor } from '../../src/onnx/format.js';
import { buildDecoder } from '../../test/models/decoder.js';
import { randomWeights } from '../../test/models/random.js';
import { specialIds, specialTokens, type Variant } from '../../test/models/index.js';
import { buildTokenizer } from '../../test/models/tokenizer.js';
import { type GgufTensor, type GgufValue, ggmlType, writeGguf } from './gguf.js';

/** Elements that share a scale, in both formats. */
const block = 32;

/** Bytes of a block of q4_0: a float16 scale and 32 levels. */
const q4Bytes = 2 + block / 2;

/**
 * Writes a decoder of test/models as a GGUF file of the architecture `llama`: int4 weights as q4_0,
 * which has the same levels and scales, everything else as float32. The weights are the same
 * numbers as in the ONNX graph.
 *
 * @param variant Llama's shape: int4, one projection for q, k and v, rotary of whole heads.
 */
export function writeLlamaGguf(file: string, variant: Variant, seed: number): void {
  const { graph } = buildDecoder(variant, randomWeights(seed));
  const tensors = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  writeGguf(file, metadataOf(variant), tensorsOf(variant, tensors));
}

function metadataOf(variant: Variant): Record<string, GgufValue> {
  const { model } = buildTokenizer(variant.vocab) as {
    model: { vocab: Record<string, number>; merges: [string, string][] };
  };
  const [normal, control] = [1, 3];
  return {
    'general.architecture': { string: 'llama' },
    'general.name': { string: 'bench' },
    // Mostly q4_0.
    'general.file_type': { uint32: 2 },
    'llama.vocab_size': { uint32: variant.vocab },
    'llama.context_length': { uint32: variant.context },
    'llama.embedding_length': { uint32: variant.hidden },
    'llama.block_count': { uint32: variant.layers },
    'llama.feed_forward_length': { uint32: variant.mlp },
    'llama.attention.head_count': { uint32: variant.heads },
    'llama.attention.head_count_kv': { uint32: variant.kvHeads },
    'llama.attention.key_length': { uint32: variant.headDim },
    'llama.attention.value_length': { uint32: variant.headDim },
    'llama.attention.layer_norm_rms_epsilon': { float32: 1e-5 },
    'llama.rope.dimension_count': { uint32: variant.headDim },
    'llama.rope.freq_base': { float32: variant.rope(0)?.theta ?? 10_000 },
    'tokenizer.ggml.model': { string: 'gpt2' },
    'tokenizer.ggml.pre': { string: 'gpt-2' },
    'tokenizer.ggml.tokens': { strings: Object.keys(model.vocab) },
    'tokenizer.ggml.token_type': {
      int32s: Object.values(model.vocab).map((id) =>
        id < specialTokens.length ? control : normal,
      ),
    },
    'tokenizer.ggml.merges': { strings: model.merges.map((pair) => pair.join(' ')) },
    'tokenizer.ggml.bos_token_id': { uint32: specialIds.beginOfText },
    'tokenizer.ggml.eos_token_id': { uint32: specialIds.imEnd },
  };
}

function tensorsOf(variant: Variant, onnx: ReadonlyMap<string, OnnxTensor>): GgufTensor[] {
  const { layers, heads, kvHeads, headDim } = variant;
  const find = (name: string): OnnxTensor => {
    const tensor = onnx.get(name);
    if (!tensor) throw new Error(`the graph has no tensor ${name}`);
    return tensor;
  };
  const plain = (name: string, from: string): GgufTensor => {
    const tensor = find(from);
    const data = tensor.rawData as Uint8Array;
    return { name, dims: dimsOf(tensor).reverse(), type: ggmlType.float32, data };
  };
  const product = (from: string) => q4Matrix(find(`${from}_Q4`), find(`${from}_scales`));
  const norm = (name: string, base: string) => {
    const skip = `${base}/SkipLayerNorm.weight`;
    return plain(name, onnx.has(skip) ? skip : `${base}/LayerNorm.weight`);
  };
  const result = [
    plain('token_embd.weight', 'model.embed_tokens.weight'),
    norm('output_norm.weight', '/model/final_norm'),
    asTensor('output.weight', product('lm_head.MatMul.weight')),
  ];
  for (let layer = 0; layer < layers; layer++) {
    const matrix = (name: string) => product(`model.layers.${layer}.${name}.MatMul.weight`);
    const add = (name: string, from: Q4Matrix) =>
      result.push(asTensor(`blk.${layer}.${name}.weight`, from));
    const qkv = matrix('attn.qkv_proj');
    const [queries, keys] = [heads * headDim, kvHeads * headDim];
    add('attn_q', pairRotated(rowsOf(qkv, 0, queries), headDim));
    add('attn_k', pairRotated(rowsOf(qkv, queries, keys), headDim));
    add('attn_v', rowsOf(qkv, queries + keys, keys));
    add('attn_output', matrix('attn.o_proj'));
    for (const name of ['gate', 'up', 'down']) add(`ffn_${name}`, matrix(`mlp.${name}_proj`));
    const base = `/model/layers.${layer}`;
    result.push(
      norm(`blk.${layer}.attn_norm.weight`, `${base}/input_layernorm`),
      norm(`blk.${layer}.ffn_norm.weight`, `${base}/post_attention_layernorm`),
    );
  }
  return result;
}

/** A matrix of q4_0, an output to a row. */
interface Q4Matrix {
  readonly inner: number;
  readonly rows: readonly Uint8Array[];
}

function asTensor(name: string, { inner, rows }: Q4Matrix): GgufTensor {
  return { name, dims: [inner, rows.length], type: ggmlType.q4_0, data: Buffer.concat(rows) };
}

/**
 * What MatMulNBits reads, as q4_0. Levels and scales stay; level i of a block goes to byte i mod 16,
 * its lower half when i < 16, where MatMulNBits has neighbours in a byte.
 */
function q4Matrix(packed: OnnxTensor, scales: OnnxTensor): Q4Matrix {
  const [outer, blocks] = dimsOf(packed);
  const levels = packed.rawData as Uint8Array;
  const { buffer, byteOffset } = scales.rawData as Uint8Array;
  const scaleOf = new Float32Array(buffer, byteOffset, outer * blocks);
  const level = (at: number) => (levels[at >> 1] >> (4 * (at & 1))) & 15;
  const rows = Array.from({ length: outer }, (_, row) => {
    const bytes = new Uint8Array(blocks * q4Bytes);
    const view = new DataView(bytes.buffer);
    for (let n = 0; n < blocks; n++) {
      setFloat16(view, n * q4Bytes, scaleOf[row * blocks + n], true);
      const first = (row * blocks + n) * block;
      for (let i = 0; i < block / 2; i++) {
        bytes[n * q4Bytes + 2 + i] = level(first + i) | (level(first + block / 2 + i) << 4);
      }
    }
    return bytes;
  });
  return { inner: blocks * block, rows };
}

const rowsOf = ({ inner, rows }: Q4Matrix, first: number, count: number): Q4Matrix => ({
  inner,
  rows: rows.slice(first, first + count),
});

/**
 * llama.cpp turns neighbours of a head, ONNX element i together with i + headDim / 2: rows of q and
 * k that are turned together become neighbours.
 */
function pairRotated({ inner, rows }: Q4Matrix, headDim: number): Q4Matrix {
  const from = (n: number) => {
    const [head, at] = [Math.floor(n / headDim), n % headDim];
    return head * headDim + (at >> 1) + (at & 1) * (headDim / 2);
  };
  return { inner, rows: rows.map((_, n) => rows[from(n)]) };
}
