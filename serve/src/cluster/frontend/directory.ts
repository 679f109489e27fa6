import type { Connection } from '../connection.js';
import { type Beat, type Hello, readBeat, readHello } from '../messages.js';
import { readSnapshot } from '../worker/prefix-history.js';
import { WorkerView } from './worker-view.js';

/** Milliseconds that a worker has to answer a question. */
const patience = 5000;

/** The workers of a cluster, as long as they are heard. */
export class Directory {
  readonly #connection: Connection;
  readonly #workers = new Map<string, WorkerView>();
  /** Those that were asked something and have not answered yet. */
  readonly #asked = new Set<string>();
  readonly #foreign = new Set<string>();
  /** What all of them have in common: the first one's. */
  #first: Hello | undefined;
  #onFirst: ((hello: Hello) => void) | undefined;
  /** A worker said what it stores, or that it lives. */
  onBeat: (worker: WorkerView) => void = () => {};

  constructor(connection: Connection) {
    this.#connection = connection;
    connection.subscribe(connection.subjects.beats, ({ data }) => this.#heard(readBeat(data)));
  }

  /** Resolves when a worker is there. */
  first(): Promise<Hello> {
    if (this.#first) return Promise.resolve(this.#first);
    return new Promise((resolve) => {
      this.#onFirst = resolve;
    });
  }

  get all(): readonly WorkerView[] {
    return [...this.#workers.values()];
  }

  get(id: string): WorkerView | undefined {
    return this.#workers.get(id);
  }

  remove(id: string): void {
    this.#workers.delete(id);
  }

  #heard(beat: Beat): void {
    const { worker: id } = beat;
    const known = this.#workers.get(id);
    if (known === undefined) {
      void this.#ask(id, () => this.#meet(beat));
      return;
    }
    const { now } = this.#connection.clock;
    if (!known.heardBeat(beat, now)) void this.#ask(id, () => this.#askStored(known));
    this.onBeat(known);
  }

  /** One question at a time: it is asked again with the next beat. */
  async #ask(id: string, question: () => Promise<void>): Promise<void> {
    if (this.#asked.has(id) || this.#foreign.has(id)) return;
    this.#asked.add(id);
    try {
      await question();
    } catch (error) {
      this.#connection.warn(`worker ${id}: ${(error as Error).message}`);
    } finally {
      this.#asked.delete(id);
    }
  }

  async #meet(beat: Beat): Promise<void> {
    const { nats, subjects, clock } = this.#connection;
    const subject = subjects.worker(beat.worker, 'hello');
    const hello = readHello((await nats.request(subject, '', { timeout: patience })).data);
    const difference = this.#first && differenceOf(this.#first, hello);
    if (difference !== undefined) {
      this.#foreign.add(beat.worker);
      const rest = `its ${difference} is not that of the others`;
      this.#connection.warn(`worker ${beat.worker} is left out: ${rest}`);
      return;
    }
    const worker = new WorkerView(hello, beat, clock.now);
    await this.#askStored(worker);
    this.#first ??= hello;
    this.#workers.set(worker.id, worker);
    this.#onFirst?.(hello);
    this.onBeat(worker);
  }

  async #askStored(worker: WorkerView): Promise<void> {
    const { nats, subjects } = this.#connection;
    const subject = subjects.worker(worker.id, 'prefixes');
    const { data } = await nats.request(subject, '', { timeout: patience });
    const { version, hashes } = readSnapshot(data);
    worker.heardSnapshot(version, hashes);
  }
}

/** What keeps two workers from serving one model. */
function differenceOf(first: Hello, other: Hello): string | undefined {
  if (first.text !== other.text) return 'tokenizer or chat template';
  const [one, two] = [first, other].map(({ info }) => JSON.stringify(info));
  return one === two ? undefined : 'model';
}
