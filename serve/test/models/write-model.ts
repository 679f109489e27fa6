import { mkdirSync, openSync, closeSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { encodeModel, type OnnxModel } from '../../src/onnx/format.js';
import { buildDecoder } from './decoder.js';
import { randomWeights } from './random.js';
import { buildTokenizer, chatTemplate, specialIds, specialTokens } from './tokenizer.js';
import { type Variant, type VariantName, variants } from './variants.js';

export interface TestModelOptions {
  /** As onnxruntime-genai's builder writes, or as transformers.js reads. Default genai. */
  layout?: 'genai' | 'transformers.js';
  /** Files beside the graph that hold weights; 0: all in the graph. Default 1. */
  dataFiles?: number;
  /** Default 1. */
  seed?: number;
}

/**
 * Writes a small decoder with random weights, its tokenizer and its settings into a folder, which
 * is made.
 */
export function writeTestModel(
  folder: string,
  name: VariantName | Variant,
  { layout = 'genai', dataFiles = 1, seed = 1 }: TestModelOptions = {},
): void {
  const variant: Variant = typeof name === 'string' ? variants[name] : name;
  const model = buildDecoder(variant, randomWeights(seed));
  const genai = layout === 'genai';
  const graphs = genai ? folder : path.join(folder, 'onnx');
  mkdirSync(graphs, { recursive: true });
  const data = Array.from({ length: dataFiles }, (_, n) =>
    genai
      ? `model.onnx.data${n === 0 ? '' : `.${n}`}`
      : `model_q4.onnx_data${n === 0 ? '' : `_${n}`}`,
  );
  moveData(model, graphs, data);
  writeFileSync(path.join(graphs, genai ? 'model.onnx' : 'model_q4.onnx'), encodeModel(model));
  const json = (file: string, content: object) =>
    writeFileSync(path.join(folder, file), `${JSON.stringify(content, null, 2)}\n`);
  const settings = genai
    ? { 'genai_config.json': genaiConfig(variant, testTokens, recommended) }
    : hubConfigs(variant);
  for (const [file, content] of Object.entries(settings)) json(file, content);
  json('tokenizer.json', buildTokenizer(variant.vocab));
  json('tokenizer_config.json', {
    ...{ bos_token: '<|begin_of_text|>', eos_token: '<|im_end|>', pad_token: '<|endoftext|>' },
    ...{ add_bos_token: true, clean_up_tokenization_spaces: false },
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: variant.context,
    // The newer layout has it in a file of its own.
    ...(genai ? {} : { chat_template: chatTemplate }),
    additional_special_tokens: specialTokens.slice(1, 3),
  });
  if (genai) writeFileSync(path.join(folder, 'chat_template.jinja'), chatTemplate);
}

/** Moves all larger tensors into files, in turn, on borders of 64 bytes. */
function moveData(model: OnnxModel, folder: string, files: string[]): void {
  if (files.length === 0) return;
  const open = files.map((file) => ({
    file,
    descriptor: openSync(path.join(folder, file), 'w'),
    end: 0,
  }));
  const large = model.graph.initializer.filter(({ rawData }) => (rawData?.length ?? 0) > 256);
  large.forEach((tensor, n) => {
    const to = open[n % open.length];
    const bytes = tensor.rawData as Uint8Array;
    const offset = Math.ceil(to.end / 64) * 64;
    writeSync(to.descriptor, bytes, 0, bytes.length, offset);
    to.end = offset + bytes.length;
    delete tensor.rawData;
    tensor.dataLocation = 1;
    tensor.externalData = Object.entries({
      location: to.file,
      offset: `${offset}`,
      length: `${bytes.length}`,
    }).map(([key, value]) => ({ key, value }));
  });
  for (const { descriptor } of open) closeSync(descriptor);
}

const { endOfText, imEnd, beginOfText } = specialIds;

const testTokens = {
  bos_token_id: beginOfText,
  eos_token_id: [imEnd, endOfText],
  pad_token_id: endOfText,
};

const recommended = {
  do_sample: true,
  ...{ temperature: 0.7, top_k: 50, top_p: 0.95, repetition_penalty: 1.1 },
};

/**
 * @param tokens ids of special tokens.
 * @param search how the model's author would draw tokens.
 */
export function genaiConfig(variant: Variant, tokens: object, search: object): object {
  const cache = (prefix: string, what: string) => `${prefix}.%d.${what}`;
  return {
    model: {
      type: variant.modelType,
      ...tokens,
      context_length: variant.context,
      vocab_size: variant.vocab,
      decoder: {
        filename: 'model.onnx',
        head_size: variant.headDim,
        hidden_size: variant.hidden,
        num_attention_heads: variant.heads,
        num_hidden_layers: variant.layers,
        num_key_value_heads: variant.kvHeads,
        inputs: {
          input_ids: 'input_ids',
          attention_mask: 'attention_mask',
          past_key_names: cache('past_key_values', 'key'),
          past_value_names: cache('past_key_values', 'value'),
        },
        outputs: {
          logits: 'logits',
          present_key_names: cache('present', 'key'),
          present_value_names: cache('present', 'value'),
        },
      },
    },
    search,
  };
}

function hubConfigs(variant: Variant): Record<string, object> {
  return {
    'config.json': {
      model_type: variant.modelType,
      bos_token_id: beginOfText,
      eos_token_id: imEnd,
      head_dim: variant.headDim,
      hidden_size: variant.hidden,
      max_position_embeddings: variant.context,
      num_attention_heads: variant.heads,
      num_hidden_layers: variant.layers,
      num_key_value_heads: variant.kvHeads,
      vocab_size: variant.vocab,
      ...(variant.longRope ? { original_max_position_embeddings: variant.longRope } : {}),
      'transformers.js_config': { use_external_data_format: true },
    },
    'generation_config.json': {
      bos_token_id: beginOfText,
      eos_token_id: [imEnd, endOfText],
      ...recommended,
    },
  };
}
