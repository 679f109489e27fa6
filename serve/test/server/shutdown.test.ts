import { connect } from 'node:net';
import { Gate } from '../support/gate.js';
import { ScriptedEngine, saying, tokensOf } from '../support/scripted-engine.js';
import { eventsOf, jsonOf, serve, stopServing, until } from '../support/serving.js';

afterEach(stopServing);

const hello = { messages: [{ role: 'user', content: 'Hi' }], stream: true } as const;
const chat = '/v1/chat/completions';

/** An engine whose answers wait in their middle. */
function waitingEngine(): { engine: ScriptedEngine; gate: Gate } {
  const gate = new Gate();
  const engine = new ScriptedEngine(async function* (request) {
    yield* tokensOf('ab', request);
    await gate.opened;
    yield* tokensOf('cd', request);
  });
  return { engine, gate };
}

test('what runs ends; what comes is refused, and health says so', async () => {
  const { engine, gate } = waitingEngine();
  const { url, post, server } = await serve(engine);
  const running = post(chat, hello);
  await until(() => engine.live.size === 1);
  const closed = server.close(60_000);
  const health = await fetch(`${url}/health`);
  expect([health.status, await health.json()]).toEqual([503, { status: 'draining' }]);
  const refused = await post(chat, hello);
  expect(refused.status).toBe(503);
  expect(refused.headers.get('retry-after')).toBe('5');
  expect(await jsonOf(refused)).toMatchObject({ error: { code: 'engine_unavailable' } });
  gate.open();
  const events = await eventsOf(await running);
  expect(events.at(-1)).toBe('[DONE]');
  await closed;
  await expect(fetch(`${url}/health`)).rejects.toThrow();
});

test('what still runs at the deadline ends with an error, not as if it were complete', async () => {
  const { engine } = waitingEngine();
  const { post, server } = await serve(engine);
  const ask = async () => {
    const response = await post(chat, hello);
    // What had not begun has the status of an error, what had ends with one.
    return response.ok ? (await eventsOf(response)).at(-1) : jsonOf(response);
  };
  const streams = Array.from({ length: 8 }, ask);
  const whole = post(chat, { ...hello, stream: false });
  await until(() => engine.live.size === 9);
  await server.close(50);
  for (const last of await Promise.all(streams)) {
    expect(last).toMatchObject({ error: { code: 'engine_unavailable' } });
  }
  expect((await whole).status).toBe(503);
});

test('idle connections hold nothing up', async () => {
  const { url, server } = await serve(new ScriptedEngine(saying('a')), { keepAliveSeconds: 600 });
  // fetch keeps its connection for the next request.
  await (await fetch(`${url}/health`)).json();
  await server.close(60_000);
});

test('connections on which nothing was ever asked hold nothing up', async () => {
  const { url, server } = await serve(new ScriptedEngine(saying('a')));
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await Promise.all([server.close(60_000), closed]);
});

test('a connection that becomes idle while the server stops holds nothing up', async () => {
  const { engine, gate } = waitingEngine();
  const { post, server } = await serve(engine, { keepAliveSeconds: 600 });
  const running = post(chat, hello);
  await until(() => engine.live.size === 1);
  const closed = server.close(60_000);
  gate.open();
  await eventsOf(await running);
  await closed;
});

test('idle connections live as long as the server is told', async () => {
  const { url } = await serve(new ScriptedEngine(saying('a')), { keepAliveSeconds: 75 });
  expect((await fetch(`${url}/health`)).headers.get('keep-alive')).toBe('timeout=75');
});

test('closing twice is closing once', async () => {
  const { server } = await serve(new ScriptedEngine(saying('a')));
  await Promise.all([server.close(0), server.close(0)]);
});
