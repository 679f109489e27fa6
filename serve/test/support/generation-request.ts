import type { GenerationRequest, SamplingParams } from '../../src/engine/contract.js';
import { greedy } from '../../src/sampler/greedy.js';

export type RequestFields = Omit<Partial<GenerationRequest>, 'prompt' | 'sampling'> & {
  readonly prompt?: ArrayLike<number>;
  readonly sampling?: Partial<SamplingParams>;
};

/** A request for 8 greedy tokens, with whatever is said otherwise. */
export function generationRequest(fields: RequestFields = {}): GenerationRequest {
  const { prompt = [1, 2, 3], sampling, ...rest } = fields;
  return {
    maxTokens: 8,
    minTokens: 0,
    ignoreEos: false,
    stopTokenIds: [],
    responseFormat: { type: 'text' },
    speculativeTokens: 0,
    priority: 0,
    user: 'someone',
    cacheScope: '',
    ...rest,
    prompt: Int32Array.from(prompt),
    sampling: { ...greedy, ...sampling },
  };
}
