import { type ChildProcess, spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ClusterError } from './cluster-error.js';

/** Debian has it in a folder that only root looks in. */
const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/usr/local/sbin'];

const keeper = fileURLToPath(new URL('./nats-keeper.mjs', import.meta.url));

/** One that ends is noticed at once. */
const startMilliseconds = 60_000;
const restartMilliseconds = 500;

/** Where `nats-server` is on this machine, if it is. */
export function findNatsServer(): string | undefined {
  const names = folders.map((folder) => path.join(folder, 'nats-server'));
  return names.find((name) => {
    try {
      accessSync(name, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export const howToInstall =
  'apt-get install nats-server on Debian and Ubuntu, brew install nats-server on macOS, ' +
  'or https://github.com/nats-io/nats-server/releases';

export interface NatsServerOptions {
  /** 0 takes a free one. */
  readonly port?: number;
  readonly host?: string;
  /** It is started again when it ends. */
  readonly restart?: boolean;
}

/** A `nats-server` that ends with this process, with JetStream in a folder that goes with it. */
export class NatsServer {
  readonly #binary: string;
  readonly #folder: string;
  readonly #host: string;
  readonly #restart: boolean;
  #port: number;
  #child: ChildProcess | undefined;

  private constructor(binary: string, options: NatsServerOptions) {
    const { port = 0, host = '127.0.0.1', restart = false } = options;
    this.#binary = binary;
    this.#host = host;
    this.#restart = restart;
    this.#port = port;
    this.#folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-nats-'));
  }

  /** @throws {@link ClusterError} where there is none, or none starts. */
  static async start(options: NatsServerOptions = {}): Promise<NatsServer> {
    const binary = findNatsServer();
    if (binary === undefined) {
      throw new ClusterError(`nats-server is not installed here: ${howToInstall}`);
    }
    const server = new NatsServer(binary, options);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  get url(): string {
    return `nats://${this.#host}:${this.#port}`;
  }

  /** Of the process that keeps it. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it again where it was, with what it stored. */
  async start(): Promise<void> {
    const ports = path.join(this.#folder, 'ports');
    rmSync(ports, { recursive: true, force: true });
    mkdirSync(ports);
    const config = path.join(this.#folder, 'nats.conf');
    writeFileSync(
      config,
      [
        `listen: "${this.#host}:${this.#port === 0 ? -1 : this.#port}"`,
        'max_payload: 8MB', // a prompt of two million tokens
        `ports_file_dir: ${JSON.stringify(ports)}`,
        `jetstream { store_dir: ${JSON.stringify(path.join(this.#folder, 'jetstream'))} }`,
      ].join('\n'),
    );
    // In a group of its own: it outlives what the keyboard interrupts, until it is closed. The
    // channel tells the keeper when this process is gone.
    const command = [keeper, this.#folder, this.#binary, '-c', config];
    const child = spawn(process.execPath, command, {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      detached: true,
    });
    this.#child = child;
    let said = '';
    child.stderr?.on('data', (data) => {
      said = `${said}${data}`.slice(-2000);
    });
    let failure: string | undefined;
    child.on('error', (error) => {
      failure = error.message;
    });
    child.on('exit', (code, signal) => {
      failure = `it ended with ${signal ?? code}: ${said.trim().split('\n').at(-1)}`;
    });
    const end = performance.now() + startMilliseconds;
    for (;;) {
      const found = readdirSync(ports).find((name) => name.endsWith('.ports'));
      const [url] = found ? portsOf(path.join(ports, found)) : [];
      if (url !== undefined) {
        this.#port = Number(new URL(url).port);
        if (this.#restart) child.once('exit', () => this.#startAgain(child));
        return;
      }
      if (performance.now() > end) failure ??= 'it does not start';
      if (failure !== undefined) {
        if (child.connected) child.send('SIGKILL');
        throw new ClusterError(`nats-server: ${failure}`);
      }
      await delay(20);
    }
  }

  #startAgain(child: ChildProcess): void {
    if (this.#child !== child) return;
    const retry = (): void => {
      if (this.#child !== undefined)
        setTimeout(() => this.start().catch(retry), restartMilliseconds);
    };
    retry();
  }

  /** Ends the process, and keeps what it stored. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.connected) child.send(signal);
    await ended;
  }

  async close(): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** The addresses in a file that is being written, as soon as it is written. */
function portsOf(file: string): string[] {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { nats?: string[] }).nats ?? [];
  } catch {
    return [];
  }
}
