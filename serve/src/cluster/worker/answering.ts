import type { Engine, Finish, Generation } from '../../engine/contract.js';
import { asEngineError } from '../../engine/errors.js';
import { isLongRope, prefixScope } from '../../engine/prefix-hash.js';
import { failureOf } from '../messages.js';
import type { Run } from '../run-message.js';
import type { Outbox } from './outbox.js';
import type { PageMover } from './page-mover.js';
import { TracedAnswer } from './traced-answer.js';

export type AnswerRun = Run & { readonly request: NonNullable<Run['request']> };

/** What of its worker an answer needs. */
export interface AnsweringParts {
  readonly worker: string;
  readonly engine: Engine;
  readonly mover: PageMover;
  readonly outbox: Outbox;
  /** It ends. @returns whether its frontend still waits for it. */
  readonly end: () => boolean;
}

/** An answer that a worker makes, or the part of it until another worker goes on. */
export class Answering {
  readonly frontend: string;
  readonly #run: AnswerRun;
  readonly #parts: AnsweringParts;
  readonly #scope: string;
  /** Tokens of the answer, those of other workers counted in. */
  readonly #told: number[];
  #generation: Generation | undefined;
  #cancelled = false;
  /** Another worker goes on. */
  #leaving = false;
  /** Its pages are moved until then. */
  #until: AbortSignal | undefined;
  #left: string | undefined;
  /** Settles when there is nothing more to tell. */
  readonly #done: Promise<void>;

  /** @throws EngineError when the engine refuses it at once. */
  constructor(run: AnswerRun, parts: AnsweringParts) {
    const { request } = run;
    this.frontend = run.frontend;
    this.#run = run;
    this.#parts = parts;
    this.#scope = prefixScope(request.cacheScope, isLongRope(request, parts.engine.info));
    this.#told = [...(request.generated ?? [])];
    if (run.pages === undefined) this.#generation = parts.engine.generate(request);
    parts.outbox.add({ id: run.id, accepted: true });
    this.#done = this.#make();
  }

  /** Tokens that were told. */
  get tokens(): number {
    return this.#told.length;
  }

  cancel(): void {
    this.#cancelled = true;
    this.#generation?.cancel();
  }

  /**
   * Leaves it to another worker, with its pages if they are moved before the signal.
   *
   * @returns the name of the pages.
   */
  async leave(signal: AbortSignal): Promise<string | undefined> {
    if (signal.aborted) return undefined;
    this.#leaving = true;
    this.#until = signal;
    this.#generation?.cancel();
    await this.#done;
    return this.#left;
  }

  async #make(): Promise<void> {
    const { id, pages, request, trace } = this.#run;
    const { worker, engine, mover, outbox, end } = this.#parts;
    const traced = new TracedAnswer(worker, trace);
    try {
      const loaded = pages === undefined ? 0 : await mover.load(pages, this.#scope);
      this.#generation ??= engine.generate(request);
      if (this.#cancelled || this.#leaving) this.#generation.cancel();
      await this.#tell(this.#generation, traced);
      const finish = await this.#generation.finished;
      traced.end(finish);
      mover.reused(Math.min(loaded, this.#found(finish)));
      if (this.#isLeft(finish)) await this.#leave();
      else if (end()) outbox.finish(id, finish);
    } catch (error) {
      if (end()) outbox.add({ id, failure: failureOf(asEngineError(error)) });
    }
  }

  async #tell(generation: Generation, traced: TracedAnswer): Promise<void> {
    for await (const event of generation) {
      traced.token();
      this.#parts.outbox.token(this.#run.id, this.tokens, event);
      this.#told.push(event.token);
      if (!this.#run.leave || this.#leaving) continue;
      this.#leaving = true;
      generation.cancel();
    }
  }

  /** Tokens of prompt and answer that were stored when it began here. */
  #found({ cachedTokens, promptTokens }: Finish): number {
    const generated = this.#run.request.generated?.length ?? 0;
    return cachedTokens < promptTokens ? cachedTokens : promptTokens + generated;
  }

  #isLeft({ reason }: Finish): boolean {
    return this.#leaving && reason === 'abort' && !this.#cancelled;
  }

  async #leave(): Promise<void> {
    const { id, request } = this.#run;
    const tokens = Int32Array.from([...request.prompt, ...this.#told]);
    const { mover, outbox, end } = this.#parts;
    this.#left = await mover.save({ scope: this.#scope, tokens }, this.#until);
    if (end()) outbox.add({ id, left: { pages: this.#left } });
  }
}
