import type { CacheCounts, GenerationRequest, ModelInfo } from './contract.js';
import { EngineError } from './errors.js';

/**
 * Refuses what can never be served, before it is queued. What a group has in common is judged by
 * {@link checkGroup}.
 *
 * @throws {@link EngineError} `invalid_request`, `context_length_exceeded`, `cache_too_small`.
 */
export function checkRequest(
  request: GenerationRequest,
  info: ModelInfo,
  cache: Pick<CacheCounts, 'pages' | 'pageSize'>,
): void {
  checkFields(request, info);
  const { length } = request.prompt;
  if (length >= info.contextLength) {
    throw new EngineError(
      'context_length_exceeded',
      `The prompt has ${length} tokens; the model's context is ${info.contextLength} tokens for prompt and answer together.`,
    );
  }
  const capacity = cache.pages * cache.pageSize;
  if (length > capacity) {
    throw new EngineError(
      'cache_too_small',
      `The prompt has ${length} tokens; the cache holds ${capacity}.`,
    );
  }
}

/** A group has one prompt, and one place in the queue. */
export function checkGroup(requests: readonly GenerationRequest[], info: ModelInfo): void {
  const [first, ...others] = requests;
  if (first === undefined) throw invalid('requests', 'one request at least', 0);
  if (!(first.prompt instanceof Int32Array) || first.prompt.length === 0) {
    throw invalid('prompt', 'one token at least', first.prompt?.length);
  }
  checkTokens('prompt', first.prompt, info);
  if (others.length > 0 && requests.some(({ generated }) => generated !== undefined)) {
    throw new EngineError('invalid_request', 'Expected generated in a request of its own alone.');
  }
  for (const other of others) {
    const alike =
      other.user === first.user &&
      other.priority === first.priority &&
      other.cacheScope === first.cacheScope &&
      other.maxTokens === first.maxTokens && // which decides on the rope table
      other.responseFormat.type === first.responseFormat.type &&
      (other.prompt === first.prompt ||
        (other.prompt.length === first.prompt.length &&
          other.prompt.every((token, i) => token === first.prompt[i])));
    if (!alike) {
      throw new EngineError(
        'invalid_request',
        'Expected all requests of a group to have the same prompt, maxTokens, user, priority, cacheScope and type of responseFormat.',
      );
    }
  }
}

function checkTokens(name: string, ids: Iterable<number>, { vocabSize }: ModelInfo): void {
  for (const id of ids) {
    if (Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
    throw invalid(name, `token ids below ${vocabSize}`, id);
  }
}

function checkFields(request: GenerationRequest, info: ModelInfo): void {
  const { sampling } = request;
  const within = (name: string, value: number, least: number, most: number) => {
    if (!(value >= least && value <= most)) {
      throw invalid(name, `a number from ${least} to ${most}`, value);
    }
  };
  const integer = (name: string, value: number, least: number) => {
    if (!Number.isSafeInteger(value) || value < least) {
      throw invalid(name, `an integer, at least ${least}`, value);
    }
  };
  const finite = (name: string, value: number) => within(name, value, -limit, limit);

  integer('maxTokens', request.maxTokens, 1);
  const { prompt, generated } = request;
  if (generated !== undefined) {
    const most = Math.min(request.maxTokens, info.contextLength - prompt.length);
    if (!(generated instanceof Int32Array) || generated.length > most) {
      throw invalid('generated', `an Int32Array of at most ${most} tokens`, generated?.length);
    }
    checkTokens('generated', generated, info);
  }
  integer('minTokens', request.minTokens, 0);
  checkTokens('stopTokenIds', request.stopTokenIds, info);
  if (request.topLogprobs !== undefined) integer('topLogprobs', request.topLogprobs, 0);
  integer('speculativeTokens', request.speculativeTokens, 0);
  finite('priority', request.priority);
  within('temperature', sampling.temperature, 0, limit);
  integer('topK', sampling.topK, 0);
  within('topP', sampling.topP, 0, 1);
  within('minP', sampling.minP, 0, 1);
  within('repetitionPenalty', sampling.repetitionPenalty, 1 / limit, limit);
  finite('presencePenalty', sampling.presencePenalty);
  finite('frequencyPenalty', sampling.frequencyPenalty);
  checkTokens('logitBias', sampling.logitBias.keys(), info);
  for (const bias of sampling.logitBias.values()) finite('logitBias', bias);
  if (sampling.seed !== undefined) integer('seed', sampling.seed, Number.MIN_SAFE_INTEGER);
}

/** Logits stay finite in float32. */
const limit = 1e6;

function invalid(name: string, expected: string, given: unknown): EngineError {
  return new EngineError('invalid_request', `Expected ${name} to be ${expected}, not ${given}.`);
}
