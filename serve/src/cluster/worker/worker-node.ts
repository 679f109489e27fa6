import { setTimeout as delay } from 'node:timers/promises';
import { nuid } from '@nats-io/transport-node';
import type { Engine, EngineStats, WorkerUsage } from '../../engine/contract.js';
import { asEngineError, EngineError } from '../../engine/errors.js';
import type { Connection } from '../connection.js';
import { type Beat, failureOf, type Hello, readAlive, readCancel } from '../messages.js';
import { decodeRun, type Run } from '../run-message.js';
import { defaultTiming, type Timing } from '../timing.js';
import { type AnswerRun, Answering } from './answering.js';
import { Frontends } from './frontends.js';
import type { Outbox } from './outbox.js';
import { PageMover } from './page-mover.js';
import { PrefixHistory } from './prefix-history.js';

/** What a worker says of itself beside what its engine knows. */
export type WorkerFacts = Omit<Hello, 'worker' | 'info'>;

export interface WorkerOptions {
  readonly timing?: Timing;
  /** Bytes of pages that it leaves to others when it ends. */
  readonly handOver?: number;
  /** Of the time that it has to end; the rest is for pages. */
  readonly partForWork?: number;
}

/** MiB. */
export const defaultHandOver = 1024;

interface Work {
  readonly frontend: string;
  /** Tokens that were told, those of other workers counted in. */
  readonly tokens: number;
  cancel(): void;
  /** See {@link Answering.leave}. An embedding is made again. */
  leave?(signal: AbortSignal): Promise<string | undefined>;
}

/** An engine that works for the frontends of a cluster. */
export class WorkerNode {
  readonly id = `w${nuid.next()}`;
  readonly #engine: Engine;
  readonly #connection: Connection;
  readonly #frontends: Frontends;
  readonly #prefixes = new PrefixHistory();
  readonly #mover: PageMover;
  readonly #partForWork: number;
  readonly #work = new Map<string, Work>();
  readonly #beats: NodeJS.Timeout;
  #stats: EngineStats | undefined;
  #asked = false;
  #draining = false;
  #idle: () => void = () => {};

