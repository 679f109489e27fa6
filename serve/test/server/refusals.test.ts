import { connect } from 'node:net';
import { ScriptedEngine, saying } from '../support/scripted-engine.js';
import { expectErrorBody, jsonOf, type Serving, serve, stopServing } from '../support/serving.js';

let serving: Serving;

beforeAll(async () => {
  const engine = new ScriptedEngine(saying('a'), { contextLength: 100 });
  serving = await serve(engine, { maxBodyBytes: 2 ** 20 - 1 });
});

afterAll(stopServing);

const hello = { messages: [{ role: 'user', content: 'Hi' }] } as const;
const chat = '/v1/chat/completions';

describe('a request that is wrong', () => {
  test.each<[string, object, string | null]>([
    ['no messages', { messages: [] }, 'messages'],
    ['messages that are no list', { messages: 'Hi' }, 'messages'],
    ['an unknown role', { messages: [{ role: 'king', content: '' }] }, 'messages[0].role'],
    [
      'content that is no text',
      { messages: [{ role: 'user', content: 5 }] },
      'messages[0].content',
    ],
    ['a temperature above 2', { ...hello, temperature: 2.1 }, 'temperature'],
    ['a temperature that is text', { ...hello, temperature: '1' }, 'temperature'],
    ['a top_p below 0', { ...hello, top_p: -0.1 }, 'top_p'],
    ['no choices', { ...hello, n: 0, stream: true }, 'n'],
    ['too many choices', { ...hello, n: 1000 }, 'n'],
    ['no tokens', { ...hello, max_tokens: 0 }, 'max_tokens'],
    ['half a token', { ...hello, max_tokens: 1.5 }, 'max_tokens'],
    ['an empty stop string', { ...hello, stop: [''] }, 'stop[0]'],
    ['five stop strings', { ...hello, stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
    ['a stop string of 300 characters', { ...hello, stop: 'a'.repeat(300) }, 'stop'],
    ['100,000 stop strings', { ...hello, stop: Array(100_000).fill('a') }, 'stop'],
    ['a bias of what is no token', { ...hello, logit_bias: { x: 1 } }, 'logit_bias.x'],
    ['a bias outside the vocabulary', { ...hello, logit_bias: { 99999: 1 } }, 'logit_bias'],
    ['a bias above 100', { ...hello, logit_bias: { 5: 101 } }, 'logit_bias.5'],
    ['a stop id outside the vocabulary', { ...hello, stop_token_ids: [260] }, 'stop_token_ids'],
    ['a negative stop id', { ...hello, stop_token_ids: [-1] }, 'stop_token_ids[0]'],
    ['65 stop ids', { ...hello, stop_token_ids: Array(65).fill(1) }, 'stop_token_ids'],
    [
      '1025 biases',
      {
        ...hello,
        logit_bias: Object.fromEntries(Array.from({ length: 1025 }, (_, id) => [id, 1])),
      },
      'logit_bias',
    ],
    ['top_logprobs without logprobs', { ...hello, top_logprobs: 2 }, 'top_logprobs'],
    ['21 top_logprobs', { ...hello, logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
    ['min_tokens above the limit', { ...hello, max_tokens: 2, min_tokens: 3 }, 'min_tokens'],
    [
      'an unknown response format',
      { ...hello, response_format: { type: 'xml' } },
      'response_format.type',
    ],
    ['a template of its own', { ...hello, chat_template: '{{ 1 }}' }, 'chat_template'],
    ['half of a surrogate pair', { messages: [{ role: 'user', content: '\ud800' }] }, null],
  ])('with %s is refused before anything is sent', async (_, body, param) => {
    const response = await serving.post(chat, body);
    expect(response.status).toBe(400);
    const error = await jsonOf(response);
    expectErrorBody(error);
    expect(error.error).toMatchObject({ type: 'invalid_request_error', param });
  });

  test.each<[string, object, string | null]>([
    ['no prompt', {}, 'prompt'],
    ['an empty list of prompts', { prompt: [] }, 'prompt'],
    ['an empty list of ids', { prompt: [[]] }, 'prompt'],
    ['ids outside the vocabulary', { prompt: [1, 260] }, 'prompt'],
    ['negative ids', { prompt: [-1] }, 'prompt[0]'],
    ['echo', { prompt: 'a', echo: true }, 'echo'],
    ['best_of', { prompt: 'a', best_of: 2 }, 'best_of'],
    ['a suffix', { prompt: 'a', suffix: 'b' }, 'suffix'],
    ['prompt_logprobs', { prompt: 'a', prompt_logprobs: -1 }, 'prompt_logprobs'],
    ['6 logprobs', { prompt: 'a', logprobs: 6 }, 'logprobs'],
  ])('for a completion with %s is refused', async (_, body, param) => {
    const response = await serving.post('/v1/completions', body);
    expect(response.status).toBe(400);
    const error = await jsonOf(response);
    expectErrorBody(error);
    expect(error.error).toMatchObject({ type: 'invalid_request_error', param });
  });

  test('with a prompt that leaves no room is refused with the true number of tokens', async () => {
    const error = await jsonOf(serving.post('/v1/completions', { prompt: 'a'.repeat(99) }));
    expect(error.error).toMatchObject({ code: 'context_length_exceeded', param: 'prompt' });
    expect(error.error.message).toContain('maximum context length is 100 tokens');
    expect(error.error.message).toContain('100 tokens.');
    const fits = await serving.post('/v1/completions', { prompt: 'a'.repeat(98) });
    expect(fits.status).toBe(200);
  });

  test('with a prompt too long for any tokenizer is refused without encoding it', async () => {
    // Would take a second to encode and is longer than 100 tokens can be.
    const error = await jsonOf(
      serving.post('/v1/completions', { prompt: `slow:${'a'.repeat(4000)}` }),
    );
    expect(error.error).toMatchObject({ code: 'context_length_exceeded' });
    expect(error.error.message).toContain('at least 126 tokens');
  });

  test('with an unknown model is refused', async () => {
    const response = await serving.post(chat, { ...hello, model: 'gpt-9' });
    expect(response.status).toBe(404);
    expect(await jsonOf(response)).toMatchObject({
      error: { code: 'model_not_found', param: 'model', type: 'invalid_request_error' },
    });
  });
});

describe('what is no request of the API', () => {
  test.each<[string, string, RequestInit, number, string]>([
    ['an unknown path', '/v2/x', {}, 404, 'unknown_url'],
    ['an unknown method', chat, { method: 'DELETE' }, 404, 'unknown_url'],
    ['GET of a route for POST', chat, {}, 404, 'unknown_url'],
    ['a path with broken escapes', '/v1/models/%E0%A4%A', {}, 400, 'invalid_url'],
    ['broken JSON', chat, json('{"messages":'), 400, 'invalid_json'],
    ['an empty body', chat, json(''), 400, 'invalid_json'],
    ['a list', chat, json('[]'), 400, 'invalid_value'],
    ['null', chat, json('null'), 400, 'invalid_value'],
    ['a prototype', chat, json('{"__proto__":{"n":1}}'), 400, 'invalid_json'],
    ['XML', chat, text('<a/>', 'application/xml'), 415, 'unsupported_media_type'],
    ['plain text', chat, text('{}', 'text/plain'), 415, 'unsupported_media_type'],
    ['a body over the limit', chat, json(' '.repeat(2 ** 20)), 413, 'request_too_large'],
    ['nested lists', chat, json(nested(100)), 400, 'invalid_value'],
  ])('is answered in JSON: %s', async (_, path, init, status, code) => {
    const response = await fetch(serving.url + path, init);
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    const body = await jsonOf(response);
    expectErrorBody(body);
    expect(body.error.code).toBe(code);
  });

  test('deep nesting is refused, not walked', async () => {
    const response = await serving.post(chat, nested(400_000));
    expect(response.status).toBe(400);
    expectErrorBody(await jsonOf(response));
  });

  test.each([
    ['headers over the limit', `GET / HTTP/1.1\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
    ['another protocol', 'EHLO example\r\n\r\n', 400],
  ])('is answered in JSON where there is no request at all: %s', async (_, bytes, status) => {
    const response = await exchange(Number(new URL(serving.url).port), bytes);
    const [head, body] = response.split('\r\n\r\n');
    expect(head).toContain(`HTTP/1.1 ${status} `);
    expectErrorBody(JSON.parse(body));
  });
});

function json(body: string): RequestInit {
  return text(body, 'application/json');
}

function text(body: string, type: string): RequestInit {
  return { method: 'POST', body, headers: { 'content-type': type } };
}

function nested(depth: number): string {
  return `{"messages":${'['.repeat(depth)}${']'.repeat(depth)}}`;
}

/** What the server says to these bytes until it hangs up. */
function exchange(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (data) => {
      received += data;
    });
    socket.on('close', () => resolve(received));
    socket.on('error', reject);
  });
}
