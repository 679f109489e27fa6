import { generationRequest } from '../support/generation-request.js';
import { plainAnswer, ScriptedScheduler } from '../support/scripted-scheduler.js';

const prompt = (length: number) => Array.from({ length }, (_, i) => i % 29);

test('a chat that grows finds its own answer again', async () => {
  const run = new ScriptedScheduler({ pages: 100 });
  const first = prompt(10);
  const [id] = run.add(generationRequest({ prompt: first, maxTokens: 8 }));
  await run.drain();
  const next = [...first, ...run.tokens(id), 30, 30, 30];
  const [then] = run.add(generationRequest({ prompt: next, maxTokens: 1 }));
  await run.drain();
  // The answer's last token was never fed: 17 are there, four pages of them whole.
  expect(run.finish(then).cachedTokens).toBe(16);
});

test('a whole prompt that is stored leaves one token at least to compute', async () => {
  for (const length of [4, 8, 9]) {
    const run = new ScriptedScheduler();
    const request = generationRequest({ prompt: prompt(length), maxTokens: 2 });
    const [once] = run.add(request);
    await run.drain();
    const [twice] = run.add(request);
    await run.drain();
    expect(run.tokens(twice)).toEqual(run.tokens(once));
    expect(run.finish(twice).cachedTokens).toBe(4 * Math.floor((length - 1) / 4));
  }
});

test('scopes share nothing, nor do the short and the long rope table', async () => {
  const run = new ScriptedScheduler({ longRopeFrom: 30 });
  const request = generationRequest({ prompt: prompt(9), cacheScope: 'a' });
  const cached = async (fields: Partial<typeof request>) => {
    const [id] = run.add({ ...request, ...fields });
    await run.drain();
    return run.finish(id).cachedTokens;
  };
  expect(await cached({})).toBe(0);
  expect(await cached({})).toBe(8);
  expect(await cached({ cacheScope: 'b' })).toBe(0);
  expect(await cached({ maxTokens: 22 })).toBe(0);
  expect(await cached({ maxTokens: 21 })).toBe(8);
});

test('hits and misses in one step are those of each alone', async () => {
  const run = new ScriptedScheduler({ pages: 100 });
  run.add(generationRequest({ prompt: prompt(16), maxTokens: 1 }));
  await run.drain();
  const mixed = [prompt(14), [7, 7, 7], prompt(16), [9]].map((ids) =>
    generationRequest({ prompt: ids }),
  );
  const ids = mixed.map((request) => run.add(request)[0]);
  await run.drain();
  expect(ids.map((id) => run.finish(id).cachedTokens)).toEqual([12, 0, 12, 0]);
  for (const [n, request] of mixed.entries()) {
    const alone = new ScriptedScheduler();
    const [id] = alone.add(request);
    await alone.drain();
    expect(run.tokens(ids[n])).toEqual(alone.tokens(id));
  }
});

test('prompts that begin alike and come together are computed once', async () => {
  const run = new ScriptedScheduler({ pages: 200 }, { maxBatchTokens: 64 });
  const system = prompt(40);
  const requests = Array.from({ length: 6 }, (_, i) =>
    generationRequest({ prompt: [...system, 30, i, i], maxTokens: 4, user: `${i}` }),
  );
  const ids = requests.map((request) => run.add(request)[0]);
  await run.drain();
  ids.forEach((id, n) => {
    expect(run.finish(id).cachedTokens).toBe(n === 0 ? 0 : 40);
    expect(run.tokens(id)).toEqual(plainAnswer(requests[n]).tokens);
  });
  const fed = run.forward.steps.flat().reduce((a, b) => a + b);
  expect(fed).toBe(40 + 6 * (3 + 3));
});

test('who waits for a prefix runs as soon as that is there, not when the other prompt is done', async () => {
  const run = new ScriptedScheduler({ pages: 200 }, { maxBatchTokens: 64 });
  run.add(generationRequest({ prompt: prompt(60) }));
  await run.steps(1);
  const [second] = run.add(generationRequest({ prompt: [...prompt(12), 30, 30] }));
  await run.steps(1);
  expect(run.scheduler.stats()).toMatchObject({ running: 1, waiting: 1 });
  await run.steps(1);
  expect(run.scheduler.stats()).toMatchObject({ running: 2, waiting: 0 });
  await run.drain();
  expect(run.finish(second).cachedTokens).toBe(12);
});

test('who waits for a prefix that another computes does not wait when that one is cancelled', async () => {
  const run = new ScriptedScheduler({ pages: 200 });
  const [first] = run.add(generationRequest({ prompt: prompt(40) }));
  const [second] = run.add(generationRequest({ prompt: prompt(41) }));
  await run.steps(2);
  expect(run.scheduler.stats()).toMatchObject({ running: 1, waiting: 1 });
  run.scheduler.cancel(first);
  await run.drain();
  expect(run.finish(second)).toMatchObject({ reason: 'length', cachedTokens: 16 });
});

test('without stored prefixes nobody waits for one', async () => {
  const run = new ScriptedScheduler({ pages: 200, prefixCache: false });
  for (let i = 0; i < 3; i++) run.add(generationRequest({ prompt: prompt(40) }));
  await run.steps(1);
  expect(run.scheduler.stats()).toMatchObject({ running: 3, waiting: 0 });
});
