import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { modelsFolder, variants } from '../models/index.js';
import { clientOf } from '../support/openai-client.js';
import { jsonOf, until } from '../support/serving.js';
import { run, start, startListening } from './command.js';

const model = modelsFolder();

describe('a server from the command line', () => {
  test('serves a model, and after SIGTERM ends what runs and exits with 0', async () => {
    const folder = model('llama');
    const keys = path.join(folder, 'keys');
    writeFileSync(keys, '# for the test\nthe-key\n');
    const server = start(
      ...[folder, '--port', '0', '--served-model-name', 'tiny', '--api-key-file', keys],
      ...['--max-tokens-in-cache', '2048', '--kv-dtype', 'bfloat16', '--threads', '1'],
    );
    const [, url] = await server.says(/^tiny at (http:\S+)$/m);
    expect(await jsonOf(fetch(`${url}/health`))).toEqual({ status: 'ok' });
    const client = clientOf({ url }, { apiKey: 'the-key' });
    const stream = await client.chat.completions.create({
      ...{ model: 'tiny', messages: [{ role: 'user', content: 'Where?' }], stream: true },
      ...{ max_tokens: 300, stream_options: { include_usage: true } },
    });
    let tokens: number | undefined;
    for await (const { usage } of stream) {
      if (tokens === undefined) server.process.kill('SIGTERM');
      tokens = usage?.completion_tokens ?? tokens ?? 0;
    }
    expect(tokens).toBeGreaterThan(0);
    const { code, stderr } = await server.ended;
    expect(code).toBe(0);
    expect(stderr).toContain('SIGTERM: answers have 30 s to end');
    expect(stderr).not.toContain('Where?');
  });

  test('ends at the deadline what still runs', async () => {
    // Seconds of an answer: it must not end before the signal comes.
    const folder = model({ ...variants.llama, context: 20_000 }, {}, 'drained');
    const server = start(folder, '--port', '0', '--drain', '0', '--threads', '1');
    const [, url] = await server.says(/^drained at (http:\S+)$/m);
    const body = {
      ...{ messages: [{ role: 'user', content: 'a' }], stream: true },
      ...{ ignore_eos: true, max_tokens: 16_000 },
    };
    const response = await fetch(`${url}/v1/chat/completions`, {
      ...{ method: 'POST', body: JSON.stringify(body) },
      headers: { 'content-type': 'application/json' },
    });
    server.process.kill('SIGTERM');
    const text = await response.text();
    expect(text).toContain('"error"');
    expect((await server.ended).code).toBe(0);
  });
});

describe('SIGTERM under load ends the process within the grace', () => {
  /** As many chats as there are places, and as many that wait, all without an end of their own. */
  const chats = 16;
  const body = (user: number) => ({
    messages: [{ role: 'user', content: `I am ${user}` }],
    ...{ stream: user % 2 === 0, ignore_eos: true, max_tokens: 16_000 },
  });
  const ask = async (url: string, user: number): Promise<string> => {
    const response = await fetch(`${url}/v1/chat/completions`, {
      ...{ method: 'POST', body: JSON.stringify(body(user)) },
      headers: { 'content-type': 'application/json' },
    });
    return response.text();
  };
  const listener = 'data:text/javascript,process.on("message",()=>{})';

  test.each([
    ['alone', start],
    ['with a channel to its parent', (...args: string[]) => startListening(listener, ...args)],
  ])('%s', async (_, begin) => {
    const folder = model({ ...variants.llama, context: 20_000 }, {}, 'loaded');
    const options = ['--port', '0', '--threads', '1', '--max-running', `${chats / 2}`];
    const server = begin(folder, ...options, '--drain', '1');
    const [, url] = await server.says(/^loaded at (http:\S+)$/m);
    const answers = Array.from({ length: chats }, (_, user) => ask(url, user));
    await until(async () => (await jsonOf(fetch(`${url}/stats`))).running === chats / 2);
    server.process.kill('SIGTERM');
    const texts = await Promise.all(answers);
    for (const text of texts) expect(text).toContain('"error"');
    expect((await server.ended).code).toBe(0);
  });
});

describe('what is wrong is said in one line, with exit code 1', () => {
  test.each<[string, (folder: string) => string[], RegExp]>([
    ['no folder', () => [], /missing required argument 'folder'/],
    ['a folder that is not there', (folder) => [`${folder}/x`], /does not exist/],
    ['an unknown option', (folder) => [folder, '--prot', '1'], /unknown option '--prot'/],
    ['a wrong port', (folder) => [folder, '--port', '99999'], /--port.*whole number/],
    ['a wrong dtype', (folder) => [folder, '--kv-dtype', 'int3'], /Allowed choices are float32/],
    ['no key file', (folder) => [folder, '--api-key-file', 'x'], /--api-key-file x: ENOENT/],
    ['an empty key file', (folder) => [folder, '--api-key-file', '/dev/null'], /there is no key/],
    ['no device', (folder) => [folder, '--device', 'tpu'], /device/],
  ])('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await run(...args(model('llama', {}, 'wrong')));
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('    at ');
  });

  test('a port in use', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as AddressInfo;
    const { code, stderr } = await run(model('llama', {}, 'port'), '--port', `${port}`);
    other.close();
    expect(code).toBe(1);
    expect(stderr).toContain(`error: port ${port} is in use: --port takes another`);
  });
});
