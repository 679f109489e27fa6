import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { Gate } from '../support/gate.js';
import { clientOf } from '../support/openai-client.js';
import { type Script, ScriptedEngine, saying, tokensOf } from '../support/scripted-engine.js';
import {
  eventsOf,
  promptsWith,
  type Serving,
  serve,
  stopServing,
  until,
} from '../support/serving.js';

afterEach(stopServing);

const hello = { messages: [{ role: 'user', content: 'Hi' }] } as const;
const chat = '/v1/chat/completions';

/** Two tokens at once, the others when the gate opens. */
const waiting = (gate: Gate): Script =>
  async function* (request) {
    yield* tokensOf('ab', request);
    await gate.opened;
    yield* tokensOf('cd', request);
  };

/** A client that reads what the test lets it read. */
function open({ url }: Serving, body: object): Socket {
  const text = JSON.stringify(body);
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(
    `POST ${chat} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  return socket;
}

/** Resolves when the client has received the text. */
function received(socket: Socket, text: string): Promise<void> {
  let all = '';
  return new Promise((resolve) => {
    socket.on('data', (data) => {
      all += data;
      if (all.includes(text)) resolve();
    });
  });
}

test('an answer whose body has been read goes on', async () => {
  // The request's own 'close' comes then, and is no sign of a client that left.
  const gate = new Gate();
  const engine = new ScriptedEngine(waiting(gate));
  const serving = await serve(engine);
  const response = serving.post(chat, hello);
  await until(() => engine.live.size === 1);
  // What is asked now is answered after everything that reading the body set going.
  for (let i = 0; i < 3; i++) expect((await fetch(`${serving.url}/health`)).status).toBe(200);
  expect(engine.live.size).toBe(1);
  gate.open();
  expect((await response).status).toBe(200);
});

test.each([{ stream: true }, { stream: true, n: 3 }, { stream: false }, { n: 2 }])(
  'a client that goes away takes its answers with it: %p',
  async (body) => {
    const engine = new ScriptedEngine(waiting(new Gate()));
    const serving = await serve(engine);
    const socket = open(serving, { ...hello, ...body });
    await until(() => engine.live.size === (body.n ?? 1));
    socket.destroy();
    await until(() => engine.live.size === 0);
    const { finished } = await engine.stats();
    expect(finished).toEqual({ stop: 0, length: 0, abort: body.n ?? 1, error: 0 });
    await until(() => serving.log.some(({ status }) => status === 499));
    expect(serving.log.filter(({ level }) => Number(level) >= 40)).toEqual([]);
  },
);

test('a client that is killed in mid-stream, a thousand times, leaves nothing behind', async () => {
  const engine = new ScriptedEngine(waiting(new Gate()));
  const serving = await serve(engine);
  for (let round = 0; round < 25; round++) {
    const sockets = Array.from({ length: 40 }, () => open(serving, { ...hello, stream: true }));
    await Promise.all(sockets.map((socket) => received(socket, '"b"')));
    expect(engine.live.size).toBe(40);
    for (const socket of sockets) socket.resetAndDestroy();
    await until(() => engine.live.size === 0);
  }
  const { cache, finished } = await engine.stats();
  expect(cache).toMatchObject({ used: 0, free: cache.pages });
  expect(finished).toMatchObject({ abort: 1000, stop: 0 });
  // A client may go: that is no error, and the log has no more than a line of it.
  expect(serving.log.filter(({ level }) => Number(level) >= 40)).toEqual([]);
});

test('the official client cancels a stream', async () => {
  const engine = new ScriptedEngine(waiting(new Gate()));
  const stream = await clientOf(await serve(engine)).chat.completions.create({
    ...{ model: 'test-model', messages: [{ role: 'user', content: 'Hi' }], stream: true },
  });
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content === 'b') break;
  }
  await until(() => engine.live.size === 0);
  expect((await engine.stats()).finished.abort).toBe(1);
});

test('cancelling one answer leaves the others', async () => {
  const gate = new Gate();
  const engine = new ScriptedEngine(waiting(gate));
  const serving = await serve(engine);
  const other = serving.post(chat, { ...hello, stream: true });
  const socket = open(serving, { ...hello, stream: true });
  await received(socket, '"b"');
  await until(() => engine.live.size === 2);
  socket.destroy();
  await until(() => engine.live.size === 1);
  gate.open();
  const events = await eventsOf(await other);
  expect(events.at(-1)).toBe('[DONE]');
});

test('a client that left while its prompt was encoded asks the engine for nothing', async () => {
  const engine = new ScriptedEngine(saying('a'));
  const prompts = promptsWith('', engine);
  const [begun, gate] = [new Gate(), new Gate()];
  const encode = prompts.encode.bind(prompts);
  prompts.encode = async (task) => {
    begun.open();
    await gate.opened;
    return encode(task, new AbortController().signal);
  };
  const serving = await serve(engine, {}, prompts);
  const socket = open(serving, { ...hello, stream: true });
  await begun.opened;
  socket.destroy();
  await until(() => serving.log.some(({ status }) => status === 499));
  gate.open();
  // The next request is answered after everything that the first one set going.
  expect((await serving.post(chat, hello)).status).toBe(200);
  expect(engine.requests).toHaveLength(1);
});

test('a stream that waits for its first token has headers, and comments', async () => {
  const gate = new Gate();
  const engine = new ScriptedEngine(async function* (request) {
    await gate.opened;
    yield* tokensOf('a', request);
  });
  const serving = await serve(engine, { stream: { heartbeat: 10, stall: 60_000 } });
  const socket = open(serving, { ...hello, stream: true });
  await received(socket, 'text/event-stream');
  await received(socket, ': waiting\n\n');
  gate.open();
  await received(socket, 'data: [DONE]');
  socket.destroy();
});

test('a reader that takes nothing neither fills memory nor stops the others', async () => {
  const engine = new ScriptedEngine(
    function* (request) {
      // More than the buffers of both ends of a connection hold.
      for (let i = 0; i < 400; i++) yield* tokensOf('x'.repeat(100), request);
    },
    { contextLength: 100_000 },
  );
  const serving = await serve(engine, { stream: { heartbeat: 60_000, stall: 60_000 } });
  const slow = open(serving, {
    ...{ ...hello, stream: true, logprobs: true, top_logprobs: 20 },
    ...{ max_tokens: 40_000 },
  });
  slow.pause();
  await until(() => engine.live.size === 1);
  const events = await eventsOf(
    await serving.post(chat, { ...hello, stream: true, max_tokens: 50 }),
  );
  expect(events.at(-1)).toBe('[DONE]');
  // The slow answer stands still: it has not come to its end.
  expect(engine.live.size).toBe(1);
  slow.destroy();
  await until(() => engine.live.size === 0);
});

test('a reader that takes nothing for too long is cut off', async () => {
  const engine = new ScriptedEngine(
    function* (request) {
      for (let i = 0; i < 400; i++) yield* tokensOf('x'.repeat(100), request);
    },
    { contextLength: 100_000 },
  );
  const serving = await serve(engine, { stream: { heartbeat: 60_000, stall: 100 } });
  const slow = open(serving, {
    ...{ ...hello, stream: true, logprobs: true, top_logprobs: 20 },
    ...{ max_tokens: 40_000 },
  });
  slow.pause();
  await until(() => engine.requests.length === 1 && engine.live.size === 0);
  expect((await engine.stats()).finished.abort).toBe(1);
  slow.destroy();
});

test('a slow reader gets every token once and in order', async () => {
  const text = Array.from({ length: 3000 }, (_, i) => `${i} `).join('');
  const engine = new ScriptedEngine(saying(text), { contextLength: 100_000 });
  const serving = await serve(engine);
  const body = JSON.stringify({ ...hello, stream: true, max_tokens: 50_000 });
  const { port } = new URL(serving.url);
  const all = await new Promise<string>((resolve) => {
    const asked = request(
      { port, path: chat, method: 'POST', headers: { 'content-type': 'application/json' } },
      async (response) => {
        let read = '';
        for await (const data of response) {
          read += data;
          await new Promise((next) => setTimeout(next, 1));
        }
        resolve(read);
      },
    );
    asked.end(body);
  });
  const deltas = all.matchAll(/"content":"([^"]*)"/g);
  expect(Array.from(deltas, ([, content]) => content).join('')).toBe(text);
});
