import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MessagePort } from 'node:worker_threads';
import { Embeddings } from '../scheduler/embeddings.js';
import { Scheduler, type SchedulerOptions } from '../scheduler/scheduler.js';
import type { EngineOptions, Forward } from './contract.js';
import {
  type AnswerEvent,
  errorData,
  type FromWorker,
  type ToWorker,
  type WorkerData,
} from './protocol.js';
import { Transfers } from './transfers.js';
import { Heartbeat } from './watchdog.js';

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
  { options, heartbeat }: WorkerData,
  open: (options: EngineOptions) => Promise<EngineParts>,
): Promise<void> {
  const post = (message: FromWorker, moved: ArrayBuffer[] = []) => port.postMessage(message, moved);
  let parts: EngineParts;
  try {
    parts = await open(options);
  } catch (error) {
    post({ type: 'failed', error: errorData(error) });
    port.close();
    return;
  }
  const { forward } = parts;
  const host = new Host(parts, options, { heartbeat: new Heartbeat(heartbeat), post });
  port.on('message', (message: ToWorker) => host.receive(message));
  post({ type: 'ready', info: forward.info, cache: forward.counts() });
  await host.run();
  await parts.closeGrammars();
  await forward.close();
  port.close();
}

/** The most milliseconds from one heartbeat to the next while answers wait for a grammar. */
const longestIdleBeat = 1000;

type Post = (message: FromWorker, moved?: ArrayBuffer[]) => void;

class Host {
  readonly #post: Post;
  readonly #heartbeat: Heartbeat;
  readonly #forward: Forward;
  readonly #scheduler: Scheduler;
  readonly #embeddings: Embeddings;
  readonly #transfers: Transfers;
  readonly #budget: number;
  readonly #idleBeat: number;
  #events: AnswerEvent[] = [];
  /** In the step before, where answers wait. */
  #embedded = false;
  #closing = false;
  #wake: () => void = () => {};

  constructor(
    parts: EngineParts,
    limits: EngineOptions,
    { heartbeat, post }: { heartbeat: Heartbeat; post: Post },
  ) {
    this.#post = post;
    this.#heartbeat = heartbeat;
    this.#forward = parts.forward;
    this.#budget = limits.maxBatchTokens;
    // A few within the limit.
    this.#idleBeat = Math.min(longestIdleBeat, (limits.stepTimeout ?? Infinity) * 250);
    this.#embeddings = new Embeddings(parts.forward, limits, {
      embedded: (id, value) => post({ type: 'result', id, value }),
      refused: (id, error) => post({ type: 'rejection', id, error: errorData(error) }),
    });
    this.#transfers = new Transfers(parts.forward, post);
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
      giveUpPages: () => this.#embeddings.giveUpPages(),
    });
  }

  receive(message: ToWorker): void {
    if (message.type === 'generate') this.#scheduler.add(message.answers);
    else if (message.type === 'cancel') {
      this.#scheduler.cancel(message.id);
      this.#embeddings.cancel(message.id);
    } else if (message.type === 'embed') this.#embeddings.add(message.id, message.tokens);
    else if (message.type === 'close') this.#closing = true;
    else if (message.type === 'stats') {
      this.#tell(); // what it counts has been told
      this.#post({ type: 'result', id: message.id, value: this.#scheduler.stats() });
    } else this.#transfers.add(message);
    this.#wake();
  }

  async run(): Promise<void> {
    while (!this.#closing || this.#scheduler.size > 0) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#heartbeat.beat();
      const worked = await this.#step();
      this.#tell();
      // Messages are received between steps, whether or not the model let them in.
      if (worked) await nextTurn();
      else await this.#rest(woken);
    }
    this.#tell();
  }

  /**
   * A piece of a text to be embedded has a part of the step's budget, in every other step: no step
   * gets longer by it, and prompts get on.
   */
  async #step(): Promise<boolean> {
    await this.#transfers.step();
    const embeds = this.#embeddings.size > 0 && !this.#embedded;
    const taken = embeds ? await this.#embeddings.step() : 0;
    const answered = await this.#scheduler.step(this.#budget - taken);
    // A prompt's piece may have found no room beside the text's.
    this.#embedded = embeds && this.#scheduler.size > 0;
    return answered || this.#embedded || this.#embeddings.size + this.#transfers.size > 0;
  }

  async #rest(woken: Promise<void>): Promise<void> {
    const beat = () => this.#heartbeat.beat();
    const timer = this.#scheduler.size > 0 && setInterval(beat, this.#idleBeat);
    await woken;
    if (timer) clearInterval(timer);
  }

  #tell(): void {
    const change = this.#forward.prefixChange?.();
    if (change) this.#post({ type: 'prefixes', change });
    if (this.#events.length === 0) return;
    this.#post({ type: 'events', events: this.#events });
    this.#events = [];
  }
}
