import { getFloat16 } from '@petamoriken/float16';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { writeLlamaGguf } from '../../bench/model/llama-gguf.js';
import { buildDecoder } from '../models/decoder.js';
import { randomWeights } from '../models/random.js';
import { type Variant, variants } from '../models/index.js';

const variant: Variant = variants['int4-level1'];

/** What the bench's writer writes, read by the format's description. */
class GgufReader {
  readonly metadata: Record<string, unknown> = {};
  readonly tensors = new Map<string, { dims: number[]; type: number; at: number }>();
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    expect(bytes.toString('latin1', 0, 4)).toBe('GGUF');
    this.#at = 4;
    expect(this.#uint32()).toBe(3);
    const [tensors, keys] = [this.#uint64(), this.#uint64()];
    for (let n = 0; n < keys; n++) {
      const key = this.#string();
      this.metadata[key] = this.#value(this.#uint32());
    }
    for (let n = 0; n < tensors; n++) {
      const name = this.#string();
      const dims = Array.from({ length: this.#uint32() }, () => this.#uint64());
      this.tensors.set(name, { dims, type: this.#uint32(), at: this.#uint64() });
    }
    const data = Math.ceil(this.#at / 32) * 32;
    for (const tensor of this.tensors.values()) tensor.at += data;
  }

  /** A row of a matrix of q4_0: blocks of a float16 scale and 32 levels. */
  row(name: string, row: number): number[] {
    const { dims, type, at } = this.tensors.get(name) as {
      dims: number[];
      type: number;
      at: number;
    };
    expect(type).toBe(2);
    const blocks = dims[0] / 32;
    const { buffer, byteOffset } = this.#bytes;
    const view = new DataView(buffer, byteOffset + at + row * blocks * 18, blocks * 18);
    return Array.from({ length: dims[0] }, (_, k) => {
      const block = Math.floor(k / 32) * 18;
      const byte = view.getUint8(block + 2 + (k % 16));
      const level = k % 32 < 16 ? byte & 15 : byte >> 4;
      return getFloat16(view, block, true) * (level - 8);
    });
  }

  floats(name: string): Float32Array {
    const { dims, at } = this.tensors.get(name) as { dims: number[]; at: number };
    const length = dims.reduce((product, dim) => product * dim, 1);
    return new Float32Array(Uint8Array.from(this.#bytes.subarray(at, at + 4 * length)).buffer);
  }

  #uint32(): number {
    this.#at += 4;
    return this.#bytes.readUInt32LE(this.#at - 4);
  }

  #uint64(): number {
    this.#at += 8;
    return Number(this.#bytes.readBigUInt64LE(this.#at - 8));
  }

  #string(): string {
    const length = this.#uint64();
    this.#at += length;
    return this.#bytes.toString('utf8', this.#at - length, this.#at);
  }

  #value(type: number): unknown {
    if (type === 8) return this.#string();
    if (type === 9) {
      const of = this.#uint32();
      return Array.from({ length: this.#uint64() }, () => this.#value(of));
    }
    const bits = this.#uint32();
    return type === 6 ? new Float32Array(Uint32Array.of(bits).buffer)[0] : bits;
  }
}

const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-gguf-'));
const file = path.join(folder, 'model.gguf');
writeLlamaGguf(file, variant, 1);
const gguf = new GgufReader(readFileSync(file));
afterAll(() => rmSync(folder, { recursive: true }));

const { graph } = buildDecoder(variant, randomWeights(1));
const onnx = new Map(graph.initializer.map(({ name, rawData }) => [name, rawData as Uint8Array]));

/** A row of a matrix as MatMulNBits reads it. */
function onnxRow(name: string, row: number, inner: number): number[] {
  const levels = onnx.get(`${name}_Q4`) as Uint8Array;
  const { buffer, byteOffset } = onnx.get(`${name}_scales`) as Uint8Array;
  const scales = new Float32Array(buffer, byteOffset);
  return Array.from({ length: inner }, (_, k) => {
    const at = row * inner + k;
    return scales[at >> 5] * (((levels[at >> 1] >> (4 * (at & 1))) & 15) - 8);
  });
}

const { hidden, mlp, heads, kvHeads, headDim, vocab, layers } = variant;

test('matrices are the same numbers, bit for bit', () => {
  const down = 'model.layers.1.mlp.down_proj.MatMul.weight';
  for (const row of [0, 1, hidden - 1]) {
    expect(gguf.row('blk.1.ffn_down.weight', row)).toEqual(onnxRow(down, row, mlp));
    expect(gguf.row('output.weight', row)).toEqual(onnxRow('lm_head.MatMul.weight', row, hidden));
  }
});

test('q, k and v are rows of one matrix; elements that turn together are neighbours', () => {
  const qkv = 'model.layers.2.attn.qkv_proj.MatMul.weight';
  const row = (n: number) => onnxRow(qkv, n, hidden);
  const keys = heads * headDim;
  const values = keys + kvHeads * headDim;
  for (const head of [0, kvHeads - 1]) {
    for (const pair of [0, 1, headDim / 2 - 1]) {
      const [at, from] = [head * headDim + 2 * pair, head * headDim + pair];
      expect(gguf.row('blk.2.attn_q.weight', at)).toEqual(row(from));
      expect(gguf.row('blk.2.attn_q.weight', at + 1)).toEqual(row(from + headDim / 2));
      expect(gguf.row('blk.2.attn_k.weight', at)).toEqual(row(keys + from));
      expect(gguf.row('blk.2.attn_k.weight', at + 1)).toEqual(row(keys + from + headDim / 2));
      expect(gguf.row('blk.2.attn_v.weight', from)).toEqual(row(values + from));
    }
  }
});

test('norms, embedding and what the reader must know', () => {
  const floats = (name: string) =>
    new Float32Array(Uint8Array.from(onnx.get(name) as Uint8Array).buffer);
  expect(gguf.floats('token_embd.weight')).toEqual(floats('model.embed_tokens.weight'));
  const first = '/model/layers.0/input_layernorm/LayerNorm.weight';
  expect(gguf.floats('blk.0.attn_norm.weight')).toEqual(floats(first));
  const second = '/model/layers.1/input_layernorm/SkipLayerNorm.weight';
  expect(gguf.floats('blk.1.attn_norm.weight')).toEqual(floats(second));
  expect(gguf.tensors.size).toBe(3 + 9 * layers);
  expect(gguf.metadata).toMatchObject({
    'general.architecture': 'llama',
    'llama.block_count': layers,
    'llama.attention.head_count': heads,
    'llama.attention.head_count_kv': kvHeads,
    'llama.rope.freq_base': 10_000,
    'llama.attention.layer_norm_rms_epsilon': Math.fround(1e-5),
  });
  expect(gguf.metadata['tokenizer.ggml.tokens']).toHaveLength(vocab);
});
