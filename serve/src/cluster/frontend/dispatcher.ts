import { EngineError } from '../../engine/errors.js';
import type { Connection } from '../connection.js';
import { errorOf, type Report, type WorkEvent } from '../messages.js';
import type { Timing } from '../timing.js';
import type { Directory } from './directory.js';
import { chooseWorker, type Routing } from './router.js';
import { Wire } from './wire.js';
import { Assignment, type Work } from './work.js';
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
  readonly #timing: Timing;
  readonly #routing: Routing;
  /** By the ids of their tries. */
  readonly #sent = new Map<string, Assignment>();
  readonly #waiting = new Set<Assignment>();
  readonly #byWork = new Map<Work, Assignment>();
  readonly #timers: readonly NodeJS.Timeout[];
  /** Times that work went elsewhere. */
  moved = 0;

  constructor(connection: Connection, directory: Directory, timing: Timing, routing: Routing) {
    this.#connection = connection;
    this.#directory = directory;
    this.#timing = timing;
    this.#routing = routing;
    this.#wire = new Wire(connection, {
      report: (report) => this.#read(report),
      nobody: (id) => {
        const worker = directory.get(id);
        // When NATS is back, not everybody is back at once.
        if (worker && connection.clock.lasted > timing.dead) this.#died(worker);
      },
    });
    this.#timers = [
      setInterval(() => this.#look(), timing.look),
      setInterval(() => this.#sayAlive(), timing.alive),
    ];
  }

  start(work: Work): void {
    const assignment = new Assignment(work);
    assignment.homeless = this.#connection.clock.now;
    this.#byWork.set(work, assignment);
    this.#place(assignment);
  }

  /** Its worker ends it, and says how far it came; or else nobody waits for that long. */
  cancel(work: Work): void {
    const assignment = this.#byWork.get(work);
    if (assignment === undefined) return;
    if (assignment.worker === undefined) this.#end(assignment, undefined);
    else {
      assignment.since = this.#connection.clock.now;
      this.#wire.cancel(assignment.worker.id, [assignment.id]);
    }
  }

  /** Ends all that is left. */
  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    for (const assignment of [...this.#byWork.values()]) {
      const { worker, id } = assignment;
      if (worker) this.#wire.cancel(worker.id, [id]);
      this.#end(assignment, undefined);
    }
  }

  #place(assignment: Assignment): void {
    const { work } = assignment;
    const { clock } = this.#connection;
    this.#waiting.delete(assignment);
    const able = this.#directory.all.filter((worker) => {
      const { pages, pageSize } = worker.hello;
      return worker.takesWork && pages * pageSize >= work.tokens;
    });
    const free = able.filter((worker) => !worker.isFull && !assignment.avoided.has(worker.id));
    const worker = this.#connection.isConnected
      ? chooseWorker(free, work, clock.now, this.#routing)
      : undefined;
    if (worker === undefined) this.#wait(assignment, able.length > 0);
    else {
      assignment.id = this.#wire.run(worker.id, work);
      assignment.worker = worker;
      assignment.accepted = false;
      assignment.since = clock.now;
      assignment.before = work.received;
      this.#sent.set(assignment.id, assignment);
      worker.sent(work, work.pages(worker.hello.pageSize), clock.now);
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
    this.#waiting.add(assignment);
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
    const assignment = this.#sent.get(event.id);
    if (assignment === undefined) return;
    const { work } = assignment;
    assignment.accepted = true;
    assignment.homeless = undefined;
    if ('accepted' in event) return;
    if (!('finish' in event) && 'failure' in event) {
      this.#refused(assignment, errorOf(event.failure));
    } else if ('finish' in event && !work.cancelled && isTemporary(event)) {
      this.#refused(assignment, unavailable('The worker stopped.'));
    } else if (!work.receive(event)) this.#lost(assignment, unavailable('Tokens were lost.'));
    else if (!('tokens' in event)) this.#forget(assignment);
  }

  /** What was sent there and is not there, or not as far as it should be, is lost. */
  #compare(worker: WorkerView, live: ReadonlyMap<string, number>): void {
    for (const assignment of [...this.#sent.values()]) {
      if (assignment.worker !== worker || !assignment.accepted) continue;
      const tokens = live.get(assignment.id);
      if (tokens === undefined || tokens > assignment.work.received) {
        this.#lost(assignment, unavailable('A part of the answer was lost.'));
      }
    }
    const unknown = [...live.keys()].filter((id) => !this.#sent.has(id));
    if (unknown.length > 0) this.#wire.cancel(worker.id, unknown);
  }

  #refused(assignment: Assignment, error: EngineError): void {
    const elsewhere = error.code === 'engine_unavailable' || error.code === 'queue_full';
    if (elsewhere) this.#lost(assignment, error);
    else this.#end(assignment, error);
  }

  /** Its worker does not do it: another one goes on. */
  #lost(assignment: Assignment, failure: EngineError): void {
    const { work, worker, id } = assignment;
    assignment.failure = failure;
    this.moved++;
    if (worker) {
      this.#wire.cancel(worker.id, [id]);
      worker.work.delete(work);
      assignment.avoided.add(worker.id);
    }
    this.#sent.delete(id);
    assignment.worker = undefined;
    assignment.homeless ??= this.#connection.clock.now;
    const refused = failure.code === 'queue_full';
    assignment.tries = work.received > assignment.before ? 0 : assignment.tries + (refused ? 0 : 1);
    if (work.cancelled) this.#end(assignment, undefined);
    else if (assignment.tries >= mostTries) this.#end(assignment, failure);
    else if (assignment.tries <= 1) this.#place(assignment);
    else {
      // What fails again and again may take others with it: they part.
      const wait = Math.random() * retryMilliseconds * 2 ** assignment.tries;
      assignment.notBefore = this.#connection.clock.now + wait;
      this.#waiting.add(assignment);
    }
  }

  #died(worker: WorkerView): void {
    this.#directory.remove(worker.id);
    for (const assignment of [...this.#sent.values()]) {
      if (assignment.worker === worker) this.#lost(assignment, unavailable('Its worker died.'));
    }
  }

  #look(): void {
    const { clock } = this.#connection;
    const { accept, dead, patience } = this.#timing;
    if (clock.stopped > patience) this.#giveUp([...this.#byWork.values()]);
    if (!this.#connection.isConnected) return;
    const { now } = clock;
    for (const worker of this.#directory.all) {
      if (now - worker.heard > dead) this.#died(worker);
    }
    for (const assignment of [...this.#sent.values()]) {
      const { accepted, work, since } = assignment;
      if (now - since <= accept) continue;
      if (work.cancelled) this.#end(assignment, undefined);
      else if (!accepted) this.#lost(assignment, unavailable('The worker does not answer.'));
    }
    const isOver = ({ homeless = now }: Assignment) => now - homeless > patience;
    this.#giveUp([...this.#waiting].filter(isOver));
    for (const assignment of [...this.#waiting]) {
      if (assignment.notBefore <= now) this.#place(assignment);
    }
  }

  #giveUp(assignments: readonly Assignment[]): void {
    for (const assignment of assignments) {
      this.#end(assignment, assignment.failure ?? unavailable('No worker is there.'));
    }
  }

  #end(assignment: Assignment, error: EngineError | undefined): void {
    this.#forget(assignment);
    assignment.work.end(error);
  }

  #forget(assignment: Assignment): void {
    this.#sent.delete(assignment.id);
    this.#waiting.delete(assignment);
    this.#byWork.delete(assignment.work);
    assignment.worker?.work.delete(assignment.work);
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
