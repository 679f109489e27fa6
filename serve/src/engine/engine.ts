import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { SchedulerStats } from '../scheduler/scheduler.js';
import { checkGroup, checkRequest } from './admission.js';
import type {
  CacheCounts,
  Engine,
  EngineOptions,
  EngineStats,
  Finish,
  FinishReason,
  Generation,
  GenerationRequest,
  ModelInfo,
  PrefixChange,
  SavedPrefix,
  StoredText,
} from './contract.js';
import { Deliveries } from './deliveries.js';
import { EngineError } from './errors.js';
import { LiveGeneration } from './generation.js';
import { FinishRate } from './finish-rate.js';
import {
  type AnswerEvent,
  errorFrom,
  type FromWorker,
  type ToWorker,
  type WorkerData,
} from './protocol.js';
import { Heartbeat, watch } from './watchdog.js';

/** How {@link startEngine} starts its thread. */
export interface EngineThread {
  /** The module that the thread runs: it calls hostEngine. */
  readonly module: URL;
  /** Milliseconds until the first new start of a thread that died; doubled with each in a row. */
  readonly restartMilliseconds: number;
}

const longestRestart = 30_000;
/** What a thread may take to release what it holds, and then to be ended. */
const closeMilliseconds = 10_000;
/** Tokens and ends of answers in a turn of the event loop: a millisecond or two of writing. */
const deliveriesPerTurn = 16;
/** Seconds. */
const defaultStepTimeout = 120;
const defaultLoadTimeout = 600;
const longestTimeout = 86_400;

/**
 * Starts the engine's thread and loads the model there.
 *
 * @throws {@link EngineError} when the model can't be loaded; the message says why.
 */
export async function startEngine(
  options: EngineOptions,
  thread: Partial<EngineThread> = {},
): Promise<Engine> {
  checkOptions(options);
  // Attention reads it when it first computes. Only this thread's `process.env` is the process's.
  if (options.threads) process.env.FLASH_ATTENTION_NUM_THREADS = `${options.threads}`;
  const engine = new ThreadedEngine(options, {
    module: new URL('./worker.js', import.meta.url),
    restartMilliseconds: 250,
    ...thread,
  });
  await engine.start();
  return engine;
}

function checkOptions({
  maxBatchTokens,
  maxRunning,
  maxQueued,
  prefillChunk,
  stepTimeout = defaultStepTimeout,
  loadTimeout = defaultLoadTimeout,
}: EngineOptions): void {
  const integer = (name: string, value: number, least: number) => {
    if (Number.isSafeInteger(value) && value >= least) return;
    const expected = `Expected ${name} to be an integer, at least ${least}`;
    throw new EngineError('invalid_request', `${expected}, not ${value}.`);
  };
  integer('maxRunning', maxRunning, 1);
  integer('maxQueued', maxQueued, 0);
  integer('prefillChunk', prefillChunk, 1);
  integer('maxBatchTokens', maxBatchTokens, maxRunning); // one token each
  for (const [name, value] of Object.entries({ stepTimeout, loadTimeout })) {
    if (value > 0 && value <= longestTimeout) continue;
    const expected = `Expected ${name} to be a number of seconds up to ${longestTimeout}`;
    throw new EngineError('invalid_request', `${expected}, not ${value}.`);
  }
}

interface Live {
  readonly generation: LiveGeneration;
  readonly promptTokens: number;
  completionTokens: number;
}

interface Call {
  readonly resolve: (value: never) => void;
  readonly reject: (reason: unknown) => void;
}

