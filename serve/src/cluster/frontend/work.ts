import type { EngineError } from '../../engine/errors.js';
import type { WorkEvent } from '../messages.js';
import type { Run } from '../run-message.js';
import type { RoutedWork } from './router.js';
import type { WorkerView } from './worker-view.js';

/** What a frontend has workers do for it: an answer, or an embedding. */
export interface Work extends RoutedWork {
  /** Tokens of an answer that came. */
  readonly received: number;
  /** Nobody waits for it any more. */
  readonly cancelled: boolean;
  /** One worker may begin it, and another one go on. */
  readonly divisible: boolean;
  /** What a worker is asked for now. */
  run(): Pick<Run, 'request' | 'tokens' | 'trace'>;
  /** @returns false: something is missing before this; the work has to be done from there again. */
  receive(event: WorkEvent): boolean;
  /** It ends here, without its worker. */
  end(error: EngineError | undefined): void;
}

/** Some work, and who does it. Each try has an id of its own: what a former one says is old. */
export class Assignment {
  readonly work: Work;
  id = '';
  worker: WorkerView | undefined;
  accepted = false;
  /** When it was sent or cancelled, by the clock of the connection. */
  since = 0;
  /** Since when no worker has it; undefined: one has. */
  homeless: number | undefined;
  /** Workers that failed it lately. */
  readonly avoided = new Set<string>();
  /** Tries without a new token. */
  tries = 0;
  /** Not to be tried before, by the clock of the connection. */
  notBefore = 0;
  /** Pages in the object store that its latest worker left for the next one. */
  left: string | undefined;
  /** Why the latest try failed. */
  failure: EngineError | undefined;
  /** What had come before the latest try. */
  #before = 0;

  constructor(work: Work, now: number) {
    this.work = work;
    this.homeless = now;
  }

  /** A worker was asked. */
  sent(worker: WorkerView, id: string, now: number): void {
    this.id = id;
    this.worker = worker;
    this.accepted = false;
    this.since = now;
    this.#before = this.work.received;
    this.left = undefined;
  }

  /** It has no worker any more. */
  takeBack(now: number): void {
    this.worker?.work.delete(this.work);
    this.worker = undefined;
    this.homeless ??= now;
  }

  /** The latest try failed. */
  failed(worker: WorkerView | undefined, failure: EngineError): void {
    this.failure = failure;
    if (worker) this.avoided.add(worker.id);
    const refused = failure.code === 'queue_full';
    this.tries = this.work.received > this.#before ? 0 : this.tries + (refused ? 0 : 1);
  }
}
