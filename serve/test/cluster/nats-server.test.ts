import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describeWithNats } from '../support/cluster.js';

const module = path.resolve(import.meta.dirname, '../../dist/cluster/nats-server.js');
const script = `
  const { NatsServer } = await import(${JSON.stringify(module)});
  const { url } = await NatsServer.start({ restart: true });
  console.log(url);
  setInterval(() => {}, 1000);
`;

/** Whether somebody listens there. */
const answers = (url: string): Promise<boolean> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

describeWithNats('a nats-server of its own', () => {
  test.each(['SIGKILL', 'SIGTERM'] as const)('ends with a process that %s ends', async (signal) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'serve-nats-'));
    try {
      const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, TMPDIR: folder },
      });
      const url = await new Promise<string>((resolve) => {
        parent.stdout.once('data', (data) => resolve(`${data}`.trim()));
      });
      expect(await answers(url)).toBe(true);
      expect(readdirSync(folder)).toHaveLength(1);
      parent.kill(signal);
      while (await answers(url)) await delay(20);
      while (readdirSync(folder).length > 0) await delay(20);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
