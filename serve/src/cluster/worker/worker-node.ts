import { setTimeout as delay } from 'node:timers/promises';
import { nuid } from '@nats-io/transport-node';
import type { Engine, EngineStats, Generation } from '../../engine/contract.js';
import { asEngineError, EngineError } from '../../engine/errors.js';
import type { Connection } from '../connection.js';
import { type Beat, failureOf, type Hello, readAlive, readCancel } from '../messages.js';
import { decodeRun, type Run } from '../run-message.js';
import { defaultTiming, type Timing } from '../timing.js';
import { Frontends } from './frontends.js';
import { PrefixHistory } from './prefix-history.js';
import { TracedAnswer } from './traced-answer.js';

/** What a worker says of itself beside what its engine knows. */
export type WorkerFacts = Omit<Hello, 'worker' | 'info'>;

interface Work {
  readonly frontend: string;
  /** Tokens that were told, those of other workers counted in. */
  tokens: number;
  cancel(): void;
}

/** An engine that works for the frontends of a cluster. */
export class WorkerNode {
  readonly id = `w${nuid.next()}`;
  readonly #engine: Engine;
  readonly #connection: Connection;
  readonly #frontends: Frontends;
  readonly #prefixes = new PrefixHistory();
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
    timing: Timing = defaultTiming,
  ) {
    this.#engine = engine;
    this.#connection = connection;
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
   * Takes nothing new, and lets work end for `deadline` milliseconds. What is left then goes on
   * elsewhere.
   */
  async drain(deadline: number): Promise<void> {
    this.#draining = true;
    this.#beat();
    const late = new AbortController();
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve;
      if (this.#work.size === 0) resolve();
    });
    await Promise.race([idle, delay(deadline, undefined, late).catch(() => {})]);
    late.abort();
    for (const [id, work] of this.#work) {
      this.#frontends.outbox(work.frontend).add({ id, failure: failureOf(stopping()) });
      this.#work.delete(id);
      work.cancel();
    }
    this.#frontends.flush();
    clearInterval(this.#beats);
  }

  #run(run: Run): void {
    const { id, frontend, request, tokens } = run;
    if (this.#work.has(id)) return;
    this.#frontends.heard(frontend);
    const outbox = this.#frontends.outbox(frontend);
    try {
      if (this.#draining) throw stopping();
      const work = request ? this.#engine.generate(request) : this.#engine.embed(tokens);
      outbox.add({ id, accepted: true });
      if (work instanceof Promise) void this.#embed(run, work);
      else void this.#answer(run, work);
    } catch (error) {
      outbox.add({ id, failure: failureOf(asEngineError(error)) });
    }
  }

  async #answer({ id, frontend, request, trace }: Run, generation: Generation): Promise<void> {
    const outbox = this.#frontends.outbox(frontend);
    const work: Work = {
      frontend,
      tokens: request?.generated?.length ?? 0,
      cancel: () => generation.cancel(),
    };
    this.#work.set(id, work);
    const traced = new TracedAnswer(this.id, trace);
    for await (const event of generation) {
      traced.token();
      outbox.token(id, work.tokens++, event);
    }
    const finish = await generation.finished;
    traced.end(finish);
    if (this.#end(id)) outbox.finish(id, finish);
  }

  async #embed({ id, frontend }: Run, embedding: Promise<Float32Array>): Promise<void> {
    const outbox = this.#frontends.outbox(frontend);
    this.#work.set(id, { frontend, tokens: 0, cancel: () => {} });
    try {
      const { buffer, byteOffset, byteLength } = await embedding;
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

const stopping = () => new EngineError('engine_unavailable', 'The worker stops.');
