import { generationRequest } from '../support/generation-request.js';
import { plainAnswer, ScriptedScheduler } from '../support/scripted-scheduler.js';

const prompt = (length: number, first = 0) => Array.from({ length }, (_, i) => (first + i) % 31);

test('each step takes all that decode first: prompts never make a stream wait', async () => {
  const run = new ScriptedScheduler(
    { pages: 200 },
    { maxBatchTokens: 10, prefillChunk: 8, maxRunning: 4 },
  );
  const [stream] = run.add(generationRequest({ maxTokens: 30 }));
  await run.steps(1);
  for (let i = 0; i < 3; i++)
    run.add(generationRequest({ prompt: prompt(50, 5 * i), maxTokens: 1 }));
  for (let i = 2; i <= 30; i++) {
    await run.steps(1);
    expect(run.tokens(stream)).toHaveLength(i);
  }
});

test('a step has at most maxBatchTokens, pieces of prompts at most prefillChunk', async () => {
  const run = new ScriptedScheduler(
    { pages: 500, contextLength: 200 },
    { maxBatchTokens: 20, prefillChunk: 6, maxRunning: 6 },
  );
  for (let i = 0; i < 12; i++) run.add(generationRequest({ prompt: prompt(17 + i, i) }));
  await run.drain();
  const totals = run.forward.steps.map((entries) => entries.reduce((a, b) => a + b));
  expect(Math.max(...totals)).toBeLessThanOrEqual(20);
  expect(Math.max(...totals)).toBeGreaterThan(12); // several prompts share a step
  expect(Math.max(...run.forward.steps.flat())).toBe(6);
});

test('a prompt is cut alike alone and beside others, after a stored prefix at the same places', async () => {
  const cuts = async (others: number) => {
    const run = new ScriptedScheduler(
      { pages: 200 },
      { maxBatchTokens: 14, prefillChunk: 8, maxRunning: 5 },
    );
    for (let i = 0; i < others; i++) {
      run.add(generationRequest({ prompt: prompt(3, 9 * i + 1), maxTokens: 25 }));
    }
    await run.steps(2);
    const before = run.forward.steps.length;
    run.add(generationRequest({ prompt: prompt(30), maxTokens: 1 }));
    await run.steps(8);
    const pieces = run.forward.steps.slice(before).map((entries) => entries.at(-1));
    return pieces.filter((length) => length !== 1);
  };
  expect(await cuts(0)).toEqual([8, 8, 8, 6]);
  expect(await cuts(4)).toEqual([8, 8, 8, 6]);

  const run = new ScriptedScheduler({ pages: 200 }, { prefillChunk: 8 });
  run.add(generationRequest({ prompt: prompt(12), maxTokens: 1 }));
  await run.drain();
  run.add(generationRequest({ prompt: prompt(30), maxTokens: 1 }));
  await run.drain();
  expect(run.forward.steps.flat()).toEqual([8, 4, 4, 8, 6]);
});

test('only the last piece of a prompt brings a token, and moves the random stream', async () => {
  const request = generationRequest({
    prompt: prompt(23),
    maxTokens: 6,
    sampling: { temperature: 1, seed: 7 },
  });
  const run = new ScriptedScheduler({}, { prefillChunk: 4 });
  const [id] = run.add(request);
  await run.steps(5);
  expect(run.tokens(id)).toEqual([]);
  await run.drain();
  expect(run.tokens(id)).toEqual(plainAnswer(request).tokens);
});

test('an answer ends with its eos, told last; with any of several ids', async () => {
  const plain = plainAnswer(generationRequest({ maxTokens: 20 })).tokens;
  for (const [eosTokenIds, stopTokenIds] of [
    [[plain[4], plain[7]], []],
    [[plain[7], plain[4]], []],
    [[], [30, plain[4]]],
  ]) {
    const run = new ScriptedScheduler({ eosTokenIds });
    const [id] = run.add(generationRequest({ maxTokens: 20, stopTokenIds }));
    await run.drain();
    const at = plain.findIndex((token) => [...eosTokenIds, ...stopTokenIds].includes(token));
    expect(run.tokens(id)).toEqual(plain.slice(0, at + 1));
    expect(run.finish(id)).toMatchObject({ reason: 'stop', stopToken: plain[at] });
  }
});