  constructor(
    engine: Engine,
    connection: Connection,
    facts: WorkerFacts,
    {
      timing = defaultTiming,
      handOver = defaultHandOver * 2 ** 20,
      partForWork = 0.8,
    }: WorkerOptions = {},
  ) {
    this.#engine = engine;
    this.#connection = connection;
    this.#partForWork = partForWork;
    const { pageSize } = facts;
    const mover = { pageSize, most: handOver, patience: timing.transfer };
    this.#mover = new PageMover(engine, connection, mover);
    this.#frontends = new Frontends(connection, this.id, timing.lease);
    engine.watchPrefixes?.((change) => this.#prefixes.add(change));
    const { subjects } = connection;
    const on = (what: Parameters<typeof subjects.worker>[1]) => subjects.worker(this.id, what);
    connection.subscribe(on('hello'), (message) => {
      message.respond(JSON.stringify({ ...facts, worker: this.id, info: engine.info }));
    });
    connection.subscribe(on('prefixes'), (message) => message.respond(this.#prefixes.snapshot()));
    connection.subscribe(on('run'), ({ data }) => this.#run(decodeRun(data)));
    connection.subscribe(on('cancel'), ({ data }) => {
      const { frontend, ids } = readCancel(data);
      for (const id of ids) {
        const work = this.#work.get(id);
        if (work?.frontend === frontend) work.cancel();
      }
    });
    connection.subscribe(on('alive'), ({ data }) => this.#heard(readAlive(data).frontend));
    this.#beats = setInterval(() => this.#beat(), timing.beat);
    this.#beat();
  }

  /** Work under way. */
  get size(): number {
    return this.#work.size;
  }

  /**
   * Takes nothing new, and lets work end for `deadline` milliseconds. A part of them is for pages: of
   * what is left then, which goes on elsewhere, and of stored prefixes.
   */
  async drain(deadline: number): Promise<void> {
    this.#draining = true;
    this.#beat();
    if (deadline > 0) {
      const end = AbortSignal.timeout(deadline);
      const ended = new Promise((resolve) => end.addEventListener('abort', resolve));
      await Promise.race([this.#handOver(deadline * this.#partForWork, end), ended]);
    }
    for (const [id, work] of this.#work) {
      this.#frontends.outbox(work.frontend).add({ id, failure: failureOf(stopping()) });
      this.#work.delete(id);
      work.cancel();
    }
    this.#frontends.flush();
    clearInterval(this.#beats);
    this.#beat(); // the last counts
  }

  async #handOver(deadline: number, end: AbortSignal): Promise<void> {
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve;
      if (this.#work.size === 0) resolve();
    });
    await Promise.race([idle, delay(deadline, undefined, { ref: false })]);
    // One after the other: the rest is computed on meanwhile.
    const left = new Set<string | undefined>();
    for (const work of [...this.#work.values()]) left.add(await work.leave?.(end));
    await this.#mover.saveAll(left, end);
  }

  #run(run: Run): void {
    const { id, frontend } = run;
    if (this.#work.has(id)) return;
    this.#frontends.heard(frontend);
    const outbox = this.#frontends.outbox(frontend);
    try {
      if (this.#draining) throw stopping();
      if (isAnswer(run)) {
        const { id: worker } = this;
        const parts = { worker, engine: this.#engine, mover: this.#mover, outbox };
        this.#work.set(id, new Answering(run, { ...parts, end: () => this.#end(id) }));
      } else void this.#embed(run, outbox);
    } catch (error) {
      outbox.add({ id, failure: failureOf(asEngineError(error)) });
    }
  }

  async #embed({ id, frontend, tokens }: Run, outbox: Outbox): Promise<void> {
    const gone = new AbortController();
    outbox.add({ id, accepted: true });
    this.#work.set(id, { frontend, tokens: 0, cancel: () => gone.abort() });
    try {
      const embedding = await this.#engine.embed(tokens, gone.signal);
      const { buffer, byteOffset, byteLength } = embedding;
      const vector = Buffer.from(buffer, byteOffset, byteLength).toString('base64');
      if (this.#end(id)) outbox.add({ id, embedding: vector });
    } catch (error) {
      if (this.#end(id)) outbox.add({ id, failure: failureOf(asEngineError(error)) });
    }
  }

  /** @returns whether its frontend waits for it. */
  #end(id: string): boolean {
    const known = this.#work.delete(id);
    if (this.#work.size === 0) this.#idle();
    return known;
  }

  #heard(frontend: string): void {
    this.#frontends.heard(frontend);
    const live = [...this.#work].filter(([, work]) => work.frontend === frontend);
    this.#frontends.outbox(frontend).live(live.map(([id, { tokens }]) => [id, tokens]));
  }

  #beat(): void {
    this.#ask();
    for (const frontend of this.#frontends.dropSilent()) {
      for (const [id, work] of this.#work) {
        if (work.frontend !== frontend) continue;
        this.#work.delete(id);
        work.cancel();
      }
    }
    if (!this.#connection.isConnected) return;
    const beat: Beat = {
      worker: this.id,
      draining: this.#draining,
      healthy: this.#engine.healthy,
      live: this.#work.size,
      stats: this.#stats,
      usage: { ...this.#mover.moved, ...processUsage() },
      prefixes: this.#prefixes.next(),
    };
    this.#connection.publish(this.#connection.subjects.beats, beat);
  }

  /** The engine answers between two steps: the next beat has what it says. */
  #ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#engine.stats().then(
      (stats) => {
        this.#stats = stats;
        this.#asked = false;
      },
      () => {
        this.#asked = false;
      },
    );
  }
}

const isAnswer = (run: Run): run is AnswerRun => run.request !== undefined;

function processUsage(): Pick<WorkerUsage, 'memoryBytes' | 'processorSeconds'> {
  const { user, system } = process.cpuUsage();
  return { memoryBytes: process.memoryUsage.rss(), processorSeconds: (user + system) / 1e6 };
}

const stopping = () => new EngineError('engine_unavailable', 'The worker stops.');
