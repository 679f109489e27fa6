import { setTimeout as delay } from 'node:timers/promises';
import type {
  EngineStats,
  Finish,
  Forward,
  GenerationRequest,
  ResponseFormat,
  TokenEvent,
} from '../engine/contract.js';
import { asEngineError, EngineError, isCacheFull } from '../engine/errors.js';
import { Sampler, SamplerMemory } from '../sampler/sampler.js';
import { Answer, byImportance } from './answer.js';
import type { Constraint } from './constraint.js';
import { FairQueue } from './fair-queue.js';
import { hasBudget, type PlannedEntry, planStep, type SchedulerLimits } from './plan.js';
import { canShareSoon, hasRoomFor } from './room.js';

/** What a scheduler tells, in the order in which it happens. */
export interface SchedulerOutput {
  token(id: number, event: TokenEvent): void;
  /** Exactly once for each answer, after its tokens. */
  finish(id: number, finish: Finish): void;
  /** There is something to do again: an answer came, or a mask. */
  wake(): void;
}

export interface SchedulerOptions {
  readonly forward: Forward;
  readonly limits: SchedulerLimits;
  readonly output: SchedulerOutput;
  /** A grammar of the format, behind these tokens; rejects when the format is none. */
  readonly constrain: (format: ResponseFormat, generated?: Int32Array) => Promise<Constraint>;
  /** Of an answer whose request has none. */
  readonly newSeed: () => number;
  /** Gives pages back that no answer holds; false: there were none. They go before any answer's. */
  readonly giveUpPages?: () => boolean;
}

export type SchedulerStats = Omit<EngineStats, 'finished'>;

/** An answer to be made. */
export interface NewAnswer {
  readonly id: number;
  readonly request: GenerationRequest;
}

/** Masks take less than the model; the others don't wait longer for one that does. */
const maskMilliseconds = 5;

/**
 * Continuous batching (Yu et al. 2022, Orca): every step feeds what each running answer has next.
 * An answer keeps its tokens and its place whatever happens to its pages. One whose pages are taken
 * away waits again, and is computed again from its tokens.
 */
