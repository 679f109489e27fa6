// The engine as it is served: its thread, a model of ONNX, the paged cache, grammars.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Engine, EngineOptions, ResponseFormat } from '../../src/engine/contract.js';
import { startEngine } from '../../src/engine/engine.js';
import { loadModelText } from '../../src/model/model-text.js';
import { variants, writeTestModel } from '../models/index.js';
import { generationRequest, type RequestFields } from '../support/generation-request.js';
import { tokensOf } from '../support/scripted-engine-thread.js';

let root: string;
let folder: string;

beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), 'serve-engine-'));
  folder = path.join(root, 'llama');
  writeTestModel(folder, 'llama');
});
afterAll(() => rmSync(root, { recursive: true }));

let engine: Engine | undefined;
afterEach(async () => {
  await engine?.close(0);
  engine = undefined;
});

async function start(options: Partial<EngineOptions> = {}): Promise<Engine> {
  const defaults: EngineOptions = {
    folder,
    maxTokensInCache: 4096,
    pageSize: 16,
    kvDtype: 'float32',
    device: 'cpu',
    threads: 2,
    maxBatchTokens: 128,
    prefillChunk: 64,
    maxRunning: 8,
    maxQueued: 100,
    prefixCache: true,
  };
  const module = new URL('../../dist/engine/worker.js', import.meta.url);
  engine = await startEngine({ ...defaults, ...options }, { module });
  return engine;
}

const prompt = (length: number, first = 10) =>
  Array.from({ length }, (_, i) => 4 + ((first + 7 * i) % 370));
const request = (fields: RequestFields = {}) =>
  generationRequest({ prompt: prompt(40), maxTokens: 24, ignoreEos: true, ...fields });

test('greedy and seeded answers are the same alone, in a crowd, and in a cache that is too small', async () => {
  const requests = Array.from({ length: 12 }, (_, i) =>
    request({
      prompt: prompt(20 + 9 * i, i % 3),
      speculativeTokens: i % 4 === 0 ? 4 : 0,
      sampling: i % 2 ? { temperature: 0.8, seed: i, topK: 40 } : {},
    }),
  );
  const alone = await start();
  const expected: number[][] = [];
  for (const one of requests) expected.push(await tokensOf(alone.generate(one)));
  await alone.close();
  for (const options of [{}, { maxTokensInCache: 320, prefixCache: false }]) {
    const crowd = await start(options);
    const answers = await Promise.all(requests.map((one) => tokensOf(crowd.generate(one))));
    expect(answers).toEqual(expected);
    const { cache, preemptions } = await crowd.stats();
    expect(cache.used).toBe(0);
    if (options.maxTokensInCache) expect(preemptions).toBeGreaterThan(0);
    await crowd.close();
  }
});

test('a chat that grows finds what it had said; the log probabilities add up', async () => {
  const running = await start();
  const first = running.generate(request({ topLogprobs: 3 }));
  const events = [];
  for await (const event of first) events.push(event);
  for (const { token, logprob, top } of events) {
    expect(top?.[0]).toEqual({ token, logprob });
    expect(logprob).toBeLessThan(0);
  }
  const grown = [...prompt(40), ...events.map(({ token }) => token), 5, 6, 7];
  const second = await running.generate(request({ prompt: grown })).finished;
  expect(second).toMatchObject({ promptTokens: 67, cachedTokens: 48 });
  const other = await running.generate(request({ prompt: grown, cacheScope: 'b' })).finished;
  expect(other.cachedTokens).toBe(0);
});

test('an answer that is left makes no step more, and its pages are back', async () => {
  const roomy = path.join(root, 'roomy');
  writeTestModel(roomy, { ...variants.llama, context: 20_000 });
  const running = await start({ folder: roomy, maxTokensInCache: 20_480 });
  // It would take seconds to its end.
  const left = running.generate(request({ maxTokens: 19_000 }));
  for await (const _ of left) break;
  // The thread reads this after the cancel.
  const { steps, running: answers, cache, generationTokens } = await running.stats();
  expect([answers, cache.used]).toEqual([0, 0]);
  const other = await running.generate(request({ prompt: prompt(3, 5), maxTokens: 1 })).finished;
  expect(other.completionTokens).toBe(1);
  const after = await running.stats();
  expect([after.steps, after.generationTokens]).toEqual([steps + 1, generationTokens + 1]);
  expect(after.finished).toMatchObject({ abort: 1, length: 1 });
});

test('json_object is JSON, json_schema what the schema says, beside plain answers', async () => {
  const running = await start();
  const { vocabulary } = await loadModelText(folder);
  const text = (tokens: number[]) =>
    new TextDecoder().decode(Buffer.concat(tokens.map((token) => vocabulary.bytes(token))));
  const plain = await tokensOf(running.generate(request()));
  const schema = {
    type: 'object',
    properties: { open: { type: 'boolean' }, kind: { enum: ['a', 'b'] } },
    required: ['open', 'kind'],
  };
  // A model of chance closes nothing by itself, and likes white space.
  const ids = Array.from({ length: vocabulary.size }, (_, id) => id);
  const biased = (pattern: RegExp, bias: number) =>
    ids.filter((id) => pattern.test(text([id]))).map((id) => [id, bias] as const);
  const logitBias = new Map([...biased(/^[}"]+$/, 30), ...biased(/^\s+$/, -30)]);
  const json = (responseFormat: ResponseFormat) =>
    request({ maxTokens: 200, responseFormat, sampling: { logitBias } });
  const [shaped, free] = [json({ type: 'json_schema', schema }), json({ type: 'json_object' })];
  const [one, two, three] = await Promise.all(
    [shaped, free, request()].map(async (each) => {
      const generation = running.generate(each);
      return { tokens: await tokensOf(generation), ...(await generation.finished) };
    }),
  );
  expect(one.reason).toBe('stop');
  expect(JSON.parse(text(one.tokens))).toEqual({
    open: expect.any(Boolean),
    kind: expect.stringMatching(/^[ab]$/),
  });
  expect(two.reason).toBe('stop');
  expect(typeof JSON.parse(text(two.tokens))).toBe('object');
  expect(three.tokens).toEqual(plain);

  const wrong = request({ responseFormat: { type: 'json_schema', schema: { type: 'no' } } });
  const { reason, error } = await running.generate(wrong).finished;
  expect(reason).toBe('error');
  expect(error).toMatchObject({ code: 'invalid_request', status: 400 });
});

test('a folder that holds no model: the engine does not start, and says why', async () => {
  await expect(start({ folder: path.join(root, 'nothing') })).rejects.toMatchObject({
    code: 'engine_unavailable',
    message: 'the folder of the model does not exist',
  });
});

test('embeddings of texts, or the reason why there are none', async () => {
  const running = await start();
  const embedding = running.embed(Int32Array.from(prompt(30)));
  if (running.info.embeddings) expect((await embedding).every(Number.isFinite)).toBe(true);
  else await expect(embedding).rejects.toMatchObject({ code: 'invalid_request' });
});
