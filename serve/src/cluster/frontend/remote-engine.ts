import { checkGroup, checkRequest } from '../../engine/admission.js';
import type {
  Engine,
  EngineStats,
  Finish,
  Generation,
  GenerationRequest,
  ModelInfo,
} from '../../engine/contract.js';
import { EngineError } from '../../engine/errors.js';
import { FinishRate } from '../../engine/finish-rate.js';
import { isLongRope } from '../../engine/prefix-hash.js';
import type { Connection } from '../connection.js';
import { defaultTiming } from '../timing.js';
import type { Directory } from './directory.js';
import { Dispatcher } from './dispatcher.js';
import { LeftPages } from './left-pages.js';
import { Placement } from './placement.js';
import { RemoteAnswer } from './remote-answer.js';
import { RemoteEmbedding } from './remote-embedding.js';
import type { Routing } from './router.js';
import { StatsSum } from './stats-sum.js';
import type { Work } from './work.js';
import type { WorkerView } from './worker-view.js';

/** The workers of a cluster, as the server's thread sees an engine. */
export class RemoteEngine implements Engine {
  readonly info: ModelInfo;
  readonly stuck = false;
  readonly #connection: Connection;
  readonly #directory: Directory;
  readonly #dispatcher: Dispatcher;
  readonly #rate = new FinishRate();
  readonly #stats = new StatsSum();
  readonly #unfinished = new Set<Promise<unknown>>();
  #closing = false;
  #closed?: Promise<void>;

  /** @param directory that knows a worker already, whose model is `info`. */
  constructor(
    connection: Connection,
    directory: Directory,
    info: ModelInfo,
    {
      timing = defaultTiming,
      routing = 'prefix' as Routing,
      left = new LeftPages(connection),
    } = {},
  ) {
    this.info = info;
    this.#connection = connection;
    this.#directory = directory;
    const placement = new Placement(connection, directory, left, routing);
    this.#dispatcher = new Dispatcher(connection, directory, placement, timing);
    directory.onBeat = ({ id, beat }) => this.#stats.heard(id, beat.stats, beat.usage);
  }

  get healthy(): boolean {
    return !this.#closing && this.#connection.isConnected && this.#able.length > 0;
  }

  get #able(): readonly WorkerView[] {
    return this.#directory.all.filter(({ takesWork }) => takesWork);
  }

  generate(request: GenerationRequest): Generation {
    return this.generateGroup([request])[0];
  }

  generateGroup(requests: readonly GenerationRequest[]): Generation[] {
    this.#checkHealth();
    checkGroup(requests, this.info);
    const largest = this.#largestCache();
    for (const request of requests) {
      checkRequest(request, this.info, largest);
      this.#checkSize(4 * request.prompt.length);
    }
    this.#checkPlaces(requests.length);
    return requests.map((request) => {
      const { seed = Math.floor(Math.random() * 2 ** 52) } = request.sampling;
      const answer = new RemoteAnswer(
        { ...request, sampling: { ...request.sampling, seed } },
        isLongRope(request, this.info),
        {
          cancel: (cancelled) => this.#dispatcher.cancel(cancelled),
          end: (finish) => this.#ended(finish),
        },
      );
      this.#start(answer, answer.generation.finished);
      return answer.generation;
    });
  }

  async embed(tokens: Int32Array, signal?: AbortSignal): Promise<Float32Array> {
    signal?.throwIfAborted();
    this.#checkHealth();
    this.#checkSize(4 * tokens.length);
    this.#checkPlaces(1);
    const embedding = new RemoteEmbedding(tokens, signal);
    const cancel = (): void => {
      embedding.abort();
      this.#dispatcher.cancel(embedding);
    };
    signal?.addEventListener('abort', cancel);
    this.#start(embedding, embedding.vector);
    return embedding.vector.finally(() => signal?.removeEventListener('abort', cancel));
  }

  async stats(): Promise<EngineStats> {
    if (!this.#connection.isConnected) throw this.#unavailable();
    const workers = { ready: 0, draining: 0, unavailable: 0 };
    for (const { beat } of this.#directory.all) {
      workers[beat.draining ? 'draining' : beat.healthy ? 'ready' : 'unavailable']++;
    }
    const live = this.#directory.all.map(({ id }) => id);
    const usage = this.#stats.usage(live);
    return { ...this.#stats.sum(live), cluster: { workers, moved: this.#dispatcher.moved, usage } };
  }

  close(deadline = 10_000): Promise<void> {
    this.#closed ??= this.#close(deadline);
    return this.#closed;
  }

  async #close(deadline: number): Promise<void> {
    this.#closing = true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, deadline);
    });
    await Promise.race([Promise.all(this.#unfinished), late]);
    clearTimeout(timer);
    this.#dispatcher.close();
    await this.#connection.close();
  }

  #start(work: Work, done: Promise<unknown>): void {
    const settled = done.then(
      () => {},
      () => {},
    );
    this.#unfinished.add(settled);
    void settled.then(() => this.#unfinished.delete(settled));
    this.#dispatcher.start(work);
  }

  #ended({ reason }: Finish): void {
    if (reason === 'stop' || reason === 'length') this.#rate.count();
  }

  #largestCache(): { pages: number; pageSize: number } {
    const tokens = this.#able.map(({ hello }) => hello.pages * hello.pageSize);
    return { pages: Math.max(...tokens), pageSize: 1 };
  }

  #checkHealth(): void {
    if (!this.healthy) throw this.#unavailable();
  }

  /** Backpressure: what finds no place anywhere is told at once when to come again. */
  #checkPlaces(wanted: number): void {
    const free = this.#able.reduce((sum, { hello, live }) => {
      return sum + Math.max(0, hello.places - live);
    }, 0);
    if (free >= wanted) return;
    const message = `${this.#able.length} workers have all that is allowed under way.`;
    const retryAfter = this.#rate.secondsFor(wanted - free);
    throw new EngineError('queue_full', message, { retryAfter });
  }

  #checkSize(bytes: number): void {
    const most = (this.#connection.nats.info?.max_payload ?? 2 ** 20) - 2 ** 17;
    if (bytes <= most) return;
    const message = `The prompt has ${bytes / 4} tokens; NATS carries ${Math.floor(most / 4)} (max_payload).`;
    throw new EngineError('invalid_request', message);
  }

  #unavailable(): EngineError {
    const message = this.#closing ? 'The engine is shutting down.' : 'No worker is there.';
    return new EngineError('engine_unavailable', message, { retryAfter: 5 });
  }
}
