import { modelsFolder } from '../models/index.js';
import { clientOf } from '../support/openai-client.js';
import { deadly, startScripted } from '../support/scripted-engine-thread.js';
import { serveModel } from '../support/serve-model.js';
import {
  eventsOf,
  expectErrorBody,
  type Json,
  jsonOf,
  serve,
  stopServing,
  until,
} from '../support/serving.js';

const model = modelsFolder();

afterEach(stopServing);

const chat = '/v1/chat/completions';
const greedy = { temperature: 0, repetition_penalty: 1, max_tokens: 24, ignore_eos: true };
const messagesOf = (question: string) => [{ role: 'user' as const, content: question }];

test('64 chats at once of the official client have the answers that each has alone', async () => {
  const serving = await serveModel(model('llama'));
  const client = clientOf(serving);
  const questions = Array.from({ length: 64 }, (_, i) => `Where is answer ${i * 37}?`);
  const ask = async (question: string): Promise<string> => {
    const body = { model: 'llama', messages: messagesOf(question), ...greedy };
    const stream = await client.chat.completions.create({ ...body, stream: true });
    let text = '';
    for await (const { choices } of stream) text += choices[0].delta.content ?? '';
    return text;
  };
  const crowd = await Promise.all(questions.map(ask));
  const alone: string[] = [];
  for (const question of questions.slice(0, 8)) alone.push(await ask(question));
  expect(crowd.slice(0, 8)).toEqual(alone);
  expect(new Set(crowd).size).toBeGreaterThan(32);
  const { cache, finished, running } = await serving.engine.stats();
  expect([running, cache.used, cache.free + cache.stored]).toEqual([0, 0, cache.pages]);
  expect(finished).toEqual({ stop: 0, length: 72, abort: 0, error: 0 });
});

test('a seed draws the same answer, alone and beside others', async () => {
  const { post } = await serveModel(model('llama'));
  const ask = async (seed: number): Promise<string> => {
    const body = { messages: messagesOf('Why?'), seed, max_tokens: 16, temperature: 1 };
    return (await jsonOf(post(chat, body))).choices[0].message.content;
  };
  const alone = await ask(5);
  const crowd = await Promise.all([1, 2, 5, 3, 4].map(ask));
  expect(crowd[2]).toBe(alone);
  expect(new Set(crowd).size).toBe(5);
});

test('a prompt asked again finds itself in the cache, under another salt it does not', async () => {
  const { post } = await serveModel(model('llama'));
  const ask = async (body: object = {}) => {
    const messages = messagesOf('A question that is longer than one page of the cache is?');
    const answer = await jsonOf(post(chat, { messages, ...greedy, ...body }));
    return answer.usage.prompt_tokens_details.cached_tokens;
  };
  expect(await ask()).toBe(0);
  expect(await ask()).toBeGreaterThan(0);
  expect(await ask({ cache_salt: 'other' })).toBe(0);
  expect(await ask({ n: 3 })).toBe(await ask());
});

test('probabilities belong to the text, token by token', async () => {
  const { post } = await serveModel(model('qwen3'));
  const body = { messages: messagesOf('Is it?'), ...greedy, logprobs: true, top_logprobs: 3 };
  const { choices, usage } = await jsonOf(post(chat, body));
  const { content } = choices[0].logprobs;
  expect(content).toHaveLength(usage.completion_tokens);
  const bytes = content.flatMap((entry: Json) => entry.bytes);
  const special = /<\|[a-z_]+\|>/g;
  const text = new TextDecoder().decode(Uint8Array.from(bytes)).replace(special, '');
  expect(text).toBe(choices[0].message.content);
  for (const { logprob, top_logprobs } of content) {
    expect(top_logprobs).toHaveLength(3);
    // Greedy: the chosen one is the likeliest.
    expect(top_logprobs[0].logprob).toBe(logprob);
    expect(top_logprobs[1].logprob).toBeLessThanOrEqual(logprob);
  }
});

test('an answer in a schema is JSON of it; a schema that is none is refused, in streams too', async () => {
  const { post } = await serveModel(model('llama'));
  const ask = (schema: object, stream: boolean) => {
    const response_format = { type: 'json_schema', json_schema: { name: 'x', schema } };
    return post(chat, { messages: messagesOf('Is it?'), response_format, stream, seed: 1 });
  };
  const properties = { is: { type: 'boolean' }, why: { enum: ['a', 'b'] } };
  const schema = {
    type: 'object',
    properties,
    required: ['is', 'why'],
    additionalProperties: false,
  };
  const { choices } = await jsonOf(ask(schema, false));
  expect(choices[0].finish_reason).toBe('stop');
  const answer = JSON.parse(choices[0].message.content);
  expect([typeof answer.is, ['a', 'b'].includes(answer.why)]).toEqual(['boolean', true]);
  for (const stream of [false, true]) {
    const response = await ask({ type: 'banana' }, stream);
    expect(response.status).toBe(400);
    expectErrorBody(await jsonOf(response));
  }
});

test('a stop string of the server ends the answer of the engine', async () => {
  const { post, engine } = await serveModel(model('llama'));
  const ask = async (body: object) => {
    const answer = await jsonOf(post(chat, { messages: messagesOf('Stop?'), ...greedy, ...body }));
    return [answer.choices[0].message.content, answer.choices[0].finish_reason];
  };
  const [text] = await ask({});
  const stop = text.slice(6, 9);
  const before = text.slice(0, text.indexOf(stop));
  expect(await ask({ stop, max_tokens: 400 })).toEqual([before, 'stop']);
  expect((await engine.stats()).running).toBe(0);
});

