import type { Connection } from '../connection.js';
import { Outbox } from './outbox.js';

/** The frontends that a worker works for, as long as they live. */
export class Frontends {
  readonly #connection: Connection;
  readonly #worker: string;
  readonly #lease: number;
  readonly #known = new Map<string, { readonly outbox: Outbox; heard: number }>();

  /** @param lease milliseconds of silence after which one is taken to be dead. */
  constructor(connection: Connection, worker: string, lease: number) {
    this.#connection = connection;
    this.#worker = worker;
    this.#lease = lease;
  }

  /** What the frontend is told; by the way, that it lives. */
  outbox(frontend: string): Outbox {
    const known = this.#known.get(frontend);
    if (known) return known.outbox;
    const outbox = new Outbox(this.#connection, frontend, this.#worker);
    this.#known.set(frontend, { outbox, heard: this.#connection.clock.now });
    return outbox;
  }

  heard(frontend: string): void {
    this.outbox(frontend);
    const known = this.#known.get(frontend);
    if (known) known.heard = this.#connection.clock.now;
  }

  /** Forgets those that are dead, and returns them. */
  dropSilent(): string[] {
    const before = this.#connection.clock.now - this.#lease;
    const silent = [...this.#known].filter(([, { heard }]) => heard < before);
    for (const [frontend] of silent) this.#known.delete(frontend);
    return silent.map(([frontend]) => frontend);
  }

  flush(): void {
    for (const { outbox } of this.#known.values()) outbox.flush();
  }
}
