import { existsSync } from 'node:fs';
import path from 'node:path';
import type { SamplingParams } from '../engine/contract.js';
import { isObject, type Json, numberIn, objectIn, readJsonIfAny } from './json-file.js';
import { ModelError } from './model-error.js';

/** Sampling that the model's authors recommend; what they leave out is the server's choice. */
export type SamplingDefaults = Partial<
  Pick<SamplingParams, 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty'>
>;

/** What a model's folder says of it, apart from graph and tokenizer. */
export interface ModelSettings {
  /** Where onnxruntime-genai's builder or transformers.js puts things. */
  readonly layout: 'genai' | 'transformers.js';
  /** The graph, relative to the folder. */
  readonly graphFile: string;
  readonly contextLength: number;
  readonly vocabSize?: number;
  readonly headDim?: number;
  /** Those of generation_config, config and genai_config. */
  readonly eosTokenIds: readonly number[];
  readonly defaults: SamplingDefaults;
}

/**
 * Graphs of a transformers.js folder, the ones that a CPU runs best first: int4 with float32
 * around, float32, then what may be refused.
 */
const graphNames = [
  ...['model_q4', 'model', 'model_bnb4', 'model_quantized', 'model_int8', 'model_uint8'],
  ...['model_q4f16', 'model_fp16'],
];

/**
 * @param graph one of several graphs in the folder, such as `onnx/model_q4.onnx`.
 * @throws {@link ModelError}
 */
export function readSettings(folder: string, graph?: string): ModelSettings {
  if (!existsSync(folder)) throw new ModelError('the folder of the model does not exist');
  const genai = readJsonIfAny(folder, 'genai_config.json');
  const config = readJsonIfAny(folder, 'config.json');
  const generation = readJsonIfAny(folder, 'generation_config.json');
  if (!genai && !config) {
    throw new ModelError('there is neither genai_config.json nor config.json in the folder');
  }
  const model = objectIn(genai, 'model');
  const decoder = objectIn(model, 'decoder');
  const text = isObject(config?.text_config) ? config.text_config : config;
  const contextLength =
    numberIn(model, 'context_length') ??
    numberIn(text, 'max_position_embeddings', 'n_positions', 'n_ctx');
  if (!contextLength) {
    const file = genai ? 'genai_config.json' : 'config.json';
    throw new ModelError(`${file} does not say how many tokens the model's context has`);
  }
  const heads = numberIn(text, 'num_attention_heads', 'n_head');
  const hiddenSize = numberIn(decoder, 'hidden_size') ?? numberIn(text, 'hidden_size', 'n_embd');
  const perHead = heads && hiddenSize ? hiddenSize / heads : undefined;
  const headDim = numberIn(decoder, 'head_size') ?? numberIn(text, 'head_dim') ?? perHead;
  const vocabSize = numberIn(model, 'vocab_size') ?? numberIn(text, 'vocab_size');
  const sources = [generation, config, text, model].map((each) => each?.eos_token_id);
  const graphFile = graph ?? (genai ? genaiGraph(decoder) : hubGraph(folder));
  if (!existsSync(path.join(folder, graphFile))) throw new ModelError(`${graphFile} is missing`);
  return {
    layout: genai ? 'genai' : 'transformers.js',
    graphFile,
    contextLength,
    ...(vocabSize === undefined ? {} : { vocabSize }),
    ...(headDim === undefined ? {} : { headDim }),
    eosTokenIds: [...new Set(sources.flatMap(idsOf))],
    defaults: defaultsOf(generation ?? objectIn(genai, 'search')),
  };
}

function genaiGraph({ filename }: Json): string {
  return typeof filename === 'string' ? filename : 'model.onnx';
}

function hubGraph(folder: string): string {
  const places = graphNames.flatMap((name) => [path.join('onnx', `${name}.onnx`), `${name}.onnx`]);
  const found = places.find((place) => existsSync(path.join(folder, place)));
  if (!found) throw new ModelError(`no graph is in the folder, such as ${places[0]}`);
  return found;
}

function idsOf(value: unknown): number[] {
  const ids = Array.isArray(value) ? value : [value];
  return ids.filter((id): id is number => Number.isInteger(id));
}

function defaultsOf(source: Json): SamplingDefaults {
  const given = {
    temperature: numberIn(source, 'temperature'),
    topK: numberIn(source, 'top_k'),
    topP: numberIn(source, 'top_p'),
    minP: numberIn(source, 'min_p'),
    repetitionPenalty: numberIn(source, 'repetition_penalty'),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
