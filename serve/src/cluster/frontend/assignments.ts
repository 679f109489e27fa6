import type { WorkerView } from './worker-view.js';
import { Assignment, type Work } from './work.js';

/** All that a frontend waits for: each with a worker, or waiting for one. */
export class Assignments {
  /** By the ids of their tries. */
  readonly #sent = new Map<string, Assignment>();
  readonly #waiting = new Set<Assignment>();
  readonly #byWork = new Map<Work, Assignment>();

  add(work: Work, now: number): Assignment {
    const assignment = new Assignment(work, now);
    this.#byWork.set(work, assignment);
    return assignment;
  }

  get all(): Assignment[] {
    return [...this.#byWork.values()];
  }

  get sent(): Assignment[] {
    return [...this.#sent.values()];
  }

  get waiting(): Assignment[] {
    return [...this.#waiting];
  }

  of(work: Work): Assignment | undefined {
    return this.#byWork.get(work);
  }

  /** What an id of a worker's says; undefined: it is of an earlier try. */
  byId(id: string): Assignment | undefined {
    return this.#sent.get(id);
  }

  /** A worker was asked, under this id. */
  send(assignment: Assignment, worker: WorkerView, id: string, now: number): void {
    this.#waiting.delete(assignment);
    assignment.sent(worker, id, now);
    this.#sent.set(id, assignment);
  }

  wait(assignment: Assignment): void {
    this.#waiting.add(assignment);
  }

  /** Its worker does not do it any more. */
  takeBack(assignment: Assignment, now: number): void {
    this.#sent.delete(assignment.id);
    assignment.takeBack(now);
  }

  remove(assignment: Assignment): void {
    this.#sent.delete(assignment.id);
    this.#waiting.delete(assignment);
    this.#byWork.delete(assignment.work);
    assignment.worker?.work.delete(assignment.work);
  }
}
