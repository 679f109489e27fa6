import type { Connection } from '../connection.js';
import type { Run } from '../run-message.js';
import type { Directory } from './directory.js';
import type { LeftPages, Loadable } from './left-pages.js';
import { chooseWorker, type Routing, savedByLoading, storedTokens } from './router.js';
import type { Assignment } from './work.js';
import type { WorkerView } from './worker-view.js';

/** A prompt that lacks fewer tokens is computed where its answer is: moving it saves nothing. */
const shortPrompt = 256;

/** Who does some work, and how it is asked to. */
export interface Placed extends Pick<Run, 'pages' | 'leave'> {
  /** Undefined: nobody can now. */
  readonly worker?: WorkerView;
  /** Somebody could, with less to do. */
  readonly able: boolean;
}

/** Decides where work is done: a prompt on one worker and the rest on another, where such are. */
export class Placement {
  readonly #connection: Connection;
  readonly #directory: Directory;
  readonly #left: LeftPages;
  readonly #routing: Routing;

  constructor(connection: Connection, directory: Directory, left: LeftPages, routing: Routing) {
    this.#connection = connection;
    this.#directory = directory;
    this.#left = left;
    this.#routing = routing;
  }

  choose({ work, avoided, left }: Assignment): Placed {
    const able = this.#directory.all.filter(({ hello, takesWork }) => {
      return takesWork && hello.pages * hello.pageSize >= work.tokens;
    });
    const free = able.filter(({ id, isFull }) => !isFull && !avoided.has(id));
    const { isConnected, clock } = this.#connection;
    if (!isConnected || free.length === 0) return { able: able.length > 0 };
    const found = new Map<number, Loadable | undefined>();
    const find = (pageSize: number) => {
      if (!found.has(pageSize)) {
        found.set(pageSize, this.#left.find(work.pages(pageSize), pageSize));
      }
      return found.get(pageSize);
    };
    const best = (workers: readonly WorkerView[]) =>
      chooseWorker(workers, work, clock.now, {
        routing: this.#routing,
        loadable: find,
      });
    const decoding = free.filter(({ hello }) => hello.role !== 'prefill');
    const prefilling = free.filter(({ hello }) => hello.role !== 'decode');
    let worker = best(decoding.length > 0 ? decoding : free) as WorkerView;
    const stored = (of: WorkerView) => storedTokens(of, work, clock.now);
    const begins = work.divisible && work.received === 0 && left === undefined;
    if (begins && work.tokens - stored(worker) > shortPrompt) worker = best(prefilling) ?? worker;
    const leave = begins && worker.hello.role === 'prefill' && decoding.length > 0;
    const loadable = find(worker.hello.pageSize);
    const isCheaper = savedByLoading(loadable, stored(worker)) > 0;
    const pages = left ?? (isCheaper ? loadable?.name : undefined);
    if (pages !== undefined) this.#left.forget(pages);
    return { worker, able: true, pages, leave: leave || undefined };
  }
}
