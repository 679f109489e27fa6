import { Float16Array } from '@petamoriken/float16';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { decodeModel, encodeModel, type OnnxTensor } from '../src/onnx/format.js';
import { dimsOf } from '../src/onnx/tensors.js';
import { buildDecoder } from '../test/models/decoder.js';
import type { Variant } from '../test/models/variants.js';
import { genaiConfig } from '../test/models/write-model.js';
import { chatTemplate, endToken, specialTokens } from './corpus/chat.js';
import { nativeAttention } from './decoder/attention.js';
import { Decoder, type DecoderShape } from './decoder/decoder.js';

/** The graph's names of parameters, `%` for a layer's number. */
const names: Readonly<Record<string, string>> = {
  embedding: 'model.embed_tokens.weight',
  'layers.0.inputNorm': '/model/layers.0/input_layernorm/LayerNorm.weight',
  'layers.%.inputNorm': '/model/layers.%/input_layernorm/SkipLayerNorm.weight',
  'layers.%.qkv': 'model.layers.%.attn.qkv_proj.MatMul.weight',
  'layers.%.out': 'model.layers.%.attn.o_proj.MatMul.weight',
  'layers.%.mlpNorm': '/model/layers.%/post_attention_layernorm/SkipLayerNorm.weight',
  'layers.%.gate': 'model.layers.%.mlp.gate_proj.MatMul.weight',
  'layers.%.up': 'model.layers.%.mlp.up_proj.MatMul.weight',
  'layers.%.down': 'model.layers.%.mlp.down_proj.MatMul.weight',
  finalNorm: '/model/final_norm/SkipLayerNorm.weight',
};

function graphName(parameter: string): string {
  const [, layer] = /\.(\d+)\./.exec(parameter) ?? ['', ''];
  const found = names[parameter] ?? names[parameter.replace(`.${layer}.`, '.%.')];
  return found.replace('%', layer);
}

const modelFile = 'model.onnx';

function variantOf({ theta, ...shape }: DecoderShape): Variant {
  return {
    ...shape,
    modelType: 'llama',
    weights: 'float16',
    packed: true,
    rotary: 'attention',
    rope: () => ({ theta }),
    tied: true,
  };
}

/**
 * Writes a decoder as onnxruntime-genai's builder would: matrices in float16, tokenizer, settings
 * and chat template beside them. The decoder itself is not rounded: {@link readDecoder} reads the
 * weights that were written.
 */
export function exportDecoder(folder: string, decoder: Decoder, tokenizer: object): void {
  const variant = variantOf(decoder.shape);
  const values = new Map(decoder.parameters.map((each) => [graphName(each.name), each.values]));
  const model = buildDecoder(variant, (name) => {
    const found = values.get(name);
    if (!(found instanceof Float32Array)) throw new Error(`the graph wants ${name}`);
    return found;
  });
  const eos = { eos_token_id: endToken, pad_token_id: endToken };
  const settings = {
    'genai_config.json': genaiConfig(variant, eos, { do_sample: true, temperature: 0.4 }),
    'tokenizer.json': tokenizer,
    'tokenizer_config.json': {
      eos_token: specialTokens[endToken],
      clean_up_tokenization_spaces: false,
      tokenizer_class: 'PreTrainedTokenizerFast',
      model_max_length: variant.context,
    },
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, modelFile), encodeModel(model));
  for (const [file, content] of Object.entries(settings)) {
    writeFileSync(path.join(folder, file), `${JSON.stringify(content, null, 1)}\n`);
  }
  writeFileSync(path.join(folder, 'chat_template.jinja'), chatTemplate);
}

/** The decoder of a folder that {@link exportDecoder} wrote, as its graph has it. */
export function readDecoder(folder: string, shape: DecoderShape): Decoder {
  const { graph } = decodeModel(readFileSync(path.join(folder, modelFile)));
  const tensors = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  return new Decoder(shape, nativeAttention, (name, dims) => {
    const tensor = tensors.get(graphName(name));
    if (!tensor || `${dimsOf(tensor)}` !== `${dims}`) {
      throw new Error(`${modelFile} has no ${name} of shape [${dims}]`);
    }
    return floats(tensor);
  });
}

function floats({ rawData = new Uint8Array(), dims }: OnnxTensor): Float32Array {
  const { buffer } = new Uint8Array(rawData); // which may be a view of a file
  return dims.length > 1 ? Float32Array.from(new Float16Array(buffer)) : new Float32Array(buffer);
}
