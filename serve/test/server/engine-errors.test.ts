import { RateLimitError } from 'openai';
import { EngineError } from '../../src/engine/errors.js';
import { clientOf } from '../support/openai-client.js';
import { ScriptedEngine, saying, silent, tokensOf } from '../support/scripted-engine.js';
import {
  eventsOf,
  expectErrorBody,
  jsonOf,
  serve,
  stopServing,
  until,
} from '../support/serving.js';

afterEach(stopServing);

const hello = { messages: [{ role: 'user', content: 'Hi' }] } as const;
const chat = '/v1/chat/completions';

describe('an engine that', () => {
  test('has a full queue: 429 with the time to wait', async () => {
    const engine = new ScriptedEngine(saying('a'));
    engine.maxLive = 0;
    const serving = await serve(engine);
    const response = await serving.post(chat, { ...hello, stream: true });
    expect(response.status).toBe(429);
    expect(response.headers.get('retry-after')).toBe('3');
    expect(await jsonOf(response)).toMatchObject({
      error: { code: 'rate_limit_exceeded', type: 'rate_limit_error' },
    });
    const asked = clientOf(serving).chat.completions.create({
      ...{ model: 'test-model', messages: [{ role: 'user', content: 'Hi' }] },
    });
    await expect(asked).rejects.toBeInstanceOf(RateLimitError);
  });

  test('has room for a part of the choices starts none', async () => {
    const engine = new ScriptedEngine(saying('a'));
    engine.maxLive = 3;
    const { post } = await serve(engine);
    const response = await post('/v1/completions', { prompt: ['a', 'b'], n: 2 });
    expect(response.status).toBe(429);
    expect(engine.live.size).toBe(0);
  });

  test('has died: 503 with the time to wait, and 200 when it is back', async () => {
    const engine = new ScriptedEngine(saying('a'));
    const serving = await serve(engine);
    engine.die();
    const response = await serving.post(chat, hello);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('2');
    const body = await jsonOf(response);
    expectErrorBody(body);
    expect(body.error).toMatchObject({ code: 'engine_unavailable', type: 'server_error' });
    expect((await fetch(`${serving.url}/health`)).status).toBe(503);
    expect((await fetch(`${serving.url}/health/live`)).status).toBe(200);
    engine.healthy = true;
    expect((await serving.post(chat, hello)).status).toBe(200);
    expect((await fetch(`${serving.url}/health`)).status).toBe(200);
  });

  test('hangs where nothing can end it: the process is of no use any more, and says so', async () => {
    const engine = new ScriptedEngine(saying('a'));
    const serving = await serve(engine);
    engine.die();
    engine.stuck = true;
    for (const path of ['/health', '/health/live']) {
      const response = await fetch(`${serving.url}${path}`);
      expect({ path, status: response.status }).toEqual({ path, status: 503 });
      expect(await jsonOf(response)).toEqual({ status: 'stuck' });
    }
  });

  test('is asked again by the official client until it is back', async () => {
    const engine = new ScriptedEngine(saying('back'));
    const serving = await serve(engine);
    engine.die();
    const answer = clientOf(serving, { maxRetries: 3 }).chat.completions.create({
      ...{ model: 'test-model', messages: [{ role: 'user', content: 'Hi' }] },
    });
    await until(() => serving.log.some(({ status }) => status === 503));
    engine.healthy = true;
    expect((await answer).choices[0].message.content).toBe('back');
  });

  /** An engine that dies after two tokens. */
  const dying = (): ScriptedEngine => {
    const engine = new ScriptedEngine(function* (request) {
      yield* tokensOf('ab', request);
      engine.die();
      yield* tokensOf('cd', request);
    });
    return engine;
  };

  test('dies in the middle of an answer: 503', async () => {
    const { post } = await serve(dying());
    expect((await post(chat, hello)).status).toBe(503);
  });

  test('dies in the middle of a stream: an error in the stream, no reason, no [DONE]', async () => {
    const serving = await serve(dying());
    const events = await eventsOf(await serving.post(chat, { ...hello, n: 2, stream: true }));
    const last = events.pop();
    expectErrorBody(last);
    expect(last.error.code).toBe('engine_unavailable');
    const reasons = events.map(({ choices: [choice] }) => choice.finish_reason);
    expect(new Set(reasons)).toEqual(new Set([null]));
  });

  test('refuses after a while, before a token: the stream has the status of an answer', async () => {
    const engine: ScriptedEngine = new ScriptedEngine(async function* () {
      const [generation] = engine.live;
      generation.finish('error', new EngineError('invalid_request', 'No such schema.'));
      yield* [];
    });
    const { post } = await serve(engine);
    const response = await post(chat, { ...hello, stream: true });
    expect(response.status).toBe(400);
    expect(await jsonOf(response)).toMatchObject({ error: { message: 'No such schema.' } });
  });

  test.each([true, false])('fails at one choice: the error is told, stream %p', async (stream) => {
    const engine: ScriptedEngine = new ScriptedEngine((request, index) => {
      if (index === 0) return silent(request, index);
      queueMicrotask(() =>
        [...engine.live][1].finish('error', new EngineError('model_failed', 'NaN')),
      );
      return silent(request, index);
    });
    const { post } = await serve(engine);
    const response = await post(chat, { ...hello, n: 2, stream });
    expect(response.status).toBe(500);
    expect(await jsonOf(response)).toMatchObject({ error: { code: 'model_failed' } });
    expect(engine.live.size).toBe(0);
  });

  test('dies in the middle of a stream: the official client throws', async () => {
    const stream = await clientOf(await serve(dying())).chat.completions.create({
      ...{ model: 'test-model', messages: [{ role: 'user', content: 'Hi' }], stream: true },
    });
    const read = async (): Promise<void> => {
      for await (const chunk of stream) expect(chunk.choices[0].finish_reason).toBeNull();
    };
    await expect(read()).rejects.toThrow('The engine died.');
  });
});

test('an error that nobody foresaw says nothing of files or prompts, and the log says all', async () => {
  const engine = new ScriptedEngine(() => {
    throw new Error('ENOENT: /home/someone/model.onnx');
  });
  const { post, log } = await serve(engine);
  const response = await post(chat, hello);
  expect(response.status).toBe(500);
  expect(await jsonOf(response)).toEqual({
    error: {
      message: 'The server failed to answer this request.',
      ...{ type: 'server_error', param: null, code: 'internal_error' },
    },
  });
  expect(JSON.stringify(log)).toContain('/home/someone/model.onnx');
});
