import type {
  GenerationRequest,
  ModelInfo,
  ResponseFormat,
  SamplingParams,
} from '../../engine/contract.js';
import type { SamplingDefaults } from '../../model/settings.js';
import type { Vocabulary } from '../../text/contract.js';
import type { TextOptions } from '../../text/answer-text.js';
import { ApiError, badRequest } from '../errors.js';
import type { GenerationFields } from './generation-fields.js';

/** What decides about a request beside its body. */
export interface GenerationContext {
  readonly info: ModelInfo;
  readonly vocabulary: Vocabulary;
  /** Where the request says nothing. */
  readonly defaults: SamplingDefaults;
  /** Whose request it is, and whose stored prefixes it may share. */
  readonly user: string;
  readonly cacheScope: string;
}

/** What the engine is asked for, and how its tokens become text. */
export interface GenerationPlan {
  /** One for each choice. */
  readonly requests: readonly GenerationRequest[];
  readonly textOptions: TextOptions;
  /** Whether calls of tools are looked for in the text. */
  readonly toolCalls: boolean;
}

/** What the routes have names of their own for. */
export interface RouteOptions {
  readonly maxTokens: number;
  readonly topLogprobs: number | undefined;
  readonly toolCalls: boolean;
}

/** @throws ApiError when the model has another name */
export function checkModel(model: string | null | undefined, { name }: ModelInfo): void {
  if (model === undefined || model === null || model === name) return;
  throw new ApiError(
    `The model '${model.slice(0, 128)}' does not exist. This server has '${name}'.`,
    {
      status: 404,
      code: 'model_not_found',
      param: 'model',
    },
  );
}

/** @throws ApiError when no token of an answer fits after the prompt, or there is no prompt */
export function checkPromptLength(
  tokens: number,
  { contextLength }: ModelInfo,
  param: string,
): void {
  if (tokens === 0) throw badRequest(`Invalid '${param}': the prompt is empty`, param);
  if (tokens < contextLength) return;
  throw contextLengthExceeded(`${tokens}`, contextLength, param);
}

export function contextLengthExceeded(
  tokens: string,
  contextLength: number,
  param: string,
): ApiError {
  return badRequest(
    `This model's maximum context length is ${contextLength} tokens, the answer included. ` +
      `Your prompt has ${tokens} tokens.`,
    param,
    'context_length_exceeded',
  );
}

/** Checks what a schema can't know of and completes the rest. */
export function planGeneration(
  fields: GenerationFields,
  prompt: Int32Array,
  route: RouteOptions,
  context: GenerationContext,
): GenerationPlan {
  const { vocabulary, info, user, cacheScope } = context;
  const minTokens = fields.min_tokens ?? 0;
  if (minTokens > route.maxTokens) {
    throw badRequest("Invalid 'min_tokens': expected no more than the maximum", 'min_tokens');
  }
  const stops = typeof fields.stop === 'string' ? [fields.stop] : (fields.stop ?? []);
  const request: GenerationRequest = {
    prompt,
    maxTokens: route.maxTokens,
    minTokens,
    ignoreEos: fields.ignore_eos ?? false,
    stopTokenIds: [
      ...checkIds(fields.stop_token_ids ?? [], info.vocabSize),
      ...specialStops(stops, vocabulary),
    ],
    sampling: samplingOf(fields, context),
    responseFormat: responseFormatOf(fields),
    topLogprobs: route.topLogprobs,
    speculativeTokens: fields.num_speculative_tokens ?? 0,
    priority: fields.priority ?? 0,
    user,
    cacheScope,
  };
  return {
    requests: Array.from({ length: fields.n ?? 1 }, (_, index) => withSeedOf(request, index)),
    textOptions: {
      stops,
      includeStop: fields.include_stop_str_in_output ?? false,
      showSpecial: fields.skip_special_tokens === false,
      minTokens,
      logprobs: route.topLogprobs !== undefined,
    },
    toolCalls: route.toolCalls,
  };
}

/** Choices of one request differ, with a seed too. */
function withSeedOf(request: GenerationRequest, index: number): GenerationRequest {
  const { seed } = request.sampling;
  if (seed === undefined || index === 0) return request;
  return { ...request, sampling: { ...request.sampling, seed: seed + index } };
}

/** Control tokens are not in the text, so a stop string that is one is looked for among the ids. */
function specialStops(stops: readonly string[], vocabulary: Vocabulary): number[] {
  const ids = stops.map((stop) => vocabulary.idOf(stop));
  return ids.filter((id): id is number => id !== undefined && vocabulary.isSpecial(id));
}

function checkIds(ids: readonly number[], vocabSize: number): readonly number[] {
  const wrong = ids.find((id) => id >= vocabSize);
  if (wrong === undefined) return ids;
  throw badRequest(
    `Invalid 'stop_token_ids': the model has ids below ${vocabSize}, not ${wrong}`,
    'stop_token_ids',
  );
}

function samplingOf(fields: GenerationFields, context: GenerationContext): SamplingParams {
  const { defaults, info } = context;
  // vLLM and transformers write "all" as -1.
  const topK = fields.top_k ?? defaults.topK ?? 0;
  return {
    temperature: fields.temperature ?? defaults.temperature ?? 1,
    topK: Math.max(topK, 0),
    topP: fields.top_p ?? defaults.topP ?? 1,
    minP: fields.min_p ?? defaults.minP ?? 0,
    repetitionPenalty: fields.repetition_penalty ?? defaults.repetitionPenalty ?? 1,
    presencePenalty: fields.presence_penalty ?? 0,
    frequencyPenalty: fields.frequency_penalty ?? 0,
    logitBias: logitBiasOf(fields, info.vocabSize),
    seed: fields.seed ?? undefined,
  };
}

function logitBiasOf({ logit_bias }: GenerationFields, vocabSize: number): Map<number, number> {
  const entries = Object.entries(logit_bias ?? {}).map(([id, bias]) => [Number(id), bias] as const);
  const wrong = entries.find(([id]) => id >= vocabSize);
  if (wrong) {
    throw badRequest(
      `Invalid 'logit_bias': the model has ids below ${vocabSize}, not ${wrong[0]}`,
      'logit_bias',
    );
  }
  return new Map(entries);
}

function responseFormatOf({ response_format: format }: GenerationFields): ResponseFormat {
  if (!format) return { type: 'text' };
  if (format.type !== 'json_schema') return format;
  return { type: 'json_schema', schema: format.json_schema.schema };
}
