import { availableParallelism } from 'node:os';
import { ChildWorkers } from '../cluster/child-workers.js';
import { Connection } from '../cluster/connection.js';
import { Directory } from '../cluster/frontend/directory.js';
import { RemoteEngine } from '../cluster/frontend/remote-engine.js';
import { fetchModelText, packModelText, putModelText } from '../cluster/model-text-store.js';
import { NatsServer } from '../cluster/nats-server.js';
import { WorkerNode } from '../cluster/worker/worker-node.js';
import { startEngine } from '../engine/engine.js';
import { readSettings } from '../model/settings.js';
import { CliError, messageOf } from './cli-error.js';
import { listen, type Served } from './listen.js';
import {
  argumentsOf,
  type ClusterOptions,
  type EngineCliOptions,
  engineOptionNames,
  type HttpOptions,
  type ServeOptions,
  type WorkerCliOptions,
} from './serve-options.js';
import { Starter } from './starter.js';
import { stopOnSignal } from './stop-on-signal.js';

/** HTTP for the workers of a cluster, until a signal comes. */
export async function runFrontend(options: HttpOptions & ClusterOptions): Promise<void> {
  await listen(await joinAsFrontend(options), options);
}

async function joinAsFrontend(options: ClusterOptions): Promise<Served & { engine: RemoteEngine }> {
  return withConnection(options, async (connection) => {
    const directory = new Directory(connection);
    console.error('Waiting for a worker');
    const { info, samplingDefaults, text } = await directory.first();
    const folder = await fetchModelText(connection, text);
    return { engine: new RemoteEngine(connection, directory, info), folder, samplingDefaults };
  });
}

/** A model for the frontends of a cluster, until a signal comes or the parent is gone. */
export async function runWorker(
  folder: string,
  options: EngineCliOptions & ClusterOptions & WorkerCliOptions & Pick<HttpOptions, 'drain'>,
): Promise<void> {
  const starter = new Starter();
  await withConnection(options, (connection) => startWorker(starter, connection, folder, options));
}

async function startWorker(
  starter: Starter,
  connection: Connection,
  folder: string,
  options: Parameters<typeof runWorker>[1],
): Promise<void> {
  if (options.role === 'prefill' && !options.prefixCache) {
    throw new CliError(
      '--role prefill --no-prefix-cache: others take the prompt from its prefixes',
    );
  }
  console.error(`Loading ${folder}`);
  const { defaults } = readSettings(folder);
  const text = packModelText(folder);
  const { servedModelName: modelName, ...rest } = options;
  const engine = await startEngine({ folder, modelName, ...rest, prefixChanges: true });
  await putModelText(connection, text);
  const { pages, pageSize } = (await engine.stats()).cache;
  const facts = {
    ...{ samplingDefaults: defaults, text: text.digest, pages, pageSize, role: options.role },
    prefixCache: options.prefixCache,
    maxRunning: options.maxRunning,
    places: options.maxRunning + options.maxQueued,
  };
  const handOver = options.handOver * 2 ** 20;
  const worker = new WorkerNode(engine, connection, facts, { handOver });
  const close = async (drain: number): Promise<void> => {
    await worker.drain(starter.isGone ? 0 : drain); // nobody is left to go on with anything
    await engine.close(0);
    await connection.close();
    starter.forget();
  };
  stopOnSignal({ close }, engine, options.drain * 1000);
  console.log(`${engine.info.name} in worker ${worker.id}`);
}

/** One frontend and its workers on this machine, and NATS where none is named. */
export async function serveCluster(folder: string, options: ServeOptions): Promise<void> {
  readSettings(folder); // what is wrong with the folder is said here, once
  const isOwn = options.nats === true || options.nats === 'embedded';
  const server = isOwn ? await NatsServer.start({ restart: true }) : undefined;
  const nats = server?.url ?? (options.nats as string);
  const threads =
    options.threads ?? Math.max(1, Math.floor(availableParallelism() / options.workers));
  const worker = argumentsOf({ ...options, nats, threads }, [...engineOptionNames, 'drain']);
  let workers: ChildWorkers | undefined;
  const interrupted = interruption();
  const close = async (): Promise<void> => {
    await workers?.stop();
    await server?.close();
  };
  try {
    // Before workers are started: what is wrong with the address is said once.
    await (await connect({ ...options, nats })).close();
    workers = new ChildWorkers([process.argv[1], 'worker', folder, ...worker], options.workers);
    const joined = joinAsFrontend({ ...options, nats });
    const served = await Promise.race([joined, workers.failed, interrupted.signal]);
    interrupted.done();
    await listen({ ...served, close }, options);
  } catch (error) {
    await close();
    interrupted.done();
    // What was begun and failed may have left something that keeps the process.
    console.error(`error: ${messageOf(error) ?? (error as Error).stack}`);
    process.exit(1);
  }
}

/** Rejects at a signal, while there is no server yet that would hear it. */
function interruption(): { signal: Promise<never>; done: () => void } {
  let hear!: (signal: NodeJS.Signals) => void;
  const signal = new Promise<never>((_, reject) => {
    hear = (name) => reject(new CliError(name));
  });
  signal.catch(() => {});
  process.on('SIGTERM', hear).on('SIGINT', hear);
  return { signal, done: () => process.off('SIGTERM', hear).off('SIGINT', hear) };
}

/** The connection is closed when `use` fails: it would keep the process. */
async function withConnection<T>(
  options: ClusterOptions,
  use: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await connect(options);
  try {
    return await use(connection);
  } catch (error) {
    await connection.close();
    throw error;
  }
}

function connect({ nats, natsCredentials, cluster }: ClusterOptions): Promise<Connection> {
  return Connection.open({ url: nats as string, credentials: natsCredentials, cluster });
}
