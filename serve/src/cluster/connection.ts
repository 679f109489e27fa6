import { existsSync, readFileSync } from 'node:fs';
import { jetstream } from '@nats-io/jetstream';
import { Objm } from '@nats-io/obj';
import {
  connect,
  type ConnectionOptions,
  credsAuthenticator,
  type Msg,
  type NatsConnection,
} from '@nats-io/transport-node';
import { ClusterError } from './cluster-error.js';
import { ConnectedClock } from './connected-clock.js';
import { Subjects } from './subjects.js';

/** How a process finds its cluster. */
export interface NatsOptions {
  /** Such as `nats://127.0.0.1:4222`; several, with commas between them, are of one NATS cluster. */
  readonly url: string;
  /** A file of credentials. */
  readonly credentials?: string;
  /** Which of the clusters on this NATS. */
  readonly cluster: string;
}

/** NATS notices within so many milliseconds, or twice, that the other side is gone. */
const pingMilliseconds = 2000;
const reconnectMilliseconds = 250;
/** From one look at the clock to the next. */
const lookMilliseconds = 50;

/** A process's place in its cluster. What is published while NATS is gone is lost. */
export class Connection {
  readonly clock = new ConnectedClock();
  readonly #beginning = new Set<Promise<unknown>>();

  private constructor(
    readonly nats: NatsConnection,
    readonly subjects: Subjects,
    readonly warn: (message: string) => void,
  ) {}

  /** @throws {@link ClusterError} when nobody answers there, or not to us. */
  static async open(
    options: NatsOptions,
    warn: (message: string) => void = console.error,
  ): Promise<Connection> {
    const { cluster } = options;
    if (!/^[\w-]{1,64}$/.test(cluster)) {
      throw new ClusterError(`--cluster ${cluster}: expected letters, digits, - and _`);
    }
    const servers = serversOf(options);
    let nats: NatsConnection;
    try {
      nats = await connect({
        ...servers,
        maxReconnectAttempts: -1,
        reconnectTimeWait: reconnectMilliseconds,
        pingInterval: pingMilliseconds,
        maxPingOut: 2,
        name: `flash-attention-serve ${cluster}`,
      });
    } catch (error) {
      throw new ClusterError(`--nats ${shown(options.url)}: ${(error as Error).message}`);
    }
    const connection = new Connection(nats, new Subjects(cluster), warn);
    void connection.#watch();
    void connection.#keepTime();
    return connection;
  }

  get isConnected(): boolean {
    return this.clock.running && !this.nats.isClosed();
  }

  /** Calls `receive` with every message; of one that can't be read the log tells. */
  subscribe(subject: string, receive: (message: Msg) => void): void {
    this.nats.subscribe(subject, {
      callback: (error, message) => {
        try {
          if (error) throw error;
          receive(message);
        } catch (thrown) {
          this.warn(`${subject}: ${(thrown as Error).message}`);
        }
      },
    });
  }

  publish(subject: string, value: object | Uint8Array, reply?: string): void {
    if (!this.isConnected) return;
    const payload = value instanceof Uint8Array ? value : JSON.stringify(value);
    this.nats.publish(subject, payload, reply === undefined ? {} : { reply });
  }

  /** The object stores of NATS. @param timeout milliseconds that it has for each of its answers. */
  objects(timeout: number): Objm {
    return new Objm(jetstream(this.nats, { timeout }));
  }

  /** Closing waits for it: of a consumer that begins on a closed connection a timer stays. */
  async begin<T>(begun: Promise<T>): Promise<T> {
    this.#beginning.add(begun);
    try {
      return await begun;
    } finally {
      this.#beginning.delete(begun);
    }
  }

  async close(): Promise<void> {
    if (this.nats.isClosed()) return;
    if (this.isConnected) {
      await Promise.allSettled(this.#beginning);
      await this.nats.flush().catch(() => {});
    }
    await this.nats.close();
  }

  async #keepTime(): Promise<void> {
    const looks = setInterval(() => this.clock.look(), lookMilliseconds).unref();
    await this.nats.closed();
    clearInterval(looks);
  }

  async #watch(): Promise<void> {
    for await (const { type } of this.nats.status()) {
      if (type === 'disconnect') {
        this.clock.stop();
        this.warn('NATS is gone');
      } else if (type === 'reconnect') {
        this.clock.start();
        this.warn('NATS is back');
      }
    }
  }
}

/** What of the options the client wants: it reads no names and passwords from addresses. */
function serversOf({ url, credentials }: NatsOptions): ConnectionOptions {
  const servers: string[] = [];
  let login: Pick<ConnectionOptions, 'user' | 'pass' | 'token'> = {};
  for (const each of url.split(',')) {
    if (!URL.canParse(each) || !/^(nats|tls):$/.test(new URL(each).protocol)) {
      throw new ClusterError(`--nats ${shown(url)}: expected an address such as nats://host:4222`);
    }
    const { protocol, username, password, host } = new URL(each);
    servers.push(`${protocol}//${host}`);
    const [user, pass] = [username, password].map(decodeURIComponent);
    if (user) login = pass ? { user, pass } : { token: user };
  }
  const tls = url.startsWith('tls:') ? { tls: {} } : {};
  if (credentials === undefined) return { servers, ...login, ...tls };
  if (!existsSync(credentials)) {
    throw new ClusterError(`--nats-credentials ${credentials}: the file does not exist`);
  }
  return { servers, ...tls, authenticator: credsAuthenticator(readFileSync(credentials)) };
}

/** Passwords are nobody's business. */
const shown = (url: string): string => url.replace(/\/\/[^@/]*@/g, '//…@');
