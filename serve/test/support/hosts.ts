// Several hosts on one machine: network namespaces on a bridge.
import { spawnSync } from 'node:child_process';

const id = process.pid % 100_000;
const subnet = `10.213.${process.pid % 250}`;
const bridge = `fa${id}`;

function ip(...args: readonly string[]): string {
  const { status, stderr, error } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status === 0) return '';
  throw new Error(error?.message ?? `ip ${args.join(' ')}: ${stderr.trim()}`);
}

/** Why there can be none here; undefined: there can. */
export function whyNoHosts(): string | undefined {
  try {
    using _network = new Network();
    new Host(0).remove();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What connects the hosts; this machine is a part of it. */
export class Network {
  readonly address = `${subnet}.1`;
  readonly #hosts: Host[] = [];

  constructor() {
    ip('link', 'add', bridge, 'type', 'bridge');
    ip('addr', 'add', `${this.address}/24`, 'dev', bridge);
    ip('link', 'set', bridge, 'up');
  }

  host(): Host {
    const host = new Host(this.#hosts.length);
    this.#hosts.push(host);
    return host;
  }

  [Symbol.dispose](): void {
    for (const host of this.#hosts) host.remove();
    ip('link', 'del', bridge);
  }
}

export class Host {
  readonly #name: string;
  readonly #cable: string;
  readonly address: string;

  constructor(number: number) {
    this.#name = `fa${id}h${number}`;
    this.#cable = `fa${id}v${number}`;
    this.address = `${subnet}.${10 + number}`;
    ip('netns', 'add', this.#name);
    try {
      const peer = ['peer', 'name', 'eth0', 'netns', this.#name];
      ip('link', 'add', this.#cable, 'type', 'veth', ...peer);
      ip('link', 'set', this.#cable, 'master', bridge, 'up');
      ip('-n', this.#name, 'addr', 'add', `${this.address}/24`, 'dev', 'eth0');
      ip('-n', this.#name, 'link', 'set', 'eth0', 'up');
      ip('-n', this.#name, 'link', 'set', 'lo', 'up');
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** A command that runs there. */
  command(...command: readonly string[]): [string, string[]] {
    return ['ip', ['netns', 'exec', this.#name, ...command]];
  }

  /** Pulls the cable, or plugs it in again: what is sent is neither heard nor refused. */
  connect(isConnected: boolean): void {
    ip('link', 'set', this.#cable, isConnected ? 'up' : 'down');
  }

  remove(): void {
    // Both ends of the cable: a namespace lives on while its last sockets do.
    spawnSync('ip', ['link', 'del', this.#cable]);
    ip('netns', 'del', this.#name);
  }
}
