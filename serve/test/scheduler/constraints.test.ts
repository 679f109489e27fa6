import type { Constraint } from '../../src/scheduler/constraint.js';
import { generationRequest } from '../support/generation-request.js';
import { ScriptedScheduler, plainAnswer } from '../support/scripted-scheduler.js';

/** Allows even tokens alone, `length` of them. Masks come when `tell` is called, or at once. */
class EvenTokens implements Constraint {
  mask?: Int32Array;
  complete = false;
  failure?: Error;
  disposed = false;
  readonly accepted: number[] = [];
  readonly #length: number;
  readonly #atOnce: boolean;
  #settle = () => {};
  #settled: Promise<void> = Promise.resolve();

  constructor(length: number, atOnce: boolean) {
    this.#length = length;
    this.#atOnce = atOnce;
    this.tell();
  }

  tell(): void {
    this.mask = Int32Array.of(0x55555555);
    this.#settle();
  }

  fail(): void {
    this.failure = new Error('no more');
    this.#settle();
  }

  settled(): Promise<void> {
    return this.#settled;
  }

  accept(token: number): void {
    this.accepted.push(token);
    this.complete = this.accepted.length === this.#length;
    this.mask = undefined;
    this.#settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
    if (this.#atOnce) this.tell();
  }

  dispose(): void {
    this.disposed = true;
    this.#settle();
  }
}

const json = generationRequest({
  responseFormat: { type: 'json_object' },
  maxTokens: 20,
  speculativeTokens: 4,
});

function constrained(length = 6, atOnce = true) {
  const made: EvenTokens[] = [];
  const run = new ScriptedScheduler(
    {},
    {},
    {
      constrain: async () => {
        made.push(new EvenTokens(length, atOnce));
        return made[made.length - 1];
      },
    },
  );
  return { run, made };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('a grammar allows what comes next, and ends the answer when nothing can follow', async () => {
  const { run, made } = constrained();
  const [id] = run.add(json);
  const [other] = run.add(generationRequest());
  await turn();
  await run.drain();
  const tokens = run.tokens(id);
  expect(tokens).toHaveLength(6);
  expect(tokens.every((token) => token % 2 === 0)).toBe(true);
  expect(run.finish(id)).toMatchObject({ reason: 'stop', completionTokens: 6 });
  expect(made[0].accepted).toEqual(tokens);
  expect(made[0].disposed).toBe(true);
  expect(run.tokens(other)).toEqual(plainAnswer(generationRequest()).tokens);
});

test('who waits for a mask makes nobody else wait', async () => {
  const { run, made } = constrained(6, false);
  const [id] = run.add(json);
  const [other] = run.add(generationRequest());
  await turn();
  await run.steps(4);
  expect(run.tokens(id)).toHaveLength(1);
  expect(run.tokens(other)).toHaveLength(4);
  for (let i = 0; i < 10; i++) {
    made[0].tell();
    await run.steps(1);
  }
  await run.drain();
  expect(run.finish(id)).toMatchObject({ reason: 'stop', completionTokens: 6 });
});

test('a grammar that fails ends that answer alone', async () => {
  const { run, made } = constrained(6, false);
  const [id] = run.add(json);
  await turn();
  await run.steps(1);
  made[0].fail();
  await run.drain();
  expect(run.finish(id)).toMatchObject({ reason: 'error', completionTokens: 1 });
  expect(run.finish(id).error?.message).toBe('no more');
  expect(run.forward.counts().used).toBe(0);
});

test('an answer that is cancelled before its grammar is there never runs', async () => {
  const { run, made } = constrained();
  const [first, second] = run.add(json, json);
  run.scheduler.cancel(first);
  expect(run.scheduler.size).toBe(1);
  await turn();
  await run.drain();
  expect(run.finish(first)).toMatchObject({ reason: 'abort', completionTokens: 0 });
  expect(run.finish(second)).toMatchObject({ reason: 'stop', completionTokens: 6 });
  expect(made.map(({ disposed }) => disposed)).toEqual([true, true]);
});

test('the answers of a group have a grammar each', async () => {
  const { run, made } = constrained();
  const ids = run.add(json, json, json);
  await turn();
  await run.drain();
  expect(made).toHaveLength(3);
  for (const id of ids) expect(run.finish(id)).toMatchObject({ reason: 'stop' });
});
