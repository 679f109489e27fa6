import { request } from 'node:http';
import { ApiKeys, parseKeys } from '../../src/server/access/api-keys.js';
import { requestId } from '../../src/server/access/request-id.js';
import { clientOf } from '../support/openai-client.js';
import { ScriptedEngine, saying } from '../support/scripted-engine.js';
import { jsonOf, serve, stopServing } from '../support/serving.js';

afterEach(stopServing);

const hello = { messages: [{ role: 'user', content: 'Hi' }] } as const;
const chat = '/v1/chat/completions';

/** The status of a POST with these headers, Host included, which fetch would set itself. */
function statusOf(url: string, headers: Record<string, string>, path = chat): Promise<number> {
  const { port } = new URL(url);
  return new Promise((resolve, reject) => {
    const asked = request(
      { port, path, method: 'POST', headers: { 'content-type': 'application/json', ...headers } },
      (response) => resolve(response.resume().statusCode ?? 0),
    );
    asked.on('error', reject);
    asked.end(JSON.stringify(hello));
  });
}

describe('with API keys', () => {
  const apiKeys = new ApiKeys(['first-key', 'second-key']);

  test.each([
    ['none', {}],
    ['a wrong one', { authorization: 'Bearer wrong' }],
    ['the beginning of one', { authorization: 'Bearer first' }],
    ['another scheme', { authorization: 'Basic first-key' }],
    ['an empty one', { authorization: 'Bearer ' }],
  ])('a request with %s is refused', async (_, headers: Record<string, string>) => {
    const { post } = await serve(new ScriptedEngine(saying('a')), { apiKeys });
    const response = await post(chat, hello, headers);
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe('Bearer');
    expect(await jsonOf(response)).toMatchObject({
      error: { code: 'invalid_api_key', type: 'authentication_error' },
    });
  });

  test('the official client throws without a right one and is served with it', async () => {
    const serving = await serve(new ScriptedEngine(saying('yes')), { apiKeys });
    const ask = (apiKey: string) =>
      clientOf(serving, { apiKey }).chat.completions.create({
        ...{ model: 'test-model', messages: [{ role: 'user', content: 'Hi' }] },
      });
    await expect(ask('wrong')).rejects.toMatchObject({ status: 401, code: 'invalid_api_key' });
    expect((await ask('second-key')).choices[0].message.content).toBe('yes');
  });

  test('stored prefixes are shared within a key and a salt, and nowhere else', async () => {
    const engine = new ScriptedEngine(saying('a'));
    const { post } = await serve(engine, { apiKeys });
    const asked: [key: string, body: object][] = [
      ['first-key', {}],
      ['second-key', {}],
      ['first-key', { cache_salt: 'x' }],
      ['second-key', { cache_salt: 'x' }],
      ['first-key', { cache_salt: 'null' }],
      ['first-key', {}],
    ];
    for (const [key, body] of asked) {
      await post(chat, { ...hello, ...body }, { authorization: `Bearer ${key}` });
    }
    const scopes = engine.requests.map(({ cacheScope }) => cacheScope);
    expect(new Set(scopes).size).toBe(5);
    expect(scopes[5]).toBe(scopes[0]);
    // Neither the scope nor the user tells the key.
    expect(JSON.stringify(engine.requests)).not.toContain('-key');
  });

  test('the queue is fair among keys, whatever user the request names', async () => {
    const engine = new ScriptedEngine(saying('a'));
    const { post } = await serve(engine, { apiKeys });
    for (const user of ['one', 'two']) {
      await post(chat, { ...hello, user }, { authorization: 'Bearer first-key' });
    }
    const [one, two] = engine.requests.map((each) => each.user);
    expect(one).toBe(two);
  });

  test('page, health and metrics need none, models and numbers of the engine do', async () => {
    const { url } = await serve(new ScriptedEngine(saying('a')), { apiKeys });
    const statuses = ['/', '/health', '/metrics', '/v1/models', '/stats', '/unknown'].map(
      async (path) => (await fetch(url + path)).status,
    );
    expect(await Promise.all(statuses)).toEqual([200, 200, 200, 401, 401, 401]);
  });

  test('any Host is served: the key says who asks', async () => {
    const { url } = await serve(new ScriptedEngine(saying('a')), { apiKeys });
    const headers = { host: 'llm.example', authorization: 'Bearer first-key' };
    expect(await statusOf(url, headers)).toBe(200);
  });
});

describe('without API keys', () => {
  test.each<[string, Record<string, string>, number]>([
    ['localhost', { host: 'localhost:8080' }, 200],
    ['an address', { host: '192.168.1.5' }, 200],
    ['an IPv6 address', { host: '[::1]:8080' }, 200],
    ['an allowed name', { host: 'Llm.Example:8080' }, 200],
    ['a name that a web page had resolve to this machine', { host: 'attacker.example' }, 403],
    ['a name that ends like an allowed one', { host: 'evil-llm.example' }, 403],
    ['a local page', { host: 'localhost:8080', origin: 'http://localhost:3000' }, 200],
    ['its own page', { host: '192.168.1.5:8080', origin: 'http://192.168.1.5:8080' }, 200],
    ['a foreign page', { host: 'localhost', origin: 'https://attacker.example' }, 403],
    ['a foreign page of an address', { host: 'localhost', origin: 'http://203.0.113.9' }, 403],
    ['a file', { host: 'localhost', origin: 'null' }, 403],
  ])('a request under %s', async (_, headers, status) => {
    const { url } = await serve(new ScriptedEngine(saying('a')), {
      allowedHosts: ['llm.example'],
    });
    expect(await statusOf(url, headers)).toBe(status);
  });

  test('curl without a content type is understood, a form of a foreign page is not', async () => {
    const { url } = await serve(new ScriptedEngine(saying('a')));
    const form = { host: 'localhost', 'content-type': 'application/x-www-form-urlencoded' };
    expect(await statusOf(url, form)).toBe(200);
    expect(await statusOf(url, { ...form, origin: 'https://attacker.example' })).toBe(403);
  });
});

describe('X-Request-Id', () => {
  test('is echoed when it is short and plain', async () => {
    const { post } = await serve(new ScriptedEngine(saying('a')));
    const idOf = async (body: object) => {
      const response = await post(chat, { ...hello, ...body }, { 'x-request-id': 'my.id-1' });
      return response.headers.get('x-request-id');
    };
    expect(await idOf({})).toBe('my.id-1');
    expect(await idOf({ stream: true })).toBe('my.id-1');
    expect(await idOf({ n: 0 })).toBe('my.id-1');
  });

  test.each(['a'.repeat(129), 'a b', 'a\tb', '', 'é'])('is ours instead of %p', (given) => {
    expect(requestId({ headers: { 'x-request-id': given } })).toMatch(/^req_[0-9a-f]{32}$/);
  });

  test('of two requests may be equal', async () => {
    const { post } = await serve(new ScriptedEngine(saying('a')));
    const headers = { 'x-request-id': 'same' };
    const answers = await Promise.all([
      jsonOf(post(chat, hello, headers)),
      jsonOf(post(chat, hello, headers)),
    ]);
    expect(answers[0].id).not.toBe(answers[1].id);
  });
});

test('a file of keys has one in each line, and comments', () => {
  expect(parseKeys('# team\r\nabc # alice\n\n  d#ef  \n#ghi\n')).toEqual(['abc', 'd#ef']);
});