test('minTokens holds for every end, ignoreEos for eos ids alone', async () => {
  const [first, second] = plainAnswer(generationRequest()).tokens;
  const model = { eosTokenIds: [first, 30], vocabSize: 31 };
  const run = new ScriptedScheduler(model);
  const requests = [
    generationRequest({ minTokens: 3, stopTokenIds: [second] }),
    generationRequest({ ignoreEos: true, stopTokenIds: [second] }),
    generationRequest({ ignoreEos: true, minTokens: 2, maxTokens: 2, stopTokenIds: [second] }),
  ];
  const ids = requests.map((request) => run.add(request)[0]);
  await run.drain();
  ids.forEach((id, n) => {
    expect(run.tokens(id)).toEqual(plainAnswer(requests[n], model).tokens);
  });
  expect(run.tokens(ids[0]).slice(0, 3)).not.toContain(first);
  expect(run.tokens(ids[1])).toEqual([first, second]);
  expect(run.tokens(ids[2])).toHaveLength(2);
  expect(run.tokens(ids[2])).not.toContain(second);
});

test('a full context ends with length, whatever maxTokens says', async () => {
  const run = new ScriptedScheduler({ contextLength: 16 });
  const [id] = run.add(generationRequest({ prompt: prompt(11), maxTokens: 1000 }));
  const [one] = run.add(generationRequest({ prompt: prompt(15), maxTokens: 1000 }));
  await run.drain();
  expect(run.tokens(id)).toHaveLength(5);
  expect(run.tokens(one)).toHaveLength(1);
  expect(run.finish(id)).toMatchObject({ reason: 'length', completionTokens: 5 });
});

test('a seed counts whether or not neighbours have one, alone and beside seven others', async () => {
  const request = generationRequest({ maxTokens: 20, sampling: { temperature: 1, seed: 99 } });
  const alone = new ScriptedScheduler();
  const [single] = alone.add(request);
  await alone.drain();
  const crowd = new ScriptedScheduler({ pages: 200 });
  for (let i = 0; i < 4; i++) {
    crowd.add(generationRequest({ prompt: [i + 4], sampling: { temperature: 2, topK: i } }));
  }
  const [among] = crowd.add(request);
  const penalised = { frequencyPenalty: 1, repetitionPenalty: 2, logitBias: new Map([[3, 9]]) };
  for (let i = 0; i < 3; i++) crowd.add(generationRequest({ sampling: penalised }));
  await crowd.drain();
  expect(crowd.tokens(among)).toEqual(alone.tokens(single));
});

test('requests without a seed draw different answers', async () => {
  let seeds = 0;
  const run = new ScriptedScheduler({}, {}, { newSeed: () => seeds++ });
  const request = generationRequest({ maxTokens: 20, sampling: { temperature: 1 } });
  const [a, b] = [...run.add(request), ...run.add(request)];
  await run.drain();
  expect(run.tokens(a)).not.toEqual(run.tokens(b));
});

test('logits that are no numbers end that request alone', async () => {
  const run = new ScriptedScheduler();
  const inner = run.forward.run.bind(run.forward);
  const [sick] = run.add(generationRequest({ prompt: [9, 9, 9] }));
  const [well] = run.add(generationRequest());
  run.forward.run = async (entries) => {
    const rows = await inner(entries);
    if (run.forward.steps.length === 2) rows[0].fill(NaN);
    return rows;
  };
  await run.drain();
  const { reason, error } = run.finish(sick);
  expect(reason).toBe('error');
  expect(error).toMatchObject({ code: 'model_failed', status: 500 });
  expect(error?.message).toBe("The model's logit of token 0 is NaN.");
  expect(run.tokens(sick)).toHaveLength(1);
  expect(run.tokens(well)).toEqual(plainAnswer(generationRequest()).tokens);
  expect(run.forward.counts().used).toBe(0);
});

test('the counters of a run', async () => {
  const run = new ScriptedScheduler();
  const [first] = run.add(generationRequest({ prompt: prompt(10), maxTokens: 3 }));
  await run.drain();
  const [again] = run.add(generationRequest({ prompt: prompt(10), maxTokens: 5 }));
  await run.drain();
  expect(run.finish(first)).toMatchObject({
    promptTokens: 10,
    cachedTokens: 0,
    completionTokens: 3,
  });
  expect(run.finish(again)).toMatchObject({
    promptTokens: 10,
    cachedTokens: 8,
    completionTokens: 5,
  });
  expect(run.scheduler.stats()).toMatchObject({
    running: 0,
    waiting: 0,
    promptTokens: 20,
    generationTokens: 8,
    prefixQueries: 20,
    prefixHits: 8,
    preemptions: 0,
    steps: run.forward.steps.length,
    batchTokens: 1,
  });
});
