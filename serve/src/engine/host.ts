import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MessagePort } from 'node:worker_threads';
import { isCacheFull, Scheduler, type SchedulerOptions } from '../scheduler/scheduler.js';
import type { EngineOptions } from './contract.js';
import { asEngineError, EngineError } from './errors.js';
import { type AnswerEvent, errorData, type FromWorker, type ToWorker } from './protocol.js';

/** What the engine's thread computes with. */
export type EngineParts = Pick<SchedulerOptions, 'forward' | 'constrain'> & {
  /** Ends what `constrain` needs. */
  closeGrammars(): Promise<void>;
};

/**
 * The engine's thread: takes requests from a port, runs steps while there is something to do, and
 * tells what each brought. Returns when it was closed.
 */
export async function hostEngine(
  port: MessagePort,
  options: EngineOptions,
  open: (options: EngineOptions) => Promise<EngineParts>,
): Promise<void> {
  const post = (message: FromWorker) => port.postMessage(message);
  let parts: EngineParts;
  try {
    parts = await open(options);
  } catch (error) {
    post({ type: 'failed', error: errorData(error) });
    port.close();
    return;
  }
  const { forward } = parts;
  const host = new Host(parts, options, post);
  port.on('message', (message: ToWorker) => host.receive(message));
  post({ type: 'ready', info: forward.info, cache: forward.counts() });
  await host.run();
  await parts.closeGrammars();
  await forward.close();
  port.close();
}

class Host {
  readonly #parts: EngineParts;
  readonly #post: (message: FromWorker) => void;
  readonly #scheduler: Scheduler;
  readonly #embeddings: { id: number; tokens: Int32Array }[] = [];
  #events: AnswerEvent[] = [];
  #closing = false;
  #wake: () => void = () => {};

  constructor(parts: EngineParts, limits: EngineOptions, post: (message: FromWorker) => void) {
    this.#parts = parts;
    this.#post = post;
    this.#scheduler = new Scheduler({
      ...parts,
      limits,
      output: {
        token: (id, token) => this.#events.push({ id, token }),
        finish: (id, { error, ...rest }) => {
          const finish = error ? { ...rest, error: errorData(error) } : rest;
          this.#events.push({ id, finish });
        },
        wake: () => this.#wake(),
      },
      newSeed: () => Math.floor(Math.random() * 2 ** 52),
    });
  }

  receive(message: ToWorker): void {
    if (message.type === 'generate') this.#scheduler.add(message.answers);
    else if (message.type === 'cancel') this.#scheduler.cancel(message.id);
    else if (message.type === 'embed') this.#embeddings.push(message);
    else if (message.type === 'close') this.#closing = true;
    else this.#post({ type: 'result', id: message.id, value: this.#scheduler.stats() });
    this.#wake();
  }

  async run(): Promise<void> {
    while (!this.#closing || this.#scheduler.size > 0) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const embedding = this.#embeddings.shift();
      if (embedding) await this.#embed(embedding);
      const worked = await this.#scheduler.step();
      this.#tell();
      // Messages are received between steps, whether or not the model let them in.
      if (worked || embedding) await nextTurn();
      else await woken;
    }
    this.#tell();
  }

  #tell(): void {
    if (this.#events.length === 0) return;
    this.#post({ type: 'events', events: this.#events });
    this.#events = [];
  }

  async #embed({ id, tokens }: { id: number; tokens: Int32Array }): Promise<void> {
    const { forward } = this.#parts;
    try {
      if (forward.embed === undefined) {
        throw new EngineError('invalid_request', 'The model gives no hidden states to embed with.');
      }
      this.#post({ type: 'result', id, value: await forward.embed(tokens) });
    } catch (error) {
      // Answers hold the pages: the text may come again.
      const found = isCacheFull(error)
        ? new EngineError('queue_full', 'The cache is full.', { retryAfter: 1 })
        : asEngineError(error);
      this.#post({ type: 'rejection', id, error: errorData(found) });
    }
  }
}