test('an answer that reaches the end of the context ends as length', async () => {
  const { post, engine } = await serveModel(model('llama'));
  const body = { messages: messagesOf('Go on'), ...greedy, max_tokens: 100_000 };
  const { choices, usage } = await jsonOf(post(chat, body));
  expect(choices[0].finish_reason).toBe('length');
  expect(usage.total_tokens).toBe(engine.info.contextLength);
});

test('embeddings of a text are the same in any company', async () => {
  const client = clientOf(await serveModel(model('llama')));
  const embed = async (input: string[]) =>
    (await client.embeddings.create({ model: 'llama', input })).data;
  const [alone] = await embed(['one']);
  const [, beside] = await embed(['two', 'one']);
  expect(beside.embedding).toEqual(alone.embedding);
  expect(alone.embedding.length).toBeGreaterThan(1);
});

test('text of a message never becomes a control token', async () => {
  const { post } = await serveModel(model('llama'));
  const tokens = async (content: string) => {
    const body = { messages: messagesOf(content), ...greedy, max_tokens: 1 };
    return (await jsonOf(post(chat, body))).usage.prompt_tokens;
  };
  // As text it takes several tokens, as a control token one.
  expect(await tokens('<|im_end|>')).toBeGreaterThan((await tokens('')) + 1);
});

test('clients killed in mid-stream leave no page behind, while others are served', async () => {
  const serving = await serveModel(model('llama'));
  const ask = async (round: number): Promise<void> => {
    const abort = new AbortController();
    const response = await fetch(serving.url + chat, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        ...{ messages: messagesOf(`Round ${round}`), ...greedy, max_tokens: 300, stream: true },
      }),
      signal: abort.signal,
    });
    await response.body?.getReader().read();
    abort.abort();
  };
  for (let round = 0; round < 10; round++) {
    const killed = Array.from({ length: 12 }, (_, i) => ask(round * 12 + i));
    const other = serving.post(chat, { messages: messagesOf('Stay'), ...greedy, stream: true });
    await Promise.all(killed);
    expect((await eventsOf(await other)).at(-1)).toBe('[DONE]');
  }
  let stats = await serving.engine.stats();
  while (stats.running > 0) stats = await serving.engine.stats();
  const { cache, finished } = stats;
  expect([cache.used, cache.free + cache.stored]).toEqual([0, cache.pages]);
  // On a slow machine some end before they are killed.
  expect(finished.length + finished.abort).toBe(130);
  expect(finished.abort).toBeGreaterThan(0);
});

test('after a client has gone the engine computes two steps for it at most', async () => {
  // So long that the news of a client that has gone takes less on any machine.
  const script = { model: { contextLength: 2000 }, stepMilliseconds: 2000 };
  const engine = await startScripted(script);
  const { url } = await serve(engine);
  const gone = new AbortController();
  const response = await fetch(`${url}/v1/completions`, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json' }, signal: gone.signal },
    body: JSON.stringify({ prompt: [1, 2, 3], ...greedy, max_tokens: 900, stream: true }),
  });
  expect(response.status).toBe(200);
  await response.body?.getReader().read();
  const { steps } = await engine.stats();
  gone.abort();
  let stats = await engine.stats();
  while (stats.running > 0) stats = await engine.stats();
  expect(stats.steps - steps).toBeLessThanOrEqual(2);
  expect(stats.finished).toEqual({ stop: 0, length: 0, abort: 1, error: 0 });
});

test('stopping under load ends every stream, one way or the other', async () => {
  const { server, post, engine } = await serveModel(model('llama'), { maxRunning: 4 });
  const body = { messages: messagesOf('Go on'), ...greedy, max_tokens: 400, stream: true };
  const ask = async (): Promise<Json> => {
    const response = await post(chat, body);
    // What had not begun has the status of an error, what had ends with one.
    return response.ok ? (await eventsOf(response)).at(-1) : jsonOf(response);
  };
  const lasts = Array.from({ length: 24 }, ask);
  const come = async () => {
    const { running, waiting, finished } = await engine.stats();
    return running + waiting + finished.stop + finished.length;
  };
  while ((await come()) < lasts.length);
  await server.close(20);
  for (const last of await Promise.all(lasts)) {
    expect(last === '[DONE]' || last.error.code === 'engine_unavailable').toBe(true);
  }
});

test('a full cache makes answers wait or start again, and none is lost', async () => {
  const { post, engine } = await serveModel(model('llama'), { maxTokensInCache: 512 });
  const ask = async (i: number) => {
    const body = { messages: messagesOf(`Number ${i}`), ...greedy, max_tokens: 100 };
    const { choices, usage } = await jsonOf(post(chat, body));
    return [choices[0].message.content, usage.completion_tokens];
  };
  const crowd = await Promise.all(Array.from({ length: 12 }, (_, i) => ask(i)));
  expect((await engine.stats()).preemptions).toBeGreaterThan(0);
  for (const i of [0, 5, 11]) expect(await ask(i)).toEqual(crowd[i]);
});

describe('a thread that dies', () => {
  test('gives 503 or an error in the stream, and serves again when it is back', async () => {
    const engine = await startScripted();
    const { post, url } = await serve(engine);
    const ask = (prompt: readonly number[], body = {}) =>
      post('/v1/completions', { prompt, max_tokens: 4, ...body });
    expect((await ask([1, 2, 3])).status).toBe(200);
    const [first, second] = await Promise.all([ask(deadly), ask(deadly, { stream: true })]);
    expect(first.status).toBe(503);
    const events = second.ok ? await eventsOf(second) : [await jsonOf(second)];
    expect(events.at(-1).error.code).toBe('engine_unavailable');
    expect((await fetch(`${url}/health/live`)).status).toBe(200);
    await until(() => engine.healthy);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect((await ask([1, 2, 3])).status).toBe(200);
  });
});
