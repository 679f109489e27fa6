import type { Finish, GenerationRequest, TokenEvent } from '../../src/engine/contract.js';
import { Sampler, SamplerMemory } from '../../src/sampler/sampler.js';
import type { SchedulerLimits } from '../../src/scheduler/plan.js';
import { Scheduler, type SchedulerOptions } from '../../src/scheduler/scheduler.js';
import { ScriptedForward, type ScriptedOptions, scriptedLogits } from './scripted-forward.js';

/** A scheduler over a {@link ScriptedForward}, and all that it told. */
export class ScriptedScheduler {
  readonly forward: ScriptedForward;
  readonly scheduler: Scheduler;
  readonly events = new Map<number, TokenEvent[]>();
  readonly finishes = new Map<number, Finish[]>();
  #ids = 0;

  constructor(
    model: ScriptedOptions = {},
    limits: Partial<SchedulerLimits> = {},
    options: Partial<SchedulerOptions> = {},
  ) {
    this.forward = new ScriptedForward(model);
    this.scheduler = new Scheduler({
      forward: this.forward,
      limits: {
        ...{ maxBatchTokens: 32, prefillChunk: 8, maxRunning: 8 },
        prefixCache: model.prefixCache ?? true,
        ...limits,
      },
      output: {
        token: (id, event) => {
          if (this.finishes.has(id)) throw new Error(`A token of ${id} after its end.`);
          this.events.set(id, [...(this.events.get(id) ?? []), event]);
        },
        finish: (id, finish) => {
          this.finishes.set(id, [...(this.finishes.get(id) ?? []), finish]);
        },
        wake: () => {},
      },
      constrain: () => Promise.reject(new Error('no grammars here')),
      newSeed: () => 1,
      ...options,
    });
  }

  add(...requests: GenerationRequest[]): number[] {
    const group = requests.map((request) => ({ id: this.#ids++, request }));
    this.scheduler.add(group);
    return group.map(({ id }) => id);
  }

  /** Steps until nothing is left to do. */
  async drain(most = 10_000): Promise<void> {
    for (let steps = 0; await this.scheduler.step(); steps++) {
      if (steps === most) throw new Error(`Not done after ${most} steps.`);
    }
  }

  async steps(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.scheduler.step();
  }

  tokens(id: number): number[] {
    return (this.events.get(id) ?? []).map(({ token }) => token);
  }

  /** The one end of an answer. */
  finish(id: number): Finish {
    const finishes = this.finishes.get(id) ?? [];
    if (finishes.length !== 1) throw new Error(`${finishes.length} ends of answer ${id}.`);
    return finishes[0];
  }
}

/** What an answer is by its definition: one token after the other, each from the whole text. */
export function plainAnswer(request: GenerationRequest, model: ScriptedOptions = {}) {
  const { vocabSize = 31, contextLength = 64, eosTokenIds = [], order } = model;
  const sampler = new Sampler(request, request.sampling.seed ?? 1, new SamplerMemory(vocabSize));
  const ends = [...(request.ignoreEos ? [] : eosTokenIds), ...request.stopTokenIds];
  const text = [...request.prompt];
  const tokens: number[] = [];
  const events: TokenEvent[] = [];
  while (tokens.length < request.maxTokens && text.length < contextLength) {
    const forbidden = tokens.length < request.minTokens ? ends : [];
    const event = sampler.next(scriptedLogits(text, vocabSize, order), { forbidden });
    const { token } = event;
    events.push(event);
    tokens.push(token);
    text.push(token);
    if (ends.includes(token)) return { tokens, events, reason: 'stop' as const };
  }
  return { tokens, events, reason: 'length' as const };
}
