import type { Connection } from '../connection.js';
import type { Timing } from '../timing.js';
import type { Assignments } from './assignments.js';
import type { Directory } from './directory.js';
import type { Assignment } from './work.js';
import type { WorkerView } from './worker-view.js';

/** What a {@link Lookout} notices. */
export interface LookoutEvents {
  /** A worker was silent for too long. */
  dead(worker: WorkerView): void;
  /** Its worker has not taken it. */
  ignored(assignment: Assignment): void;
  /** Its client went away, and its worker does not say how far it came. */
  abandoned(assignment: Assignment): void;
  /** Nobody did it for too long. */
  overdue(assignment: Assignment): void;
  /** It waits for a worker. */
  waiting(assignment: Assignment): void;
}

/** Looks, again and again, at all that a frontend waits for. */
export class Lookout {
  readonly #connection: Connection;
  readonly #directory: Directory;
  readonly #assignments: Assignments;
  readonly #timing: Timing;
  readonly #on: LookoutEvents;
  readonly #timer: NodeJS.Timeout;

  constructor(
    connection: Connection,
    directory: Directory,
    assignments: Assignments,
    { timing, on }: { timing: Timing; on: LookoutEvents },
  ) {
    this.#connection = connection;
    this.#directory = directory;
    this.#assignments = assignments;
    this.#timing = timing;
    this.#on = on;
    this.#timer = setInterval(() => this.#look(), timing.look);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { clock, isConnected } = this.#connection;
    const { accept, dead, patience } = this.#timing;
    if (clock.stopped > patience) this.#assignments.all.forEach(this.#on.overdue);
    if (!isConnected) return;
    const { now } = clock;
    for (const worker of this.#directory.all) {
      if (now - worker.heard > dead) this.#on.dead(worker);
    }
    for (const assignment of this.#assignments.sent) {
      if (now - assignment.since <= accept) continue;
      if (assignment.work.cancelled) this.#on.abandoned(assignment);
      else if (!assignment.accepted) this.#on.ignored(assignment);
    }
    const isOver = ({ homeless = now }: Assignment) => now - homeless > patience;
    this.#assignments.waiting.filter(isOver).forEach(this.#on.overdue);
    for (const assignment of this.#assignments.waiting) {
      if (assignment.notBefore <= now) this.#on.waiting(assignment);
    }
  }
}
