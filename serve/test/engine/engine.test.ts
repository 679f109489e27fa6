import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Engine, EngineOptions } from '../../src/engine/contract.js';
import { generationRequest } from '../support/generation-request.js';
import { plainAnswer } from '../support/scripted-scheduler.js';
import {
  deadly,
  hanging,
  type Script,
  startScripted,
  stuck,
  tokensOf,
} from '../support/scripted-engine-thread.js';

let engine: Engine | undefined;

async function start(script: Script = {}, options: Partial<EngineOptions> = {}): Promise<Engine> {
  engine = await startScripted(script, options);
  return engine;
}

afterEach(async () => {
  await engine?.close(0);
  engine = undefined;
});

/** Until it holds. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await delay(5);
}

const endless = { maxTokens: 1000, ignoreEos: true };

test('an answer comes token by token, and tells how it ended', async () => {
  const { generate } = bound(await start());
  const request = generationRequest({ topLogprobs: 2 });
  const generation = generate(request);
  const events = [];
  for await (const event of generation) events.push(event);
  expect(events.map(({ token }) => token)).toEqual(plainAnswer(request).tokens);
  expect(events[0].top).toHaveLength(2);
  expect(events[0].top?.[0]).toEqual({ token: events[0].token, logprob: events[0].logprob });
  expect(await generation.finished).toEqual({
    reason: 'length',
    promptTokens: 3,
    cachedTokens: 0,
    completionTokens: 8,
    acceptedTokens: 0,
  });
});

test('64 answers at once are those of each alone', async () => {
  const { generate } = bound(await start());
  const requests = Array.from({ length: 64 }, (_, i) =>
    generationRequest({
      prompt: [i % 7, i % 5, i % 3],
      maxTokens: 5 + (i % 20),
      user: `${i % 4}`,
      sampling: { temperature: i % 2, seed: i },
    }),
  );
  const answers = await Promise.all(requests.map((request) => tokensOf(generate(request))));
  answers.forEach((tokens, i) => {
    expect(tokens).toEqual(plainAnswer(requests[i]).tokens);
  });
  const { cache, finished, running, waiting } = await (engine as Engine).stats();
  expect(finished).toEqual({ stop: 0, length: 64, abort: 0, error: 0 });
  expect({ running, waiting, used: cache.used }).toEqual({ running: 0, waiting: 0, used: 0 });
});

test('a group: one prompt, several answers', async () => {
  const { generateGroup } = bound(await start());
  const requests = [1, 2, 3].map((seed) =>
    generationRequest({ prompt: [1, 2, 3, 4, 5], sampling: { temperature: 1, seed } }),
  );
  const answers = await Promise.all(generateGroup(requests).map(tokensOf));
  expect(answers).toEqual(requests.map((request) => plainAnswer(request).tokens));
});

test('tokens wait for whoever reads late', async () => {
  const { generate } = bound(await start());
  const request = generationRequest();
  const generation = generate(request);
  expect((await generation.finished).reason).toBe('length');
  expect(await tokensOf(generation)).toEqual(plainAnswer(request).tokens);
});

test.each(['cancel', 'break'])(
  '%s in mid-stream: pages return, nothing more is told',
  async (how) => {
    const { generate, stats } = bound(await start({ model: { contextLength: 2000 } }));
    const generation = generate(generationRequest(endless));
    let told = 0;
    for await (const _ of generation) {
      told++;
      if (told === 3 && how === 'break') break;
      if (told === 3) generation.cancel();
      expect(told).toBeLessThan(4);
    }
    expect((await generation.finished).reason).toBe('abort');
    generation.cancel();
    const { cache, running } = await stats();
    expect({ used: cache.used, running }).toEqual({ used: 0, running: 0 });
  },
);

test('1000 clients that go away in mid-stream leave no page behind', async () => {
  const { generate, stats } = bound(await start({ model: { contextLength: 500 } }));
  const client = async (n: number) => {
    const prompt = Array.from({ length: 1 + (n % 23) }, (_, i) => (n + i) % 30);
    const generation = generate(generationRequest({ ...endless, prompt }));
    let left = n % 4;
    if (left === 0) generation.cancel();
    for await (const _ of generation) if (--left <= 0) break;
    return (await generation.finished).reason;
  };
  for (let first = 0; first < 1000; first += 50) {
    const reasons = await Promise.all(Array.from({ length: 50 }, (_, i) => client(first + i)));
    expect(new Set(reasons)).toEqual(new Set(['abort']));
  }
  const { cache, running, waiting, finished } = await stats();
  expect({ running, waiting, used: cache.used }).toEqual({ running: 0, waiting: 0, used: 0 });
  expect(cache.free + cache.stored).toBe(cache.pages);
  expect(finished.abort).toBe(1000);
});

test('to cancel one stops nobody else', async () => {
  const { generate } = bound(await start({}, { maxRunning: 2 }));
  const request = generationRequest({ maxTokens: 40 });
  const kept = [1, 2, 3].map(() => generate(request));
  const gone = [1, 2, 3].map(() => generate(generationRequest(endless)));
  for (const generation of gone) generation.cancel();
  for (const generation of kept) {
    expect(await tokensOf(generation)).toEqual(plainAnswer(request).tokens);
  }
  for (const generation of gone) expect((await generation.finished).reason).toBe('abort');
});

test('what can never be served is refused at once, and pages are as before', async () => {
  const { generate, stats } = bound(await start({ model: { pages: 5, pageSize: 4 } }));
  const { cache: before } = await stats();
  const long = new Int32Array(64);
  expect(() => generate(generationRequest({ prompt: long }))).toThrow(
    expect.objectContaining({
      code: 'context_length_exceeded',
      status: 400,
      message:
        "The prompt has 64 tokens; the model's context is 64 tokens for prompt and answer together.",
    }),
  );
  expect(() => generate(generationRequest({ prompt: long.subarray(0, 21) }))).toThrow(
    expect.objectContaining({ code: 'cache_too_small', status: 400 }),
  );
  expect((await stats()).cache).toEqual(before);
  expect(
    await tokensOf(generate(generationRequest({ prompt: long.subarray(0, 20) }))),
  ).toHaveLength(1);
});

test('a full queue answers 429 with a time to come again, a group whole or not at all', async () => {
  const script = { model: { contextLength: 2000 }, stepMilliseconds: 1 };
  const { generate, generateGroup } = bound(await start(script, { maxRunning: 2, maxQueued: 3 }));
  const generations = Array.from({ length: 4 }, () => generate(generationRequest(endless)));
  const full = expect.objectContaining({ code: 'queue_full', status: 429, retryAfter: 1 });
  const two = [generationRequest(), generationRequest()];
  expect(() => generateGroup(two)).toThrow(full);
  generations.push(generate(generationRequest(endless)));
  expect(() => generate(generationRequest())).toThrow(full);
  generations[0].cancel();
  await generations[0].finished;
  const soon = generate(generationRequest({ ...endless, priority: 1 }));
  expect(await tokensOfSoon(soon)).toHaveLength(2);
  const crowd = Array.from({ length: 6 }, () => generationRequest());
  expect(() => generateGroup(crowd)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
});

/** The first two; then it is left. */
async function tokensOfSoon(generation: ReturnType<Engine['generate']>): Promise<number[]> {
  const tokens: number[] = [];
  for await (const { token } of generation) if (tokens.push(token) === 2) break;
  return tokens;
}

