import { nuid } from '@nats-io/transport-node';
import type { Connection } from '../connection.js';
import { type Report, readReport } from '../messages.js';
import { encodeRun, type Run } from '../run-message.js';
import type { Work } from './work.js';

/** What a {@link Wire} hears. */
export interface WireEvents {
  report(report: Report): void;
  /** NATS says that nobody hears the worker any more: a process that was killed is known at once. */
  nobody(worker: string): void;
}

/** What a frontend and its workers tell each other. Nothing of it is certain to arrive. */
export class Wire {
  readonly frontend = `f${nuid.next()}`;
  readonly #connection: Connection;

  constructor(connection: Connection, events: WireEvents) {
    this.#connection = connection;
    const { subjects } = connection;
    connection.subscribe(subjects.frontend(this.frontend), ({ data }) => {
      events.report(readReport(data));
    });
    connection.subscribe(subjects.nobody(this.frontend, '*'), ({ subject }) => {
      events.nobody(subject.slice(subject.lastIndexOf('.') + 1));
    });
  }

  /** @returns the id by which the worker speaks of the work. */
  run(worker: string, work: Work, how: Pick<Run, 'pages' | 'leave'>): string {
    const id = `${this.frontend}.${nuid.next()}`;
    this.#tell(worker, 'run', encodeRun({ id, frontend: this.frontend, ...work.run(), ...how }));
    return id;
  }

  cancel(worker: string, ids: readonly string[]): void {
    this.#tell(worker, 'cancel', { frontend: this.frontend, ids });
  }

  /** The worker says what it has for this frontend. */
  alive(worker: string): void {
    this.#tell(worker, 'alive', { frontend: this.frontend });
  }

  #tell(worker: string, what: 'run' | 'cancel' | 'alive', value: object | Uint8Array): void {
    const { subjects } = this.#connection;
    const nobody = subjects.nobody(this.frontend, worker);
    this.#connection.publish(subjects.worker(worker, what), value, nobody);
  }
}
