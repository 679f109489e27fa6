import { Worker } from 'node:worker_threads';
import type { ResponseFormat } from '../engine/contract.js';
import { EngineError } from '../engine/errors.js';
import type { Constraint } from '../scheduler/constraint.js';
import type { FromGrammar, GrammarThreadData, ToGrammar } from './protocol.js';

/** What one message may take, a schema's compilation above all. */
const defaultMilliseconds = 10_000;

/** A schema's most characters: its grammar is larger. */
const longestSchema = 2 ** 16;

/**
 * The grammar thread as the engine sees it. It is started when the first grammar is wanted. When it
 * ends, or takes too long, the answer it was busy with fails; a new one goes on with the others.
 */
export class Grammars {
  readonly #data: GrammarThreadData;
  readonly #milliseconds: number;
  readonly #module: URL;
  #worker?: Worker;
  #ids = 0;
  readonly #open = new Map<number, ThreadedConstraint>();
  /** Whose messages were not answered yet, the thread being busy with the first. */
  #unanswered: number[] = [];
  #timer?: NodeJS.Timeout;

  constructor(
    data: GrammarThreadData,
    milliseconds = defaultMilliseconds,
    module = new URL('./thread.js', import.meta.url),
  ) {
    this.#data = data;
    this.#milliseconds = milliseconds;
    this.#module = module;
  }

  /**
   * @returns once what may come first is known.
   * @throws {@link EngineError} `invalid_request` when the schema can't be used.
   */
  constrain = async (
    format: ResponseFormat,
    generated: Iterable<number> = [],
  ): Promise<Constraint> => {
    if (format.type === 'json_schema') checkSchema(format.schema);
    const id = this.#ids++;
    const constraint = new ThreadedConstraint(format, {
      accept: (token) => this.#ask({ type: 'accept', id, token }),
      close: () => {
        this.#open.delete(id);
        this.#worker?.postMessage({ type: 'close', id } satisfies ToGrammar);
      },
    });
    constraint.tokens.push(...generated);
    this.#open.set(id, constraint);
    this.#ask({ type: 'open', id, format, tokens: [...constraint.tokens] });
    await constraint.settled();
    if (constraint.failure) throw constraint.failure;
    return constraint;
  };

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#forget();
    this.#open.clear();
    await worker?.terminate();
  }

  #ask(message: Exclude<ToGrammar, { type: 'close' }>): void {
    this.#worker ??= this.#start();
    this.#unanswered.push(message.id);
    if (this.#unanswered.length === 1) this.#watch();
    this.#worker.postMessage(message);
  }

  #start(): Worker {
    const worker = new Worker(this.#module, { workerData: this.#data });
    let reason = 'it ended';
    worker.on('message', (message: FromGrammar) => {
      if (worker === this.#worker) this.#answered(message);
    });
    worker.on('error', (error) => {
      reason = error.message;
    });
    worker.on('exit', () => {
      if (worker === this.#worker) this.#restart(`The grammar can't be computed: ${reason}`);
    });
    return worker;
  }

  #answered(message: FromGrammar): void {
    this.#unanswered.shift();
    this.#watch();
    this.#open.get(message.id)?.answered(message);
  }

  /** The thread has its time for each message. */
  #watch(): void {
    clearTimeout(this.#timer);
    if (this.#unanswered.length === 0) return;
    this.#timer = setTimeout(() => {
      const worker = this.#worker;
      this.#restart(`The grammar takes more than ${this.#milliseconds / 1000} s to compute.`);
      void worker?.terminate();
    }, this.#milliseconds);
  }

  #restart(failure: string): void {
    const [busyWith] = this.#unanswered;
    this.#forget();
    const culprit = this.#open.get(busyWith);
    this.#open.delete(busyWith);
    culprit?.answered({ id: busyWith, failure });
    for (const [id, constraint] of this.#open) {
      if (constraint.failure) continue;
      constraint.reopened();
      this.#ask({ type: 'open', id, format: constraint.format, tokens: constraint.tokens });
    }
  }

  #forget(): void {
    clearTimeout(this.#timer);
    this.#worker = undefined;
    this.#unanswered = [];
  }
}

class ThreadedConstraint implements Constraint {
  readonly format: ResponseFormat;
  readonly tokens: number[] = [];
  mask?: Int32Array;
  complete = false;
  failure?: Error;
  readonly #thread: { accept(token: number): void; close(): void };
  #settled: Promise<void>;
  #settle!: () => void;
  /** The next answer tells the mask that is there. */
  #told = false;

  constructor(format: ResponseFormat, thread: { accept(token: number): void; close(): void }) {
    this.format = format;
    this.#thread = thread;
    this.#settled = this.#unsettled();
  }

  settled(): Promise<void> {
    return this.#settled;
  }

  accept(token: number): void {
    this.tokens.push(token);
    this.mask = undefined;
    this.#settled = this.#unsettled();
    this.#thread.accept(token);
  }

  /** Another thread is asked for all tokens so far, whether or not their mask is known. */
  reopened(): void {
    this.#told = this.mask !== undefined;
  }

  answered(message: FromGrammar): void {
    const told = this.#told;
    this.#told = false;
    if (told && 'mask' in message) return;
    if ('failure' in message) this.failure = new EngineError('invalid_request', message.failure);
    else {
      this.mask = message.mask;
      this.complete = message.complete;
    }
    this.#settle();
  }

  dispose(): void {
    this.#settle();
    this.#thread.close();
  }

  #unsettled(): Promise<void> {
    return new Promise((resolve) => {
      this.#settle = resolve;
    });
  }
}

function checkSchema(schema: unknown): void {
  const isSchema = typeof schema === 'boolean' || (typeof schema === 'object' && schema !== null);
  if (!isSchema) throw new EngineError('invalid_request', 'Expected the schema to be an object.');
  if (JSON.stringify(schema).length > longestSchema) {
    const message = `Expected a schema of at most ${longestSchema} characters.`;
    throw new EngineError('invalid_request', message);
  }
}
