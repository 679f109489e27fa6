import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describeWithNats } from '../support/cluster.js';

const module = path.resolve(import.meta.dirname, '../../dist/cluster/nats-server.js');
const load = `const { NatsServer } = await import(${JSON.stringify(module)});`;
const script = `
  ${load}
  const { url } = await NatsServer.start({ restart: true });
  console.log(url);
  setInterval(() => {}, 1000);
`;

/** Runs code in a process whose temporary files are in this folder. */
const run = (code: string, folder: string) =>
  spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: folder },
  });

/** Whether somebody listens there. */
const answers = (url: string): Promise<boolean> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

describeWithNats('a nats-server of its own', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'serve-nats-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test.each(['SIGKILL', 'SIGTERM'] as const)('ends with a process that %s ends', async (signal) => {
    const parent = run(script, folder);
    try {
      const url = await new Promise<string>((resolve) => {
        parent.stdout.once('data', (data) => resolve(`${data}`.trim()));
      });
      expect(await answers(url)).toBe(true);
      expect(readdirSync(folder)).toHaveLength(1);
      parent.kill(signal);
      while (await answers(url)) await delay(20);
      while (readdirSync(folder).length > 0) await delay(20);
    } finally {
      parent.kill('SIGKILL');
    }
  });

  test('ends with a process that ends before it has begun', async () => {
    const code = `${load} void NatsServer.start(); process.kill(process.pid, 'SIGKILL');`;
    const [, signal] = await once(run(code, folder), 'exit');
    expect(signal).toBe('SIGKILL');
    while (readdirSync(folder).length > 0) await delay(20);
  });
});
