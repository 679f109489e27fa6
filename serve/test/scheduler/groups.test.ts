import { generationRequest } from '../support/generation-request.js';
import { plainAnswer, ScriptedScheduler } from '../support/scripted-scheduler.js';

const prompt = Array.from({ length: 21 }, (_, i) => i);
const group = (count: number) =>
  Array.from({ length: count }, (_, seed) =>
    generationRequest({ prompt, maxTokens: 10, sampling: { temperature: 1, seed } }),
  );

test.each([true, false])(
  'the prompt of a group is computed once; stored prefixes: %s',
  async (prefixCache) => {
    const run = new ScriptedScheduler({ prefixCache });
    const requests = group(4);
    const ids = run.add(...requests);
    await run.drain();
    ids.forEach((id, n) => {
      expect(run.tokens(id)).toEqual(plainAnswer(requests[n]).tokens);
      expect(run.finish(id).cachedTokens).toBe(0);
    });
    const fed = run.forward.steps.flat().reduce((a, b) => a + b);
    expect(fed).toBe(prompt.length + 4 * 9);
    expect(run.scheduler.stats().promptTokens).toBe(prompt.length);
    expect(run.forward.counts().used).toBe(0);
  },
);

test('a group larger than what may run at once', async () => {
  const run = new ScriptedScheduler({}, { maxRunning: 2 });
  const requests = group(5);
  const ids = run.add(...requests);
  await run.drain();
  ids.forEach((id, n) => {
    expect(run.tokens(id)).toEqual(plainAnswer(requests[n]).tokens);
  });
});

test.each(['waiting', 'in its prompt', 'within a step', 'decoding'])(
  'the first of a group is cancelled, %s: the others go on',
  async (when) => {
    const run = new ScriptedScheduler({}, { prefillChunk: 8 });
    const requests = group(3);
    const [first, second, third] = run.add(...requests);
    if (when === 'in its prompt') await run.steps(1);
    if (when === 'decoding') await run.steps(5);
    if (when === 'within a step') {
      run.forward.onRun = () => run.scheduler.cancel(first);
    } else run.scheduler.cancel(first);
    await run.drain();
    expect(run.finish(first).reason).toBe('abort');
    expect(run.tokens(second)).toEqual(plainAnswer(requests[1]).tokens);
    expect(run.tokens(third)).toEqual(plainAnswer(requests[2]).tokens);
    expect(run.forward.counts().used).toBe(0);
  },
);

test('a group whose members were all cancelled: nothing runs on', async () => {
  for (const steps of [0, 1, 5]) {
    const run = new ScriptedScheduler({}, { prefillChunk: 8 });
    const ids = run.add(...group(4));
    await run.steps(steps);
    for (const id of ids) run.scheduler.cancel(id);
    expect(run.scheduler.size).toBe(0);
    expect(run.forward.counts().used).toBe(0);
    expect(await run.scheduler.step()).toBe(false);
    for (const id of ids) expect(run.finish(id).reason).toBe('abort');
  }
});

test('a group whose first member has one token to make', async () => {
  const run = new ScriptedScheduler();
  const [one, two] = run.add(
    generationRequest({ prompt, maxTokens: 1 }),
    generationRequest({ prompt, maxTokens: 6 }),
  );
  await run.drain();
  const plain = plainAnswer(generationRequest({ prompt, maxTokens: 6 })).tokens;
  expect(run.tokens(one)).toEqual(plain.slice(0, 1));
  expect(run.tokens(two)).toEqual(plain);
});