test('a thread that dies: what ran ends with an error, then another serves', async () => {
  const dying = await start({ model: { contextLength: 2000 }, stepMilliseconds: 1 });
  const { generate } = bound(dying);
  for (let time = 0; time < 2; time++) {
    const left = generate(generationRequest(endless));
    for await (const _ of left) break;
    const running = generate(generationRequest(endless));
    const culprit = generate(generationRequest({ prompt: deadly }));
    const told = tokensOf(running);
    const lost = dying.embed(Int32Array.of(1)).catch((error) => error);
    for (const { finished } of [running, culprit]) {
      const { reason, error } = await finished;
      expect(reason).toBe('error');
      expect(error).toMatchObject({ code: 'engine_unavailable', status: 503 });
      expect(error?.message).toContain('out of luck');
    }
    expect((await running.finished).completionTokens).toBe((await told).length);
    await lost;
    expect(dying.healthy).toBe(false);
    expect(() => generate(generationRequest())).toThrow(
      expect.objectContaining({ code: 'engine_unavailable', status: 503, retryAfter: 5 }),
    );
    await expect(dying.stats()).rejects.toMatchObject({ code: 'engine_unavailable' });
    await until(() => dying.healthy);
    const request = generationRequest();
    expect(await tokensOf(generate(request))).toEqual(plainAnswer(request).tokens);
  }
  const { finished, cache } = await dying.stats();
  expect(finished).toEqual({ stop: 0, length: 2, abort: 2, error: 4 });
  expect(cache.used).toBe(0);
});

