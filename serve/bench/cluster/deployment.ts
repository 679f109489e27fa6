import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { ChildWorkers } from '../../src/cluster/child-workers.js';
import { NatsServer } from '../../src/cluster/nats-server.js';

export interface DeploymentOptions {
  /** The command line of the server, as it is built. */
  readonly main: string;
  /** Of the model. */
  readonly folder: string;
  readonly frontends: number;
  readonly workers: number;
  /** Further arguments of every worker. */
  readonly workerArguments?: readonly string[];
}

/** Workers that take work, as a frontend hears them. */
export async function readyWorkers(url: string): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const [, ready] =
    metrics.match(/^flash_attention_serve_workers\{state="ready".*\} (\d+)$/m) ?? [];
  return Number(ready);
}

/** NATS, frontends and workers as processes of this machine. */
export class Deployment {
  readonly #options: DeploymentOptions;
  readonly #frontends: ChildProcess[] = [];
  #workers: ChildWorkers | undefined;
  nats!: NatsServer;
  /** Addresses of the frontends. */
  urls: readonly string[] = [];

  private constructor(options: DeploymentOptions) {
    this.#options = options;
  }

  static async start(options: DeploymentOptions): Promise<Deployment> {
    const deployment = new Deployment(options);
    try {
      await deployment.#start();
      return deployment;
    } catch (error) {
      await deployment.stop();
      throw error;
    }
  }

  get frontendPids(): number[] {
    return this.#frontends.flatMap(({ pid }) => pid ?? []);
  }

  /** Resolves when its first frontend hears all workers. */
  async ready(): Promise<void> {
    while ((await readyWorkers(this.urls[0])) !== this.#options.workers) await delay(100);
  }

  /** Those of the workers that run now. */
  get pids(): number[] {
    return this.#workers?.pids ?? [];
  }

  async #start(): Promise<void> {
    const { main, folder, frontends, workers, workerArguments = [] } = this.#options;
    this.nats = await NatsServer.start();
    const cluster = ['--nats', this.nats.url];
    const worker = [main, 'worker', folder, ...cluster, '--threads', '1', ...workerArguments];
    this.#workers = new ChildWorkers(worker, workers, 'ignore');
    this.urls = await Promise.all(
      Array.from({ length: frontends }, () => {
        return this.#frontend([main, 'frontend', ...cluster, '--port', '0', '--log-level', 'warn']);
      }),
    );
  }

  /** Resolves to its address. */
  #frontend(command: readonly string[]): Promise<string> {
    const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#frontends.push(child);
    let said = '';
    return new Promise((resolve, reject) => {
      child.stdout.on('data', (data) => {
        said += data;
        const [, url] = said.match(/ at (http:\S+)\n/) ?? [];
        if (url !== undefined) resolve(url);
      });
      child.once('exit', (code) => reject(new Error(`A frontend ended with ${code}.`)));
    });
  }

  async stop(): Promise<void> {
    const ended = this.#frontends.map((child) => {
      const isOver = child.exitCode !== null || child.signalCode !== null;
      const end = isOver || new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      return end;
    });
    await Promise.all([...ended, this.#workers?.stop('SIGKILL')]);
    await (this.nats as NatsServer | undefined)?.close();
  }
}
