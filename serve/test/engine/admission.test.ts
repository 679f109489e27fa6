import { checkGroup, checkRequest } from '../../src/engine/admission.js';
import type { ModelInfo } from '../../src/engine/contract.js';
import { FinishRate } from '../../src/engine/finish-rate.js';
import { generationRequest, type RequestFields } from '../support/generation-request.js';
import { ScriptedForward } from '../support/scripted-forward.js';

const { info }: { info: ModelInfo } = new ScriptedForward({ vocabSize: 31, contextLength: 64 });
const cache = { pages: 8, pageSize: 4 };
const check = (fields: RequestFields) => {
  const request = generationRequest(fields);
  checkGroup([request], info);
  checkRequest(request, info, cache);
};

test.each<[string, RequestFields]>([
  ['prompt', { prompt: [] }],
  ['prompt', { prompt: [1, 31] }],
  ['prompt', { prompt: [-1] }],
  ['maxTokens', { maxTokens: 0 }],
  ['maxTokens', { maxTokens: 1.5 }],
  ['minTokens', { minTokens: -1 }],
  ['stopTokenIds', { stopTokenIds: [3, 31] }],
  ['stopTokenIds', { stopTokenIds: [0.5] }],
  ['topLogprobs', { topLogprobs: -1 }],
  ['speculativeTokens', { speculativeTokens: NaN }],
  ['priority', { priority: NaN }],
  ['temperature', { sampling: { temperature: -1 } }],
  ['temperature', { sampling: { temperature: Infinity } }],
  ['topK', { sampling: { topK: -1 } }],
  ['topP', { sampling: { topP: 1.1 } }],
  ['minP', { sampling: { minP: NaN } }],
  ['repetitionPenalty', { sampling: { repetitionPenalty: 0 } }],
  ['presencePenalty', { sampling: { presencePenalty: NaN } }],
  ['frequencyPenalty', { sampling: { frequencyPenalty: -Infinity } }],
  ['logitBias', { sampling: { logitBias: new Map([[31, 1]]) } }],
  ['logitBias', { sampling: { logitBias: new Map([[1, Infinity]]) } }],
  ['seed', { sampling: { seed: 0.5 } }],
  ['seed', { sampling: { seed: 2 ** 60 } }],
])('a request that is none names its field: %s, %j', (name, fields) => {
  expect(() => check(fields)).toThrow(
    expect.objectContaining({
      code: 'invalid_request',
      status: 400,
      message: expect.stringMatching(`^Expected ${name} to be .+, not .+\\.$`),
    }),
  );
});

test('a prompt must leave room for a token, and fit into an empty cache', () => {
  check({ prompt: new Int32Array(32) });
  expect(() => check({ prompt: new Int32Array(33) })).toThrow('33 tokens; the cache holds 32');
  expect(() => check({ prompt: new Int32Array(64) })).toThrow(
    expect.objectContaining({ code: 'context_length_exceeded' }),
  );
  checkRequest(generationRequest({ prompt: new Int32Array(63) }), info, { pages: 99, pageSize: 1 });
});

test('a group has one prompt, length, user, priority and scope', () => {
  const first = generationRequest();
  checkGroup([first, generationRequest({ sampling: { seed: 4 } })], info);
  for (const fields of [
    { prompt: [1, 2, 4] },
    { prompt: [1, 2] },
    { maxTokens: 9 },
    { user: 'other' },
    { priority: 1 },
    { cacheScope: 'other' },
    { responseFormat: { type: 'json_object' as const } },
  ]) {
    expect(() => checkGroup([first, generationRequest(fields)], info)).toThrow('the same prompt');
  }
  expect(() => checkGroup([], info)).toThrow('one request at least');
});

test('the time to come again follows how fast answers end', () => {
  let now = 0;
  const rate = new FinishRate(() => now);
  expect(rate.secondsFor(5)).toBe(1);
  for (let i = 0; i < 10; i++) {
    rate.count();
    now += 2000;
  }
  expect(rate.secondsFor(1)).toBe(2);
  expect(rate.secondsFor(4)).toBe(8);
  expect(rate.secondsFor(1000)).toBe(60);
});
