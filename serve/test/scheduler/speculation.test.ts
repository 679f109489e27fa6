import type { RequestFields } from '../support/generation-request.js';
import { generationRequest } from '../support/generation-request.js';
import { plainAnswer, ScriptedScheduler } from '../support/scripted-scheduler.js';
import { promptLookup } from '../../src/scheduler/prompt-lookup.js';

test('drafts are how the last n-gram went on, at its latest place, longer n-grams first', () => {
  const draft = (tokens: number[], most = 8) => [...promptLookup(Int32Array.from(tokens), most)];
  expect(draft([1, 2, 3, 4, 1, 2])).toEqual([3, 4, 1, 2]);
  expect(draft([1, 2, 3, 4, 1, 2], 2)).toEqual([3, 4]);
  expect(draft([1, 2, 7, 1, 2, 8, 1, 2], 1)).toEqual([8]);
  expect(draft([9, 1, 2, 7, 5, 1, 2, 8, 9, 1, 2], 1)).toEqual([7]);
  expect(draft([1, 2, 3, 1])).toEqual([]);
  expect(draft([5, 5, 5])).toEqual([5]);
  expect(draft([1])).toEqual([]);
});

// A model that looks at two tokens repeats itself.
const model = { order: 2, pages: 100, contextLength: 100, vocabSize: 12 };

test.each<[string, RequestFields]>([
  ['greedy', {}],
  ['a seed', { sampling: { temperature: 0.4, seed: 3 } }],
  ['penalties', { sampling: { repetitionPenalty: 1.05, frequencyPenalty: 0.02 } }],
  ['logprobs', { topLogprobs: 2 }],
  ['stop ids', { stopTokenIds: [7], minTokens: 9 }],
  ['a long prompt', { prompt: Array.from({ length: 60 }, (_, i) => i % 5) }],
])('tokens are those of plain decoding, in fewer steps: %s', async (_, fields) => {
  const request = generationRequest({ maxTokens: 60, ignoreEos: true, ...fields });
  const run = new ScriptedScheduler(model);
  const [id] = run.add({ ...request, speculativeTokens: 6 });
  await run.drain();
  const plain = new ScriptedScheduler(model);
  const [plainId] = plain.add(request);
  await plain.drain();
  expect(run.tokens(id)).toEqual(plainAnswer(request, model).tokens);
  expect(run.events.get(id)).toEqual(plain.events.get(plainId));
  const { acceptedTokens } = run.finish(id);
  expect(acceptedTokens).toBeGreaterThan(0);
  expect(run.forward.steps.length).toBe(plain.forward.steps.length - acceptedTokens);
  expect(run.scheduler.stats()).toMatchObject({ acceptedTokens });
  expect(run.scheduler.stats().draftTokens).toBeGreaterThanOrEqual(acceptedTokens);
});

test('drafts that are wrong leave nothing: pages hold the tokens there are, but for the latest', async () => {
  // A model of three tokens that looks at all of them: drafts abound, and most are wrong.
  const random = { pages: 100, vocabSize: 3 };
  const run = new ScriptedScheduler(random);
  const request = generationRequest({
    prompt: [1, 2, 1, 2, 0],
    maxTokens: 30,
    ignoreEos: true,
    speculativeTokens: 8,
  });
  const [id] = run.add(request);
  run.forward.onRun = ([{ sequence }]) => {
    const told = run.tokens(id).length;
    if (told > 0) expect(sequence.length).toBe(request.prompt.length + told - 1);
  };
  await run.drain();
  expect(run.tokens(id)).toEqual(plainAnswer(request, random).tokens);
  const { draftTokens, acceptedTokens } = run.scheduler.stats();
  expect(draftTokens).toBeGreaterThan(2 * acceptedTokens);
  expect(run.forward.counts().used).toBe(0);
});

test('drafts never go beyond maxTokens, the context or the budget of a step', async () => {
  for (const maxTokens of [1, 2, 3, 5, 50]) {
    const tight = { ...model, contextLength: 40 };
    const run = new ScriptedScheduler(tight, { maxBatchTokens: 9, maxRunning: 3 });
    const request = generationRequest({
      prompt: [1, 2, 3, 1, 2, 3, 1, 2],
      maxTokens,
      speculativeTokens: 30,
    });
    const ids = [...run.add(request), ...run.add(request), ...run.add(request)];
    const longest = Math.min(request.prompt.length + maxTokens, 40) - 1;
    run.forward.onRun = (entries) => {
      for (const { sequence, tokens } of entries) {
        expect(sequence.length + tokens.length).toBeLessThanOrEqual(longest);
      }
    };
    await run.drain();
    for (const id of ids) expect(run.tokens(id)).toEqual(plainAnswer(request, tight).tokens);
    for (const step of run.forward.steps) {
      expect(step.reduce((a, b) => a + b)).toBeLessThanOrEqual(9);
    }
  }
});
