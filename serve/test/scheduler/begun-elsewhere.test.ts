import { EngineError } from '../../src/engine/errors.js';
import { checkGroup, checkRequest } from '../../src/engine/admission.js';
import { generationRequest, type RequestFields } from '../support/generation-request.js';
import { plainAnswer, ScriptedScheduler } from '../support/scripted-scheduler.js';

const drawn: RequestFields['sampling'] = {
  ...{ temperature: 1, seed: 7, topK: 20, repetitionPenalty: 1.2 },
  ...{ presencePenalty: 0.3, frequencyPenalty: 0.4 },
};

test.each<[string, RequestFields]>([
  ['greedy', {}],
  ['drawn, with penalties', { sampling: drawn }],
  ['with a least length', { sampling: drawn, minTokens: 12, stopTokenIds: [3, 5, 8, 13] }],
  ['with drafts', { speculativeTokens: 4 }],
])('an answer goes on from any of its tokens as it would have: %s', async (_, fields) => {
  const request = generationRequest({ prompt: [4, 9, 2, 4, 9], maxTokens: 16, ...fields });
  const { tokens, reason } = plainAnswer(request);
  expect(tokens.length).toBeGreaterThan(8);
  for (let cut = 0; cut <= tokens.length; cut++) {
    const run = new ScriptedScheduler();
    const [id] = run.add({ ...request, generated: Int32Array.from(tokens.slice(0, cut)) });
    await run.drain();
    expect(run.tokens(id)).toEqual(tokens.slice(cut));
    expect(run.finish(id)).toMatchObject({ reason, completionTokens: tokens.length });
    expect(run.finish(id).promptTokens).toBe(5);
    expect(run.forward.counts().used).toBe(0);
  }
});

test('what the cache has of the answer is no part of the prompt', async () => {
  const run = new ScriptedScheduler();
  const request = generationRequest({ prompt: [1, 2, 3, 4, 5, 6], maxTokens: 12 });
  const [first] = run.add(request);
  await run.drain();
  const generated = Int32Array.from(run.tokens(first).slice(0, 10));
  const [then] = run.add({ ...request, generated });
  await run.drain();
  expect(run.finish(then).cachedTokens).toBe(6);
});

test('a grammar is asked for from behind the tokens that are there', async () => {
  const asked: (number[] | undefined)[] = [];
  const run = new ScriptedScheduler(
    {},
    {},
    {
      constrain: (_format, generated) => {
        asked.push(generated && [...generated]);
        return Promise.reject(new EngineError('invalid_request', 'none'));
      },
    },
  );
  const request = generationRequest({ responseFormat: { type: 'json_object' } });
  run.add(request, request);
  run.add({ ...request, generated: Int32Array.of(5, 6) });
  await new Promise(setImmediate);
  expect(asked).toEqual([undefined, undefined, [5, 6]]);
});

test('what another engine can not have made is refused', () => {
  const info = { vocabSize: 31, contextLength: 64 } as Parameters<typeof checkRequest>[1];
  const cache = { pages: 10, pageSize: 4 };
  const check = (...generated: number[]) =>
    checkRequest(generationRequest({ generated: Int32Array.from(generated) }), info, cache);
  check(1, 2, 3, 4, 5, 6, 7, 8);
  expect(() => check(1, 2, 3, 4, 5, 6, 7, 8, 9)).toThrow(/generated.*at most 8 tokens/);
  expect(() => check(31)).toThrow(/generated.*below 31/);
  const request = generationRequest({ generated: Int32Array.of(1) });
  expect(() => checkGroup([request, generationRequest()], info)).toThrow(/generated/);
});
