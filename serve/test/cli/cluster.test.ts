import { once } from 'node:events';
import { NatsServer } from '../../src/cluster/nats-server.js';
import { modelsFolder } from '../models/index.js';
import { describeWithNats } from '../support/cluster.js';
import { clientOf } from '../support/openai-client.js';
import { run, start, startWithChannel } from './command.js';

const model = modelsFolder();

describeWithNats('a cluster on one machine', () => {
  test('is started by one command, and ended by one signal', async () => {
    const folder = model('llama');
    const server = start(
      ...[folder, '--nats', '--workers', '2', '--port', '0', '--served-model-name', 'tiny'],
      ...['--max-tokens-in-cache', '2048', '--threads', '1'],
    );
    const [, url] = await server.says(/^tiny at (http:\S+)$/m);
    const client = clientOf({ url });
    const ask = (content: string) =>
      client.chat.completions.create({
        ...{ model: 'tiny', messages: [{ role: 'user', content }], max_tokens: 20, temperature: 0 },
      });
    const [first, second] = [await ask('Where?'), await ask('Where?')];
    expect(second.choices[0].message).toEqual(first.choices[0].message);
    server.process.kill('SIGTERM');
    const { code, stderr } = await server.ended;
    expect(code).toBe(0);
    expect(stderr).not.toContain('Where?');
  });

  test('two signals end it at once, and its workers without it', async () => {
    const server = start(
      ...[model('llama'), '--nats', '--workers', '2', '--port', '0', '--served-model-name', 'tiny'],
      ...['--max-tokens-in-cache', '2048', '--threads', '1'],
    );
    await server.says(/^tiny at /m);
    server.process.kill('SIGTERM');
    server.process.kill('SIGTERM');
    const { stderr } = await server.ended; // of all: they share its stderr
    expect(stderr).not.toContain('    at ');
  });

  test.each<[string, RegExp, 'stdout' | 'stderr']>([
    ['begins', /^/, 'stdout'],
    ['loads its model', /^Loading/m, 'stderr'],
    ['works', / in worker /, 'stdout'],
  ])('a worker ends whose starter goes while it %s', async (_, pattern, where) => {
    const nats = await NatsServer.start();
    try {
      const args = ['worker', model('llama'), '--nats', nats.url, '--threads', '1'];
      const worker = startWithChannel(...args);
      await worker.says(pattern, where);
      const exited = once(worker.process, 'exit'); // after disconnect() there is no 'close'
      worker.process.disconnect();
      const [code, signal] = await exited;
      expect([0, 'SIGTERM']).toContain(code ?? signal);
    } finally {
      await nats.close();
    }
  });
});

describe('what is wrong with a cluster is said in one line, with exit code 1', () => {
  test.each<[string, string[], RegExp]>([
    [
      'no NATS',
      ['worker', 'x', '--nats', 'nats://127.0.0.1:1'],
      /--nats nats:.*: connection refused/,
    ],
    ['no address', ['frontend', '--nats', 'x'], /--nats x: expected an address such as nats:/],
    ['no cluster', ['frontend', '--cluster', ''], /--cluster : expected letters/],
    ['no folder', ['/nowhere', '--nats'], /the folder of the model does not exist/],
    ['options of another role', ['frontend', '--kv-dtype', 'int8'], /unknown option '--kv-dtype'/],
  ])('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('    at ');
  });
});
