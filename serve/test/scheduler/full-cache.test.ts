import { generationRequest } from '../support/generation-request.js';
import { plainAnswer, ScriptedScheduler } from '../support/scripted-scheduler.js';

const prompt = (length: number, first = 0) => Array.from({ length }, (_, i) => (first + i) % 31);

test('outputs with forced preemption equal outputs without; streams go on without repeats', async () => {
  const requests = Array.from({ length: 5 }, (_, i) =>
    generationRequest({
      prompt: prompt(6, 5 * i),
      maxTokens: 30,
      sampling: { temperature: i % 2, seed: i, presencePenalty: 0.5 },
      // What is told of a token belongs to the answer, not to the step that made it.
      topLogprobs: i % 3,
    }),
  );
  const model = { pages: 20, prefixCache: false };
  const run = new ScriptedScheduler(model);
  const ids = requests.map((request) => run.add(request)[0]);
  await run.drain();
  expect(run.scheduler.stats().preemptions).toBeGreaterThan(0);
  ids.forEach((id, n) => {
    expect(run.events.get(id)).toEqual(plainAnswer(requests[n], model).events);
    expect(run.finish(id)).toMatchObject({ reason: 'length', completionTokens: 30 });
  });
  expect(run.forward.counts()).toMatchObject({ used: 0, free: 20 });
});

test('the newest gives its pages, of the least priority first', async () => {
  const run = new ScriptedScheduler({ pages: 12, prefixCache: false });
  const long = { maxTokens: 40, ignoreEos: true };
  const [low] = run.add(generationRequest({ ...long, prompt: prompt(4) }));
  const [high] = run.add(generationRequest({ ...long, prompt: prompt(4, 9), priority: 1 }));
  const [newest] = run.add(generationRequest({ ...long, prompt: prompt(4, 18) }));
  const ends: number[] = [];
  for (let i = 0; i < 400 && ends.length < 3; i++) {
    await run.steps(1);
    for (const id of run.finishes.keys()) if (!ends.includes(id)) ends.push(id);
  }
  expect(ends).toEqual([high, low, newest]);
  expect(run.scheduler.stats().preemptions).toBeGreaterThan(1);
});

test('preemption is rare: an answer that left does not come back for a step or two', async () => {
  const run = new ScriptedScheduler({ pages: 30, prefixCache: false }, { maxRunning: 16 });
  for (let i = 0; i < 16; i++) {
    run.add(generationRequest({ prompt: prompt(4, i), maxTokens: 40, ignoreEos: true }));
  }
  await run.drain();
  const { preemptions, steps } = run.scheduler.stats();
  expect(preemptions).toBeGreaterThan(0);
  expect(preemptions).toBeLessThan(steps / 8);
});

test('the only running request that cannot grow ends with length; the next one runs', async () => {
  const run = new ScriptedScheduler({ pages: 3, contextLength: 64 });
  const [first] = run.add(generationRequest({ prompt: prompt(9), maxTokens: 30 }));
  const [second] = run.add(generationRequest({ prompt: prompt(8, 20), maxTokens: 3 }));
  await run.drain();
  // 12 slots, and the latest token needs none.
  expect(run.finish(first)).toMatchObject({ reason: 'length', completionTokens: 4 });
  expect(run.finish(second)).toMatchObject({ reason: 'length', completionTokens: 3 });
  const plain = plainAnswer(generationRequest({ prompt: prompt(9), maxTokens: 4 }));
  expect(run.tokens(first)).toEqual(plain.tokens);
});

test('a prompt that outgrows what the cache really has ends alone, with an error', async () => {
  const run = new ScriptedScheduler({ pages: 2 });
  const [large] = run.add(generationRequest({ prompt: prompt(9) }));
  const [small] = run.add(generationRequest({ maxTokens: 2 }));
  await run.drain();
  expect(run.finish(large).error).toMatchObject({ code: 'cache_too_small', status: 400 });
  expect(run.finish(small)).toMatchObject({ reason: 'length', completionTokens: 2 });
});

test('two prompts never hold each a part of what they need', async () => {
  const run = new ScriptedScheduler({ pages: 10, prefixCache: false }, { prefillChunk: 4 });
  const [first] = run.add(generationRequest({ prompt: prompt(30), maxTokens: 2 }));
  const [second] = run.add(generationRequest({ prompt: prompt(30, 7), maxTokens: 2 }));
  for (let i = 0; i < 8; i++) {
    await run.steps(1);
    expect(run.scheduler.stats()).toMatchObject({ running: 1, waiting: 1 });
  }
  await run.drain();
  expect(run.scheduler.stats().preemptions).toBe(0);
  for (const id of [first, second]) expect(run.finish(id).completionTokens).toBe(2);
});

test('drafts go before anybody is preempted', async () => {
  // A model of three tokens: drafts abound, and most are wrong.
  const model = { pages: 10, vocabSize: 3, prefixCache: false };
  const request = generationRequest({ prompt: [1], maxTokens: 24, speculativeTokens: 8 });
  const run = new ScriptedScheduler(model);
  const ids = run.add(request);
  const inner = run.forward.run.bind(run.forward);
  let refused = 0;
  run.forward.run = (entries) =>
    inner(entries).catch((error) => {
      refused++;
      throw error;
    });
  await run.steps(6);
  ids.push(...run.add(request));
  await run.drain();
  for (const id of ids) expect(run.tokens(id)).toEqual(plainAnswer(request, model).tokens);
  expect(refused).toBeGreaterThan(0);
  expect(run.scheduler.stats()).toMatchObject({ preemptions: 0 });
});

test('recomputed tokens are no prefix hits: the first admission alone counts', async () => {
  const run = new ScriptedScheduler({ pages: 14 });
  const ids = [0, 1, 2, 3].map(
    (i) => run.add(generationRequest({ prompt: prompt(9, 7 * i), maxTokens: 30 }))[0],
  );
  await run.drain();
  const { preemptions, prefixHits, prefixQueries } = run.scheduler.stats();
  expect(preemptions).toBeGreaterThan(0);
  expect({ prefixHits, prefixQueries }).toEqual({ prefixHits: 0, prefixQueries: 36 });
  for (const id of ids) expect(run.finish(id).cachedTokens).toBe(0);
});

test('cached tokens are those of the attempt that ran, not of an earlier one', async () => {
  const run = new ScriptedScheduler({ pages: 10 }, { prefillChunk: 16, maxBatchTokens: 64 });
  run.add(generationRequest({ prompt: prompt(17), maxTokens: 1 }));
  await run.drain();
  // It takes nearly all pages, so that what is stored is given up while the other one waits.
  run.add(generationRequest({ prompt: prompt(30, 9), maxTokens: 6 }));
  await run.steps(1);
  const [late] = run.add(generationRequest({ prompt: prompt(17), maxTokens: 1 }));
  await run.steps(1);
  expect(run.scheduler.stats().waiting).toBe(1);
  await run.drain();
  const fed = run.forward.steps.flat().reduce((a, b) => a + b);
  expect(fed).toBe(17 + 30 + 5 + 17 - run.finish(late).cachedTokens);
});
