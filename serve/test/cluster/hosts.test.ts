import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { decidedChats } from '../../bench/cluster/chaos.js';
import { chatsOf, holdAll } from '../../bench/cluster/chats.js';
import { findNatsServer, howToInstall, NatsServer } from '../../src/cluster/nats-server.js';
import { modelsFolder } from '../models/index.js';
import { type Host, Network, whyNoHosts } from '../support/hosts.js';

const model = modelsFolder();
const main = path.resolve(import.meta.dirname, '../../dist/cli/main.js');
const reason = findNatsServer() === undefined ? `no nats-server: ${howToInstall}` : whyNoHosts();
const describeHosts =
  reason === undefined
    ? describe
    : (name: string, body: () => void) => describe.skip(`${name} (${reason})`, body);

const children: ChildProcess[] = [];

function run(host: Host, ...args: readonly string[]): ChildProcess {
  const [command, all] = host.command(process.execPath, main, ...args);
  const child = spawn(command, all, { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(child);
  return child;
}

/** Resolves to what stdout says once it says this. */
const says = (child: ChildProcess, pattern: RegExp): Promise<RegExpMatchArray> =>
  new Promise((resolve, reject) => {
    let said = '';
    child.stdout?.on('data', (data) => {
      said += data;
      const found = said.match(pattern);
      if (found) resolve(found);
    });
    child.once('exit', (code) => reject(new Error(`It ended with ${code}.`)));
  });

describeHosts('frontend and workers on hosts of their own', () => {
  test('a host that is cut off loses no chat, and works again when it is back', async () => {
    using network = new Network();
    const nats = await NatsServer.start({ host: network.address });
    try {
      const folder = model('int4-level1');
      const cluster = ['--nats', nats.url];
      const hosts = [network.host(), network.host()];
      const workers = hosts.map((host) => {
        return run(host, 'worker', folder, ...cluster, '--threads', '1');
      });
      await Promise.all(workers.map((worker) => says(worker, /in worker/)));
      const front = network.host();
      const frontend = run(front, 'frontend', ...cluster, '--host', '0.0.0.0', '--port', '8080');
      await says(frontend, / at http/);
      const urls = [`http://${front.address}:8080`];
      const chats = chatsOf(16, 2, 12, 2);
      const load = { side: 8, maxTokens: 60 };
      const quiet = await holdAll(chats, urls, load);
      const [cut] = hosts;
      const held = holdAll(chats, urls, load);
      await delay(300);
      cut.connect(false);
      const answers = decidedChats(quiet);
      const same = async (results: Promise<typeof quiet>): Promise<void> => {
        const told = await results;
        expect(answers.map((i) => told[i].answers)).toEqual(answers.map((i) => quiet[i].answers));
      };
      await same(held);
      cut.connect(true);
      const ready = async (): Promise<boolean> => {
        const metrics = await (await fetch(`${urls[0]}/metrics`)).text();
        return /flash_attention_serve_workers\{state="ready",.*\} 2$/m.test(metrics);
      };
      while (!(await ready())) await delay(100);
      await same(holdAll(chats, urls, load));
    } finally {
      for (const child of children) child.kill('SIGKILL');
      await nats.close();
    }
  });
});
