// A cluster in the test's own process: NATS is a child, workers are engines of their own.
import type { Engine, EngineOptions, WorkerUsage } from '../../src/engine/contract.js';
import { Connection } from '../../src/cluster/connection.js';
import { Directory } from '../../src/cluster/frontend/directory.js';
import { LeftPages } from '../../src/cluster/frontend/left-pages.js';
import { RemoteEngine } from '../../src/cluster/frontend/remote-engine.js';
import type { Routing } from '../../src/cluster/frontend/router.js';
import { findNatsServer, howToInstall, NatsServer } from '../../src/cluster/nats-server.js';
import { defaultTiming, type Timing } from '../../src/cluster/timing.js';
import { WorkerNode, type WorkerOptions } from '../../src/cluster/worker/worker-node.js';
import { type Script, startScripted } from './scripted-engine-thread.js';

/** Skips, with the reason, where there is no `nats-server`. */
export const describeWithNats: typeof describe.skip =
  findNatsServer() === undefined
    ? (((name: string, body: () => void) =>
        describe.skip(`${name} (no nats-server here: ${howToInstall})`, body)) as never)
    : describe;

/** As usual, but more often, and with time to move pages: a test waits for what it wants to see. */
export const quick: Timing = {
  ...defaultTiming,
  ...{ beat: 50, alive: 100, look: 20, transfer: 60_000 },
};

/** Who is silent is given up soon: for tests in which somebody is. */
export const hasty: Timing = { ...quick, accept: 1000, dead: 1500, lease: 2000 };

export const noUsage: WorkerUsage = {
  ...{ memoryBytes: 0, processorSeconds: 0, savedTokens: 0, savedBytes: 0 },
  ...{ loadedTokens: 0, loadedBytes: 0, reusedTokens: 0 },
};

export interface TestWorker {
  readonly engine: Engine;
  readonly connection: Connection;
  readonly node: WorkerNode;
  /** As a process that is killed: nobody hears of it again. */
  kill(): Promise<void>;
}

export interface TestFrontend {
  readonly engine: RemoteEngine;
  readonly connection: Connection;
  readonly directory: Directory;
  readonly left: LeftPages;
}

export class TestCluster {
  readonly #closers: (() => Promise<unknown>)[] = [];
  readonly #lines: string[] = [];
  nats!: NatsServer;

  static async start(): Promise<TestCluster> {
    const cluster = new TestCluster();
    cluster.nats = await NatsServer.start();
    return cluster;
  }

  /** What was logged. */
  get log(): string {
    return this.#lines.join('\n');
  }

  connect(): Promise<Connection> {
    const options = { url: this.nats.url, cluster: 'test' };
    return Connection.open(options, (line) => this.#lines.push(line));
  }

  async worker(
    engine: Engine,
    facts: Partial<ConstructorParameters<typeof WorkerNode>[2]> = {},
    options: WorkerOptions = {},
  ): Promise<TestWorker> {
    const connection = await this.connect();
    const node = new WorkerNode(
      engine,
      connection,
      {
        ...{ samplingDefaults: {}, text: 'bytes', pages: 500, pageSize: 4, prefixCache: true },
        ...{ maxRunning: 16, places: 116, role: 'both', ...facts },
      },
      { timing: quick, ...options },
    );
    const kill = async (): Promise<void> => {
      await connection.nats.close();
      await node.drain(0);
      await engine.close(0);
    };
    this.#closers.push(kill);
    return { engine, connection, node, kill };
  }

  async scripted(
    script: Script = {},
    options: Partial<EngineOptions> = {},
    facts: Parameters<TestCluster['worker']>[1] = {},
    workerOptions: WorkerOptions = {},
  ): Promise<TestWorker> {
    return this.worker(await startScripted(script, options), facts, workerOptions);
  }

  async frontend(
    options: { timing?: Timing; routing?: Routing; workers?: number } = {},
  ): Promise<TestFrontend> {
    const { timing = quick, routing, workers = 1 } = options;
    const connection = await this.connect();
    const directory = new Directory(connection);
    const { info } = await directory.first();
    while (directory.all.length < workers) await new Promise((resolve) => setTimeout(resolve, 5));
    const left = new LeftPages(connection);
    const engine = new RemoteEngine(connection, directory, info, { timing, routing, left });
    this.#closers.push(() => engine.close(0));
    return { engine, connection, directory, left };
  }

  async close(): Promise<void> {
    await Promise.all(this.#closers.splice(0).map((close) => close()));
    await this.nats.close();
  }
}
