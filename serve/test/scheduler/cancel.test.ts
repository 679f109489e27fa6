import { generationRequest } from '../support/generation-request.js';
import { plainAnswer, ScriptedScheduler } from '../support/scripted-scheduler.js';

const prompt = (length: number, first = 0) => Array.from({ length }, (_, i) => (first + i) % 31);

test('a queued request that is cancelled never runs, and nobody else notices', async () => {
  const run = new ScriptedScheduler({}, { maxRunning: 1 });
  const [running] = run.add(generationRequest());
  await run.steps(1);
  const [queued] = run.add(generationRequest({ prompt: prompt(20, 5) }));
  await run.steps(1);
  run.scheduler.cancel(queued);
  expect(run.finish(queued)).toMatchObject({ reason: 'abort', completionTokens: 0 });
  await run.drain();
  expect(run.tokens(running)).toEqual(plainAnswer(generationRequest()).tokens);
  expect(run.forward.steps.flat()).toEqual([3, 1, 1, 1, 1, 1, 1, 1]);
});

test('a disconnect between the pieces of a prompt: no other piece is computed', async () => {
  const run = new ScriptedScheduler({}, { prefillChunk: 4 });
  const [id] = run.add(generationRequest({ prompt: prompt(30) }));
  await run.steps(3);
  run.scheduler.cancel(id);
  expect(run.forward.counts().used).toBe(0);
  await run.drain();
  expect(run.forward.steps.flat()).toEqual([4, 4, 4]);
  expect(run.finish(id).reason).toBe('abort');
});

test('a cancel within a step comes before its results, even those of the last step', async () => {
  const run = new ScriptedScheduler();
  const [id] = run.add(generationRequest({ maxTokens: 2 }));
  const [other] = run.add(generationRequest({ maxTokens: 2 }));
  await run.steps(1);
  run.forward.onRun = () => {
    run.scheduler.cancel(id);
    expect(run.forward.counts().used).toBeGreaterThan(1); // not while they are written to
  };
  await run.steps(1);
  expect(run.finish(id)).toMatchObject({ reason: 'abort', completionTokens: 1 });
  expect(run.tokens(id)).toHaveLength(1);
  expect(run.finish(other)).toMatchObject({ reason: 'length' });
  expect(run.forward.counts().used).toBe(0);
});

test('a cancel within a step that fails: the answer was aborted, not failed', async () => {
  const run = new ScriptedScheduler();
  const [id] = run.add(generationRequest());
  run.forward.onRun = () => {
    run.scheduler.cancel(id);
    throw new Error('no device');
  };
  await run.drain();
  expect(run.finish(id).reason).toBe('abort');
});

test('a cancel within a step that finds the cache full', async () => {
  const run = new ScriptedScheduler({ pages: 4, prefixCache: false });
  const [first] = run.add(generationRequest({ maxTokens: 12 }));
  const [second] = run.add(generationRequest({ maxTokens: 12 }));
  const inner = run.forward.run.bind(run.forward);
  run.forward.run = async (entries) => {
    try {
      return await inner(entries);
    } catch (error) {
      run.scheduler.cancel(second);
      throw error;
    }
  };
  await run.drain();
  expect(run.finish(second).reason).toBe('abort');
  expect(run.tokens(first)).toEqual(plainAnswer(generationRequest({ maxTokens: 12 })).tokens);
});

test('to cancel twice, or what has ended, or what never was, changes nothing', async () => {
  const run = new ScriptedScheduler();
  const [id] = run.add(generationRequest());
  run.scheduler.cancel(id);
  run.scheduler.cancel(id);
  run.scheduler.cancel(77);
  const [whole] = run.add(generationRequest());
  await run.drain();
  run.scheduler.cancel(whole);
  expect(run.finish(id).reason).toBe('abort');
  expect(run.finish(whole).reason).toBe('length');
});

test('a failing step ends the requests of that step, after it was undone; the others run', async () => {
  const run = new ScriptedScheduler({}, { maxRunning: 2 });
  const ids = [1, 2, 3].map((i) => run.add(generationRequest({ prompt: [i] }))[0]);
  const lengths: number[] = [];
  run.forward.onRun = (entries) => {
    if (run.forward.steps.length !== 2 || lengths.length > 0) return;
    lengths.push(...entries.map(({ sequence }) => sequence.length));
    throw new Error('no device');
  };
  await run.drain();
  expect(lengths).toEqual([2, 2]);
  for (const id of ids.slice(0, 2)) {
    expect(run.finish(id)).toMatchObject({ reason: 'error', completionTokens: 2 });
    expect(run.finish(id).error).toMatchObject({ message: 'no device', code: 'model_failed' });
  }
  expect(run.tokens(ids[2])).toEqual(plainAnswer(generationRequest({ prompt: [3] })).tokens);
  expect(run.forward.counts().used).toBe(0);
});

test('a sequence that cannot be made ends its request alone', async () => {
  const run = new ScriptedScheduler();
  const inner = run.forward.createSequence.bind(run.forward);
  run.forward.createSequence = (tokens, options) => {
    if (tokens[0] === 9) throw new Error('not this one');
    return inner(tokens, options);
  };
  const [bad] = run.add(generationRequest({ prompt: [9] }));
  const [good] = run.add(generationRequest());
  await run.drain();
  expect(run.finish(bad)).toMatchObject({ reason: 'error' });
  expect(run.finish(good)).toMatchObject({ reason: 'length' });
});
