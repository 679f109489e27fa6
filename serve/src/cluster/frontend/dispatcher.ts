import { EngineError } from '../../engine/errors.js';
import type { Connection } from '../connection.js';
import { errorOf, type Report, type WorkEvent } from '../messages.js';
import type { Timing } from '../timing.js';
import { Assignments } from './assignments.js';
import type { Directory } from './directory.js';
import { Lookout } from './lookout.js';
import type { Placement } from './placement.js';
import { Wire } from './wire.js';
import type { Assignment, Work } from './work.js';
import type { WorkerView } from './worker-view.js';

/** Tries of some work without a new token: what it meets everywhere may be its own fault. */
const mostTries = 5;

const retryMilliseconds = 100;

/**
 * Sends work to workers, and sees to it that it ends. Nothing is trusted to arrive: what a worker
 * does not accept, does not know or has lost a part of is done elsewhere, from the tokens that came.
 */
export class Dispatcher {
  readonly #connection: Connection;
  readonly #wire: Wire;
  readonly #directory: Directory;
  readonly #placement: Placement;
  readonly #assignments = new Assignments();
  readonly #lookout: Lookout;
  readonly #alive: NodeJS.Timeout;
  /** Times that work went elsewhere. */
  moved = 0;

  constructor(connection: Connection, directory: Directory, placement: Placement, timing: Timing) {
    this.#connection = connection;
    this.#directory = directory;
    this.#placement = placement;
    this.#wire = new Wire(connection, {
      report: (report) => this.#read(report),
      nobody: (id) => {
        const worker = directory.get(id);
        // When NATS is back, not everybody is back at once.
        if (worker && connection.clock.lasted > timing.dead) this.#died(worker);
      },
    });
    const on = {
      dead: (worker: WorkerView) => this.#died(worker),
      ignored: (each: Assignment) => this.#lost(each, unavailable('The worker does not answer.')),
      abandoned: (each: Assignment) => this.#end(each, undefined),
      overdue: (each: Assignment) =>
        this.#end(each, each.failure ?? unavailable('No worker is there.')),
      waiting: (each: Assignment) => this.#place(each),
    };
    this.#lookout = new Lookout(connection, directory, this.#assignments, { timing, on });
    this.#alive = setInterval(() => this.#sayAlive(), timing.alive);
  }

  start(work: Work): void {
    this.#place(this.#assignments.add(work, this.#connection.clock.now));
  }

  /** Its worker ends it, and says how far it came; or else nobody waits for that long. */
  cancel(work: Work): void {
    const assignment = this.#assignments.of(work);
    if (assignment === undefined) return;
    if (assignment.worker === undefined) this.#end(assignment, undefined);
    else {
      assignment.since = this.#connection.clock.now;
      this.#wire.cancel(assignment.worker.id, [assignment.id]);
    }
  }

  /** Ends all that is left. */
  close(): void {
    this.#lookout.close();
    clearInterval(this.#alive);
    for (const assignment of this.#assignments.all) {
      const { worker, id } = assignment;
      if (worker) this.#wire.cancel(worker.id, [id]);
      this.#end(assignment, undefined);
    }
  }

  #place(assignment: Assignment): void {
    const { work } = assignment;
    const { now } = this.#connection.clock;
    const { worker, able, ...how } = this.#placement.choose(assignment);
    if (worker === undefined) this.#wait(assignment, able);
    else {
      this.#assignments.send(assignment, worker, this.#wire.run(worker.id, work, how), now);
      worker.sent(work, work.pages(worker.hello.pageSize), now);
    }
  }

  /** All are full, or nobody is there. What has begun waits; the client of the rest may come again. */
  #wait(assignment: Assignment, refused: boolean): void {
    const { failure, work } = assignment;
    if (refused && work.received === 0 && failure?.code === 'queue_full') {
      this.#end(assignment, failure);
      return;
    }
    assignment.avoided.clear();
    this.#assignments.wait(assignment);
  }

  #read(report: Report): void {
    const worker = this.#directory.get(report.worker);
    if ('live' in report) {
      if (worker) this.#compare(worker, new Map(report.live));
      return;
    }
    if (worker) worker.heard = this.#connection.clock.now;
    for (const event of report.events) this.#receive(event);
  }

  #receive(event: WorkEvent): void {
    const assignment = this.#assignments.byId(event.id);
    if (assignment === undefined) return;
    const { work } = assignment;
    assignment.accepted = true;
    assignment.homeless = undefined;
    if ('accepted' in event) return;
    if ('left' in event) this.#left(assignment, event.left.pages);
    else if (!('finish' in event) && 'failure' in event) {
      this.#refused(assignment, errorOf(event.failure));
    } else if ('finish' in event && !work.cancelled && isTemporary(event)) {
      this.#refused(assignment, unavailable('The worker stopped.'));
    } else if (!work.receive(event)) this.#lost(assignment, unavailable('Tokens were lost.'));
    else if (!('tokens' in event)) this.#assignments.remove(assignment);
  }

  /** What was sent there and is not there, or not as far as it should be, is lost. */
  #compare(worker: WorkerView, live: ReadonlyMap<string, number>): void {
    for (const assignment of this.#assignments.sent) {
      if (assignment.worker !== worker || !assignment.accepted) continue;
      const tokens = live.get(assignment.id);
      if (tokens === undefined || tokens > assignment.work.received) {
        this.#lost(assignment, unavailable('A part of the answer was lost.'));
      }
    }
    const unknown = [...live.keys()].filter((id) => !this.#assignments.byId(id));
    if (unknown.length > 0) this.#wire.cancel(worker.id, unknown);
  }

  #refused(assignment: Assignment, error: EngineError): void {
    const elsewhere = error.code === 'engine_unavailable' || error.code === 'queue_full';
    if (elsewhere) this.#lost(assignment, error);
    else this.#end(assignment, error);
  }

  /** Its worker did its part: another one goes on, with the pages that are in the store. */
  #left(assignment: Assignment, pages: string | undefined): void {
    const { work, worker } = assignment;
    this.#assignments.takeBack(assignment, this.#connection.clock.now);
    assignment.left = pages;
    if (worker?.hello.role !== 'prefill') this.moved++;
    if (work.cancelled) this.#end(assignment, undefined);
    else this.#place(assignment);
  }

  /** Its worker does not do it: another one goes on. */
  #lost(assignment: Assignment, failure: EngineError): void {
    const { work, worker, id } = assignment;
    const { now } = this.#connection.clock;
    this.moved++;
    if (worker) this.#wire.cancel(worker.id, [id]);
    assignment.failed(worker, failure);
    this.#assignments.takeBack(assignment, now);
    if (work.cancelled) this.#end(assignment, undefined);
    else if (assignment.tries >= mostTries) this.#end(assignment, failure);
    else if (assignment.tries <= 1) this.#place(assignment);
    else {
      // What fails again and again may take others with it: they part.
      assignment.notBefore = now + Math.random() * retryMilliseconds * 2 ** assignment.tries;
      this.#assignments.wait(assignment);
    }
  }

  #died(worker: WorkerView): void {
    this.#directory.remove(worker.id);
    for (const assignment of this.#assignments.sent) {
      if (assignment.worker === worker) this.#lost(assignment, unavailable('Its worker died.'));
    }
  }

  #end(assignment: Assignment, error: EngineError | undefined): void {
    this.#assignments.remove(assignment);
    assignment.work.end(error);
  }

  #sayAlive(): void {
    for (const worker of this.#directory.all) {
      if (worker.work.size > 0) this.#wire.alive(worker.id);
    }
  }
}

/** Whether an answer ended for a reason of its worker's. */
function isTemporary({ finish, failure }: Extract<WorkEvent, { finish: unknown }>): boolean {
  return finish.reason === 'abort' || failure?.code === 'engine_unavailable';
}

function unavailable(message: string): EngineError {
  return new EngineError('engine_unavailable', message, { retryAfter: 1 });
}