export class Scheduler {
  readonly #forward: Forward;
  readonly #limits: SchedulerLimits;
  readonly #output: SchedulerOutput;
  readonly #constrain: SchedulerOptions['constrain'];
  readonly #newSeed: () => number;
  readonly #giveUpPages: () => boolean;
  readonly #memory: SamplerMemory;
  /** All under way: those in the queue, those running, followers, those without a grammar yet. */
  readonly #answers = new Map<number, Answer>();
  readonly #queue = new FairQueue();
  /** The most important first. */
  #running: Answer[] = [];
  #arrivals = 0;
  /** A step is being computed: what is cancelled now ends right after it. */
  #computing = false;
  readonly #cancelled = new Set<Answer>();
  readonly #counters = {
    promptTokens: 0,
    generationTokens: 0,
    prefixQueries: 0,
    prefixHits: 0,
    preemptions: 0,
    draftTokens: 0,
    acceptedTokens: 0,
    steps: 0,
    batchTokens: 0,
    stepMilliseconds: 0,
  };

  constructor(options: SchedulerOptions) {
    const { forward, limits, output, constrain, newSeed, giveUpPages = () => false } = options;
    this.#forward = forward;
    this.#limits = limits;
    this.#output = output;
    this.#constrain = constrain;
    this.#newSeed = newSeed;
    this.#giveUpPages = giveUpPages;
    this.#memory = new SamplerMemory(forward.info.vocabSize);
  }

  /**
   * Queues answers. Several have the same prompt: the first computes it, the others continue from a
   * fork of it.
   */
  add(group: readonly NewAnswer[]): void {
    const answers = group.map(({ id, request }) => {
      const sampler = new Sampler(request, request.sampling.seed ?? this.#newSeed(), this.#memory);
      const answer = new Answer(id, request, this.#arrivals++, this.#forward.info, sampler);
      this.#answers.set(id, answer);
      this.#queue.enter(request.user);
      return answer;
    });
    for (const answer of answers) if (answer.endBefore) this.#finish(answer, answer.endBefore);
    if (answers[0].request.responseFormat.type === 'text') this.#enqueue(answers);
    else void this.#addConstraints(answers);
  }

  /** The first of those that did not end leads, the others follow. */
  #enqueue(group: readonly Answer[]): void {
    const [first, ...others] = group.filter(({ ended }) => !ended);
    if (first === undefined) return;
    first.followers = others;
    this.#queue.push(first);
  }

  async #addConstraints(answers: readonly Answer[]): Promise<void> {
    await Promise.all(
      answers.map(async (answer) => {
        try {
          const { responseFormat, generated } = answer.request;
          const constraint = await this.#constrain(responseFormat, generated);
          if (answer.ended) constraint.dispose();
          else answer.constraint = constraint;
        } catch (error) {
          if (!answer.ended) this.#fail(answer, error);
        }
      }),
    );
    this.#enqueue(answers);
    this.#output.wake();
  }

  /** Ends an answer, wherever it is; its pages return before the next step. */
  cancel(id: number): void {
    const answer = this.#answers.get(id);
    if (answer === undefined) return;
    if (this.#computing && answer.sequence !== undefined) this.#cancelled.add(answer);
    else this.#finish(answer, { reason: 'abort' });
  }

  /** Answers under way. */
  get size(): number {
    return this.#answers.size;
  }

  stats(): SchedulerStats {
    return {
      ...this.#counters,
      running: this.#running.length,
      waiting: this.#answers.size - this.#running.length,
      cache: this.#forward.counts(),
    };
  }

  /**
   * Computes one step. False: there was nothing to do, until `wake`.
   *
   * @param budget its most tokens, where others need some of them.
   */
  async step(budget = this.#limits.maxBatchTokens): Promise<boolean> {
    const limits = { ...this.#limits, budget };
    const begin = performance.now();
    await this.#settleConstraints();
    this.#admit();
    for (let withDrafts = true, tried = false; ; tried = true) {
      const batch = planStep(this.#running, limits, withDrafts);
      // After a try that left nobody running, those who wait are next.
      if (batch.length === 0) return tried;
      const running = this.#running.length;
      const outcome = await this.#compute(batch);
      if (outcome.rows !== undefined) {
        this.#take(batch, outcome.rows);
        this.#counters.steps++;
        this.#counters.stepMilliseconds = performance.now() - begin;
        return true;
      }
      if (!isCacheFull(outcome.error)) {
        for (const { answer } of batch) if (!answer.ended) this.#fail(answer, outcome.error);
        return true;
      }
      // Drafts are a gamble: they go before anybody's pages do.
      if (batch.some(({ drafts }) => drafts > 0)) withDrafts = false;
      else if (this.#giveUpPages()) continue;
      else if (this.#running.length === running) this.#makeRoom();
    }
  }

  /** Runs the batch; nothing has changed when it fails. Who was cancelled meanwhile has ended. */
  async #compute(
    batch: readonly PlannedEntry[],
  ): Promise<{ rows?: Float32Array[]; error?: unknown }> {
    const entries = batch.map(({ answer, tokens, logitsOf }) => {
      if (answer.sequence === undefined) throw new Error('An answer runs without a sequence.');
      return { sequence: answer.sequence, tokens, logitsOf };
    });
    this.#computing = true;
    try {
      return { rows: await this.#forward.run(entries) };
    } catch (error) {
      return { error };
    } finally {
      this.#computing = false;
      for (const answer of this.#cancelled) this.#finish(answer, { reason: 'abort' });
      this.#cancelled.clear();
    }
  }

  async #settleConstraints(): Promise<void> {
    const pending = this.#running.filter(({ constraint }) => constraint && !constraint.mask);
    if (pending.length > 0) {
      const masks = pending.map(({ constraint }) =>
        constraint?.settled().then(() => this.#output.wake()),
      );
      await Promise.race([Promise.all(masks), delay(maskMilliseconds)]);
    }
    for (const answer of this.#running.slice()) {
      const { constraint } = answer;
      if (constraint?.failure) this.#fail(answer, constraint.failure);
      else if (constraint?.complete) this.#finish(answer, { reason: 'stop' });
    }
  }

  #admit(): void {
    while (
      this.#running.length < this.#limits.maxRunning &&
      hasBudget(this.#running, this.#limits)
    ) {
      const next = this.#queue.peek();
      if (next === undefined || !this.#enterCache(next)) return;
    }
  }

  /** Finds the answer's stored prefix and lets it run, if the pages it needs are to be had. */
  #enterCache(answer: Answer): boolean {
    const { request, tokens } = answer;
    try {
      const { cacheScope: scope } = request;
      const options = { scope, longRope: answer.longRope };
      answer.sequence = this.#forward.createSequence(tokens.view(), options);
    } catch (error) {
      this.#fail(answer, error);
      return true;
    }
    if (this.#mustWait(answer)) {
      answer.leaveCache();
      return false;
    }
    this.#queue.remove(answer);
    if (answer.cachedTokens === undefined) {
      answer.cachedTokens = Math.min(answer.sequence.length, request.prompt.length);
      this.#counters.promptTokens += request.prompt.length;
      this.#counters.prefixQueries += request.prompt.length;
      this.#counters.prefixHits += answer.cachedTokens;
    }
    this.#run(answer);
    return true;
  }

  #mustWait(answer: Answer): boolean {
    if (this.#running.length === 0) return false;
    const counts = this.#forward.counts();
    if (!hasRoomFor(answer, this.#running, counts)) return true;
    return this.#limits.prefixCache && canShareSoon(answer, this.#running, counts.pageSize);
  }

  #run(answer: Answer): void {
    this.#running.push(answer);
    this.#running.sort(byImportance);
  }

  /** Takes the pages of the least important; of the last one nothing is left to be taken. */
  #makeRoom(): void {
    const victim = this.#running[this.#running.length - 1];
    if (this.#running.length > 1) {
      this.#counters.preemptions++;
      this.#running.pop();
      victim.leaveCache();
      this.#queue.push(victim);
    } else if (victim.completionTokens > 0) {
      this.#finish(victim, { reason: 'length' });
    } else {
      const { pages, pageSize } = this.#forward.counts();
      const message = `The prompt's ${victim.tokens.length} tokens do not fit into the cache of ${pages * pageSize}.`;
      this.#fail(victim, new EngineError('cache_too_small', message));
    }
  }

  #take(batch: readonly PlannedEntry[], rows: readonly Float32Array[]): void {
    let row = 0;
    this.#counters.batchTokens = 0;
    for (const { answer, tokens, logitsOf, drafts } of batch) {
      const own = rows.slice(row, row + logitsOf.length);
      row += logitsOf.length;
      this.#counters.batchTokens += tokens.length;
      if (answer.ended) continue;
      this.#queue.charge(answer.request.user, tokens.length);
      if (own.length === 0) continue;
      this.#forkFollowers(answer, own[0]);
      this.#extend(answer, own, tokens.subarray(tokens.length - drafts));
    }
  }

  /** The prompt is computed: those who waited for it go on from here, while there is room. */
  #forkFollowers(answer: Answer, logits: Float32Array): void {
    const { followers } = answer;
    answer.followers = [];
    for (const follower of followers) {
      if (follower.ended) continue;
      if (this.#running.length >= this.#limits.maxRunning) {
        this.#queue.push(follower);
        continue;
      }
      follower.sequence = answer.sequence?.fork();
      follower.cachedTokens = answer.cachedTokens;
      this.#run(follower);
      this.#extend(follower, [logits], noTokens);
    }
  }

  /** Draws a token, and one more for each draft that was right. */
  #extend(answer: Answer, rows: readonly Float32Array[], drafts: Int32Array): void {
    let accepted = 0;
    let end: Pick<Finish, 'reason' | 'stopToken' | 'error'> | undefined;
    try {
      for (;;) {
        const event = answer.extend(rows[accepted]);
        this.#counters.generationTokens++;
        this.#output.token(answer.id, event);
        end = answer.endBy(event.token);
        if (end || accepted === drafts.length || event.token !== drafts[accepted]) break;
        accepted++;
      }
    } catch (error) {
      end = { reason: 'error', error: asEngineError(error) };
    }
    // Before it may end: what was not verified is never stored.
    const { sequence } = answer;
    if (accepted < drafts.length) sequence?.truncate(sequence.length - drafts.length + accepted);
    answer.acceptedTokens += accepted;
    this.#counters.draftTokens += drafts.length;
    this.#counters.acceptedTokens += accepted;
    if (end) this.#finish(answer, end);
  }

  #fail(answer: Answer, error: unknown): void {
    this.#finish(answer, { reason: 'error', error: asEngineError(error) });
  }

  #finish(answer: Answer, end: Pick<Finish, 'reason' | 'stopToken' | 'error'>): void {
    answer.ended = true;
    answer.leaveCache();
    answer.constraint?.dispose();
    this.#answers.delete(answer.id);
    this.#running = this.#running.filter((other) => other !== answer);
    this.#queue.remove(answer);
    this.#queue.leave(answer.request.user);
    this.#output.finish(answer.id, {
      ...end,
      promptTokens: answer.request.prompt.length,
      cachedTokens: answer.cachedTokens ?? 0,
      completionTokens: answer.completionTokens,
      acceptedTokens: answer.acceptedTokens,
    });
    this.#enqueue(answer.followers);
  }
}

const noTokens = new Int32Array(0);
