import type { SamplingParams } from '../engine/contract.js';

/** The likeliest token each time, with every other parameter off. */
export const greedy: SamplingParams = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: new Map(),
};
