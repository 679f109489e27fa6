import { generationRequest } from '../support/generation-request.js';
import { ScriptedScheduler } from '../support/scripted-scheduler.js';

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