describe('a step that takes longer than its limit', () => {
  /** Seconds. A machine with other things to do may hold a step that is none for one of them. */
  const limit = 2;

  test.each(Object.entries(hanging))(
    '%s: what ran ends with an error, then another thread serves',
    async (_, prompt) => {
      const hung = await start({ model: { contextLength: 100_000 } }, { stepTimeout: limit });
      const { generate } = bound(hung);
      for (let time = 0; time < 2; time++) {
        const running = generate(generationRequest(endless));
        for await (const _ of running) break;
        const other = generate(generationRequest(endless));
        const culprit = generate(generationRequest({ prompt: [...prompt] }));
        const lost = hung.embed(Int32Array.of(1)).catch((error) => error);
        for (const { finished } of [other, culprit]) {
          const { reason, error } = await finished;
          expect(reason).toBe('error');
          expect(error).toMatchObject({ code: 'engine_unavailable', status: 503 });
          expect(error?.message).toContain(`a step has taken more than ${limit} s`);
        }
        await lost;
        expect(hung.healthy).toBe(false);
        expect(() => generate(generationRequest())).toThrow(
          expect.objectContaining({ code: 'engine_unavailable', status: 503 }),
        );
        await until(() => hung.healthy);
        expect(hung.stuck).toBe(false);
        const request = generationRequest();
        expect(await tokensOf(generate(request))).toEqual(plainAnswer(request).tokens);
      }
    },
  );

  test('in native code: no other thread is started before that one has ended', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'serve-stuck-'));
    const stuckWhile = path.join(folder, 'file');
    writeFileSync(stuckWhile, '');
    try {
      const hung = await start({ stuckWhile }, { stepTimeout: limit });
      const { generate } = bound(hung);
      const { error } = await generate(generationRequest({ prompt: stuck })).finished;
      expect(error).toMatchObject({ code: 'engine_unavailable' });
      await delay(200); // ten times what it takes otherwise until one is started
      expect(hung).toMatchObject({ healthy: false, stuck: true });
    } finally {
      rmSync(folder, { recursive: true });
    }
    const hung = engine as Engine;
    const { generate } = bound(hung);
    await until(() => !hung.stuck);
    await until(() => hung.healthy);
    expect(await tokensOf(generate(generationRequest()))).toHaveLength(8);
  });

  test('is none while nothing is asked, while answers wait for a grammar, or in steps without end', async () => {
    const slow = {
      model: { contextLength: 2000 },
      stepMilliseconds: 100,
      grammars: 'never' as const,
    };
    const { generate } = bound(await start(slow, { stepTimeout: limit }));
    const waiting = generate(generationRequest({ responseFormat: { type: 'json_object' } }));
    await delay(3000);
    const generation = generate(generationRequest({ ...endless, maxTokens: 30 }));
    expect((await generation.finished).reason).toBe('length');
    waiting.cancel();
    expect((await waiting.finished).reason).toBe('abort');
    await delay(3000);
    expect(engine).toMatchObject({ healthy: true, stuck: false });
  });
});

test('a model that is not loaded in time is given up', async () => {
  const loading = startScripted({ broken: 'hangs' }, { loadTimeout: 1 });
  await expect(loading).rejects.toMatchObject({
    code: 'engine_unavailable',
    message: 'The model was not loaded within 1 s.',
  });
});

test('a text that nobody waits for is cancelled', async () => {
  const slow = { model: { contextLength: 5000, pages: 4000 }, stepMilliseconds: 100 }; // 60 s for both
  const running = await start(slow);
  const gone = new AbortController();
  const [text, other] = [0, 1].map(() => running.embed(new Int32Array(5000).fill(1), gone.signal));
  await until(async () => (await running.stats()).cache.used > 0);
  gone.abort(new Error('gone'));
  for (const each of [text, other]) await expect(each).rejects.toThrow('gone');
  await expect(running.embed(Int32Array.of(1), gone.signal)).rejects.toThrow('gone');
  await until(async () => (await running.stats()).cache.used === 0);
  expect(await running.embed(Int32Array.of(3))).toHaveLength(2);
});

