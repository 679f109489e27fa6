import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { decidedChats, holdInChaos } from '../../bench/cluster/chaos.js';
import { type ChatResult, chatsOf, holdAll } from '../../bench/cluster/chats.js';
import { readyWorkers } from '../../bench/cluster/deployment.js';
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

function endAll(): void {
  for (const child of children.splice(0)) {
    child.removeAllListeners('exit'); // it is not started again
    child.kill('SIGKILL');
  }
}

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

/** Workers of one host each, which are started again when they end. */
class Workers {
  readonly #running = new Map<Host, ChildProcess>();
  readonly #args: readonly string[];

  private constructor(args: readonly string[]) {
    this.#args = args;
  }

  /** Resolves when all of them have the model. */
  static async start(hosts: readonly Host[], ...args: readonly string[]): Promise<Workers> {
    const workers = new Workers(args);
    await Promise.all(hosts.map((host) => says(workers.#start(host), /in worker/)));
    return workers;
  }

  get pids(): number[] {
    return [...this.#running.values()].flatMap(({ pid }) => pid ?? []);
  }

  #start(host: Host): ChildProcess {
    const child = run(host, 'worker', ...this.#args);
    this.#running.set(host, child);
    child.once('exit', () => {
      this.#running.delete(host);
      this.#start(host);
    });
    return child;
  }
}

/** Frontends of one host each; their addresses. */
function frontends(hosts: readonly Host[], ...args: readonly string[]): Promise<string[]> {
  const options = ['--host', '0.0.0.0', '--port', '8080'];
  const started = hosts.map(async (host) => {
    await says(run(host, 'frontend', ...args, ...options), / at http/);
    return `http://${host.address}:8080`;
  });
  return Promise.all(started);
}

/** A counter of a frontend. */
async function counterOf(url: string, name: string): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name}\\{.*\\} (\\d+)$`, 'm').exec(metrics)?.[1]);
}

/** The answers of the chats that hang on no tie. */
const answersOf = (results: readonly ChatResult[], decided: readonly number[]) =>
  decided.map((i) => results[i].answers);

describeHosts('frontends and workers on hosts of their own', () => {
  test('200 chats at two frontends and three workers, one of which ends every 5 seconds', async () => {
    using network = new Network();
    const nats = await NatsServer.start({ host: network.address });
    try {
      const cluster = ['--nats', nats.url];
      const hosts = [network.host(), network.host(), network.host()];
      const options = ['--threads', '1', '--max-tokens-in-cache', '4096'];
      const workers = await Workers.start(hosts, model('int4-level1'), ...cluster, ...options);
      const urls = await frontends([network.host(), network.host()], ...cluster);
      const chats = chatsOf(200, 4, 12, 2);
      const load = { side: 16, maxTokens: 60 };
      const quiet = await holdAll(chats, urls, load);
      const deployment = {
        urls,
        get pids() {
          return workers.pids;
        },
      };
      const times = { killEvery: 5000, leastKills: 4 };
      const { rounds } = await holdInChaos(deployment, chats, { ...load, ...times });
      const decided = decidedChats(quiet);
      expect(decided.length).toBeGreaterThan(0.9 * chats.length);
      for (const results of rounds) {
        expect(answersOf(results, decided)).toEqual(answersOf(quiet, decided));
        for (const { completionTokens } of results) expect(completionTokens).toBe(2 * 60);
      }
    } finally {
      endAll();
      await nats.close();
    }
  }, 300_000);

  test('a host that is cut off loses no chat, and works again when it is back', async () => {
    using network = new Network();
    const nats = await NatsServer.start({ host: network.address });
    try {
      const folder = model('int4-level1');
      const cluster = ['--nats', nats.url];
      const hosts = [network.host(), network.host()];
      await Workers.start(hosts, folder, ...cluster, '--threads', '1');
      const urls = await frontends([network.host()], ...cluster);
      const chats = chatsOf(32, 2, 12, 2);
      const load = { side: 8, maxTokens: 60 };
      const quiet = await holdAll(chats, urls, load);
      const [cut] = hosts;
      const held = holdAll(chats, urls, load);
      const told = () => counterOf(urls[0], 'vllm:generation_tokens_total');
      for (const before = await told(); (await told()) === before; ) await delay(5);
      cut.connect(false);
      const decided = decidedChats(quiet);
      const same = async (results: Promise<typeof quiet>): Promise<void> => {
        expect(answersOf(await results, decided)).toEqual(answersOf(quiet, decided));
      };
      await same(held);
      // What the host had under way went elsewhere.
      expect(await counterOf(urls[0], 'flash_attention_serve_moved_total')).toBeGreaterThan(0);
      cut.connect(true);
      while ((await readyWorkers(urls[0])) < 2) await delay(100);
      await same(holdAll(chats, urls, load));
    } finally {
      endAll();
      await nats.close();
    }
  });
});
