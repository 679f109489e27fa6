// Connections that are closed at any moment leave nothing that keeps their process.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { NatsServer } from '../../src/cluster/nats-server.js';
import { describeWithNats } from '../support/cluster.js';

const moduleOf = (name: string) =>
  JSON.stringify(path.resolve(import.meta.dirname, '../../dist/cluster', name));

/** Closes connections at many moments after they began to watch a store. */
const script = (url: string) => `
  import { setTimeout as delay } from 'node:timers/promises';
  import { Connection } from ${moduleOf('connection.js')};
  import { PageStore } from ${moduleOf('page-store.js')};
  for (let moment = 0; moment < 120; moment++) {
    const options = { url: ${JSON.stringify(url)}, cluster: 'test' };
    const connection = await Connection.open(options, () => {});
    new PageStore(connection).watch(() => {}).catch(() => {});
    if (moment % 2 === 0) await delay(moment % 20);
    else for (let turn = 0; turn < moment; turn++) await new Promise(setImmediate);
    await connection.close();
  }
`;

describeWithNats('a process that closes its connections', () => {
  let nats: NatsServer;
  let child: ChildProcess | undefined;
  beforeEach(async () => {
    nats = await NatsServer.start();
  });
  afterEach(async () => {
    child?.kill('SIGKILL');
    await nats.close();
  });

  test('while it begins to watch a store ends by itself', async () => {
    child = spawn(process.execPath, ['--input-type=module', '-e', script(nats.url)], {
      stdio: 'ignore',
    });
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});