class ThreadedEngine implements Engine {
  readonly #options: EngineOptions;
  readonly #thread: EngineThread;
  #worker?: Worker;
  #info?: ModelInfo;
  #cache?: CacheCounts;
  #ready = false;
  /** Settles when a thread that hung has ended after all. */
  #stuck?: Promise<void>;
  #closing = false;
  #closed?: Promise<void>;
  #restarts = 0;
  readonly #stopRestart = new AbortController();
  #ids = 0;
  readonly #live = new Map<number, Live>();
  readonly #calls = new Map<number, Call>();
  readonly #deliveries = new Deliveries<AnswerEvent>(
    (event) => this.#deliver(event),
    deliveriesPerTurn,
  );
  /** Settle with the texts that are being embedded. */
  readonly #embeddings = new Set<Promise<void>>();
  #onPrefixChange: (change: PrefixChange) => void = () => {};
  readonly #rate = new FinishRate();
  readonly #finished: Record<FinishReason, number> = { stop: 0, length: 0, abort: 0, error: 0 };

  constructor(options: EngineOptions, thread: EngineThread) {
    this.#options = options;
    this.#thread = thread;
  }

  get info(): ModelInfo {
    if (this.#info === undefined) throw new Error('The engine has not started.');
    return this.#info;
  }

  get healthy(): boolean {
    return this.#ready && !this.#closing;
  }

  get stuck(): boolean {
    return this.#stuck !== undefined;
  }

  /** Resolves when the model is loaded. */
  async start(): Promise<void> {
    const heartbeat = new Heartbeat();
    const workerData: WorkerData = { options: this.#options, heartbeat: heartbeat.memory };
    const worker = new Worker(this.#thread.module, { workerData });
    this.#worker = worker;
    let failure: Error | undefined;
    const { loadTimeout = defaultLoadTimeout } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const tooLate = setTimeout(() => {
        const message = `The model was not loaded within ${loadTimeout} s.`;
        this.#abandon(worker);
        reject(new EngineError('engine_unavailable', message));
      }, loadTimeout * 1000);
      let stopWatching = () => clearTimeout(tooLate);
      worker.on('message', (message: FromWorker) => {
        if (message.type === 'failed') failure = errorFrom(message.error);
        else if (message.type === 'ready') {
          this.#info = message.info;
          this.#cache = message.cache;
          this.#ready = true;
          stopWatching();
          stopWatching = this.#watch(worker, heartbeat);
          resolve();
        } else this.#receive(message);
      });
      worker.on('error', (error) => {
        failure = error;
      });
      worker.on('exit', (code) => {
        failure ??= new Error(`The engine's thread ended with code ${code}.`);
        stopWatching();
        const wasReady = this.#ready;
        this.#worker = undefined;
        this.#ready = false;
        reject(new EngineError('engine_unavailable', failure.message, { cause: failure }));
        if (wasReady) this.#died(failure);
      });
    });
  }

  /** A thread whose step takes too long is ended, and what ran there. */
  #watch(worker: Worker, heartbeat: Heartbeat): () => void {
    const { stepTimeout = defaultStepTimeout } = this.#options;
    return watch({
      heartbeat,
      limit: stepTimeout * 1000,
      isBusy: () => this.#live.size > 0 || this.#calls.size > 0,
      onHang: () => {
        this.#ready = false;
        this.#abandon(worker);
        this.#died(new Error(`a step has taken more than ${stepTimeout} s`));
      },
    });
  }

  /** Ends a thread that hangs; until it has ended it is stuck. */
  #abandon(worker: Worker): void {
    this.#stuck = new Promise((resolve) => {
      worker.once('exit', () => {
        this.#stuck = undefined;
        resolve();
      });
    });
    void worker.terminate();
  }

  generate(request: GenerationRequest): Generation {
    return this.generateGroup([request])[0];
  }

  generateGroup(requests: readonly GenerationRequest[]): Generation[] {
    if (!this.healthy || this.#cache === undefined) throw this.#unavailable();
    checkGroup(requests, this.info);
    for (const request of requests) checkRequest(request, this.info, this.#cache);
    const most = this.#options.maxRunning + this.#options.maxQueued;
    if (requests.length > most) {
      const message = `Expected a group of at most ${most} requests, not ${requests.length}.`;
      throw new EngineError('invalid_request', message);
    }
    if (this.#live.size + requests.length > most) {
      const retryAfter = this.#rate.secondsFor(this.#live.size + requests.length - most);
      const message = `${this.#live.size} requests are under way, which is all that is allowed.`;
      throw new EngineError('queue_full', message, { retryAfter });
    }
    const answers = requests.map((request) => ({ id: this.#ids++, request }));
    this.#send({ type: 'generate', answers });
    return answers.map(({ id, request }) => {
      const generation = new LiveGeneration(() => this.#send({ type: 'cancel', id }));
      const { prompt, generated } = request;
      const completionTokens = generated?.length ?? 0;
      this.#live.set(id, { generation, promptTokens: prompt.length, completionTokens });
      return generation;
    });
  }

  embed(tokens: Int32Array, signal?: AbortSignal): Promise<Float32Array> {
    const { contextLength, vocabSize } = this.info;
    if (tokens.length === 0 || tokens.some((token) => !(token >= 0 && token < vocabSize))) {
      const message = `Expected one token id at least, all below ${vocabSize}.`;
      return Promise.reject(new EngineError('invalid_request', message));
    }
    if (tokens.length > contextLength) {
      const message = `The text has ${tokens.length} tokens; the model's context is ${contextLength}.`;
      return Promise.reject(new EngineError('context_length_exceeded', message));
    }
    const capacity = this.#cache ? this.#cache.pages * this.#cache.pageSize : 0;
    if (this.healthy && tokens.length > capacity) {
      const message = `The text has ${tokens.length} tokens; the cache holds ${capacity}.`;
      return Promise.reject(new EngineError('cache_too_small', message));
    }
    if (this.#calls.size >= this.#options.maxRunning + this.#options.maxQueued) {
      const message = `${this.#calls.size} texts are waiting, which is all that is allowed.`;
      return Promise.reject(new EngineError('queue_full', message, { retryAfter: 1 }));
    }
    const embedding = this.#call<Float32Array>((id) => ({ type: 'embed', id, tokens }), signal);
    const ended = embedding.then(
      () => {},
      () => {},
    );
    this.#embeddings.add(ended);
    void ended.then(() => this.#embeddings.delete(ended));
    return embedding;
  }

  async stats(): Promise<EngineStats> {
    const stats = await this.#call<SchedulerStats>((id) => ({ type: 'stats', id }));
    // What died with a thread has finished as well: it is counted here.
    return { ...stats, finished: { ...this.#finished } };
  }

  watchPrefixes(listener: (change: PrefixChange) => void): void {
    this.#onPrefixChange = listener;
  }

  storedTexts(): Promise<StoredText[]> {
    return this.#call((id) => ({ type: 'texts', id }));
  }

  savePrefix(text: StoredText): Promise<SavedPrefix | undefined> {
    return this.#call((id) => ({ type: 'save', id, text }));
  }

  loadPrefix(bytes: Uint8Array, scope: string): Promise<number> {
    return this.#call((id) => ({ type: 'load', id, bytes, scope }));
  }

  close(deadline = closeMilliseconds): Promise<void> {
    this.#closed ??= this.#close(deadline);
    return this.#closed;
  }

  async #close(deadline: number): Promise<void> {
    this.#closing = true;
    this.#stopRestart.abort();
    const answers = [...this.#live.values()].map((live) => live.generation.finished);
    const ended = Promise.all([...answers, ...this.#embeddings]);
    const timer = new AbortController();
    const late = delay(deadline, undefined, { signal: timer.signal }).catch(() => {});
    await Promise.race([ended, late]);
    timer.abort();
    for (const { generation } of this.#live.values()) generation.cancel();
    await this.#stopWorker();
  }

  async #stopWorker(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    const exited = new Promise<void>((resolve) => {
      worker.once('exit', () => resolve());
    });
    this.#send({ type: 'close' });
    const timer = new AbortController();
    const late = (milliseconds: number) =>
      delay(milliseconds, undefined, { signal: timer.signal }).catch(() => {});
    await Promise.race([exited, late(closeMilliseconds)]);
    void worker.terminate();
    await Promise.race([exited, late(closeMilliseconds)]);
    timer.abort();
    if (this.#worker !== undefined) this.#stuck = exited;
  }

  #send(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }

  /** @param signal cancels it: it rejects with the reason. */
  #call<Result>(message: (id: number) => ToWorker, signal?: AbortSignal): Promise<Result> {
    if (!this.healthy) return Promise.reject(this.#unavailable());
    if (signal?.aborted) return Promise.reject(signal.reason);
    const id = this.#ids++;
    const cancel = () => {
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      this.#send({ type: 'cancel', id });
      call?.reject(signal?.reason);
    };
    signal?.addEventListener('abort', cancel);
    const result = new Promise<Result>((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#send(message(id));
    });
    return result.finally(() => signal?.removeEventListener('abort', cancel));
  }

  #receive(message: Exclude<FromWorker, { type: 'ready' | 'failed' }>): void {
    if (message.type === 'events') {
      // At once: what `stats` says next is of a later moment.
      for (const event of message.events) {
        if ('finish' in event) this.#finished[event.finish.reason]++;
      }
      this.#deliveries.add(message.events);
      return;
    }
    if (message.type === 'prefixes') {
      this.#onPrefixChange(message.change);
      return;
    }
    const call = this.#calls.get(message.id);
    this.#calls.delete(message.id);
    if (message.type === 'result') call?.resolve(message.value as never);
    else call?.reject(errorFrom(message.error));
  }

  #deliver(event: AnswerEvent): void {
    const live = this.#live.get(event.id);
    if (live === undefined) return;
    if ('token' in event) {
      live.completionTokens++;
      live.generation.push(event.token);
    } else {
      const { error, ...finish } = event.finish;
      this.#end(event.id, live, error ? { ...finish, error: errorFrom(error) } : finish);
    }
  }

  #end(id: number, { generation }: Live, finish: Finish): void {
    this.#live.delete(id);
    if (finish.reason === 'stop' || finish.reason === 'length') {
      this.#rate.count();
      this.#restarts = 0;
    }
    generation.end(finish);
  }

  /** All that ran there ends with an error, and another thread is started. */
  #died(cause: Error): void {
    this.#deliveries.flush();
    this.#onPrefixChange({ added: [], removed: [], reset: true });
    const error = this.#unavailable(cause);
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
    for (const [id, live] of this.#live) {
      const { promptTokens, completionTokens } = live;
      const counts = { promptTokens, completionTokens, cachedTokens: 0, acceptedTokens: 0 };
      const end = live.generation.cancelled
        ? { reason: 'abort' as const }
        : { reason: 'error' as const, error };
      this.#finished[end.reason]++;
      this.#end(id, live, { ...end, ...counts });
    }
    if (!this.#closing) void this.#restart();
  }

  async #restart(): Promise<void> {
    const { signal } = this.#stopRestart;
    while (!signal.aborted) {
      const wait = this.#thread.restartMilliseconds * 2 ** this.#restarts++;
      try {
        await delay(Math.min(wait, longestRestart), undefined, { signal, ref: false });
        // Of one that is in native code the memory, and perhaps the threads, are still taken.
        await this.#stuck;
        if (signal.aborted) return;
        await this.start();
        if (signal.aborted) await this.#stopWorker();
        return;
      } catch {
        // It is tried again, later, until the engine is closed.
      }
    }
  }

  #unavailable(cause?: Error): EngineError {
    const message = this.#closing
      ? 'The engine is shutting down.'
      : `The engine is being started again${cause ? `: ${cause.message}` : ''}.`;
    return new EngineError('engine_unavailable', message, { cause, retryAfter: 5 });
  }
}