test('close lets what runs end, and takes nothing new', async () => {
  const { generate, close } = bound(await start({ stepMilliseconds: 1 }));
  const request = generationRequest({ maxTokens: 30 });
  const generations = Array.from({ length: 20 }, () => generate(request));
  const answers = Promise.all(generations.map(tokensOf));
  const closed = close(60_000);
  expect(engine?.healthy).toBe(false);
  expect(() => generate(request)).toThrow(expect.objectContaining({ code: 'engine_unavailable' }));
  await closed;
  for (const tokens of await answers) expect(tokens).toEqual(plainAnswer(request).tokens);
});

test('close under load: at the deadline what still runs is aborted', async () => {
  const script = { model: { contextLength: 100_000 }, stepMilliseconds: 1 };
  const { generate, close } = bound(await start(script, { maxRunning: 4 }));
  const generations = Array.from({ length: 12 }, () => generate(generationRequest(endless)));
  const reasons: string[] = [];
  for (const { finished } of generations) void finished.then(({ reason }) => reasons.push(reason));
  void close(20);
  await close(20); // which waits for the first
  expect(reasons).toEqual(generations.map(() => 'abort'));
});

test('close while the thread is being started again', async () => {
  const { generate, close } = bound(await start());
  const { finished } = generate(generationRequest({ prompt: deadly }));
  expect((await finished).reason).toBe('error');
  await close(0);
  expect(engine?.healthy).toBe(false);
});

test('a model that cannot be loaded: the engine does not start, and says why', async () => {
  await expect(startScripted({ broken: 'config.json is missing' })).rejects.toMatchObject({
    code: 'engine_unavailable',
    message: 'config.json is missing',
  });
});

test.each([
  [{ maxRunning: 0 }, 'maxRunning'],
  [{ maxQueued: -1 }, 'maxQueued'],
  [{ prefillChunk: 0.5 }, 'prefillChunk'],
  [{ maxRunning: 8, maxBatchTokens: 7 }, 'maxBatchTokens'],
  [{ stepTimeout: 0 }, 'stepTimeout'],
  [{ stepTimeout: Number.NaN }, 'stepTimeout'],
  [{ loadTimeout: -1 }, 'loadTimeout'],
])('options that can be none: %j', async (options, name) => {
  await expect(startScripted({}, options)).rejects.toMatchObject({
    code: 'invalid_request',
    message: expect.stringContaining(name),
  });
});

test('embeddings come between steps; texts that are none are refused', async () => {
  const running = await start({ stepMilliseconds: 1 });
  const generation = running.generate(generationRequest({ maxTokens: 40 }));
  const embeddings = [1, 2, 3].map((n) => running.embed(Int32Array.of(n, n)));
  expect(await Promise.all(embeddings)).toEqual([1, 2, 3].map((n) => Float32Array.of(2, n)));
  for (const tokens of [[], [31], [-1]]) {
    await expect(running.embed(Int32Array.from(tokens))).rejects.toMatchObject({ status: 400 });
  }
  await expect(running.embed(new Int32Array(65))).rejects.toMatchObject({
    code: 'context_length_exceeded',
  });
  expect((await generation.finished).completionTokens).toBe(40);
});

test('a text that no empty cache holds is refused, and closing lets those that were taken end', async () => {
  const running = await start({ stepMilliseconds: 1, model: { pages: 4, pageSize: 4 } });
  await expect(running.embed(new Int32Array(17))).rejects.toMatchObject({
    code: 'cache_too_small',
  });
  const embeddings = Array.from({ length: 20 }, (_, n) => running.embed(Int32Array.of(n, n)));
  const closed = running.close(10_000);
  expect(await Promise.all(embeddings)).toHaveLength(20);
  await closed;
});

test('requests without a seed draw different answers', async () => {
  const { generate } = bound(await start());
  const request = generationRequest({ maxTokens: 20, sampling: { temperature: 1 } });
  const [a, b] = await Promise.all([generate(request), generate(request)].map(tokensOf));
  expect(a).not.toEqual(b);
});

test('a format without a grammar ends that request alone', async () => {
  const { generate } = bound(await start());
  const { finished } = generate(generationRequest({ responseFormat: { type: 'json_object' } }));
  const { reason, error } = await finished;
  expect(reason).toBe('error');
  expect(error?.message).toBe('no grammars here');
  expect(await tokensOf(generate(generationRequest()))).toHaveLength(8);
});

function bound(running: Engine) {
  return {
    generate: running.generate.bind(running),
    generateGroup: running.generateGroup.bind(running),
    stats: running.stats.bind(running),
    close: running.close.bind(running),
  };
}
