// Whatever is served beside it, and however little room there is: an answer is the one that its
// definition gives, computed token by token from the whole text.
import fc from 'fast-check';
import type { GenerationRequest } from '../../src/engine/contract.js';
import { generationRequest } from '../support/generation-request.js';
import { plainAnswer, ScriptedScheduler } from '../support/scripted-scheduler.js';

const eosTokenIds = [0, 5];

const requests = fc
  .record({
    // Few ids and few lengths, so that prompts begin alike.
    prompt: fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 1, maxLength: 24 }),
    maxTokens: fc.integer({ min: 1, max: 20 }),
    minTokens: fc.constantFrom(0, 0, 5),
    ignoreEos: fc.boolean(),
    speculativeTokens: fc.constantFrom(0, 0, 3, 8),
    priority: fc.integer({ min: 0, max: 1 }),
    user: fc.constantFrom('a', 'b', 'c'),
    cacheScope: fc.constantFrom('', 'own'),
    sampling: fc.record({
      temperature: fc.constantFrom(0, 0, 1),
      topK: fc.constantFrom(0, 5),
      repetitionPenalty: fc.constantFrom(1, 1.3),
      frequencyPenalty: fc.constantFrom(0, 0.5),
      seed: fc.integer({ min: 0, max: 3 }),
    }),
  })
  .map(generationRequest);

/** Before which step each action comes. */
const arrivals = fc.array(
  fc.record({
    step: fc.nat(30),
    request: requests,
    siblings: fc.constantFrom(0, 0, 0, 2),
    /** Steps after which it is cancelled; within the step where `inside` says so. */
    cancelled: fc.option(fc.nat(12), { freq: 3 }),
    inside: fc.boolean(),
  }),
  { minLength: 1, maxLength: 10 },
);

const engines = fc.record({
  pages: fc.integer({ min: 7, max: 24 }),
  pageSize: fc.constantFrom(2, 4),
  prefixCache: fc.boolean(),
  order: fc.constantFrom(1, 2, Infinity),
  maxRunning: fc.integer({ min: 1, max: 6 }),
  spare: fc.constantFrom(0, 3, 40),
  prefillChunk: fc.constantFrom(1, 4, 9),
});

test('answers under random arrivals, cancels, priorities and tiny caches are those of definition', async () => {
  await fc.assert(
    fc.asyncProperty(engines, arrivals, async (engine, all) => {
      const { maxRunning, spare, prefillChunk, ...cache } = engine;
      const model = { ...cache, contextLength: 40, eosTokenIds };
      const limits = { maxRunning, prefillChunk, maxBatchTokens: maxRunning + spare };
      const run = new ScriptedScheduler(model, limits);
      const made: { id: number; request: GenerationRequest }[] = [];
      const cancels: { id: number; step: number; inside: boolean }[] = [];
      const capacity = engine.pages * engine.pageSize;

      let step = 0;
      const add = ({ request, siblings, cancelled, inside }: (typeof all)[number]) => {
        if (request.prompt.length > capacity) return; // refused before: see admission
        const { sampling } = request;
        const group = Array.from({ length: 1 + siblings }, (_, n) => ({
          ...request,
          sampling: { ...sampling, seed: (sampling.seed ?? 0) + n },
        }));
        run.add(...group).forEach((id, n) => {
          made.push({ id, request: group[n] });
          if (cancelled !== null && n === 0) cancels.push({ id, step: step + cancelled, inside });
        });
      };
      run.forward.onRun = () => {
        for (const due of cancels) {
          if (due.step === step && due.inside) run.scheduler.cancel(due.id);
        }
      };
      let worked = true;
      for (; worked || step <= 50; step++) {
        for (const arrival of all) if (arrival.step === step) add(arrival);
        for (const due of cancels) {
          if (due.step !== step || due.inside) continue;
          run.scheduler.cancel(due.id);
        }
        const waiting = run.scheduler.size;
        worked = await run.scheduler.step();
        expect(worked).toBe(waiting > 0); // with work there is a step
        expect(step).toBeLessThan(5000);
        const { cache: pages } = run.scheduler.stats();
        expect(pages.free + pages.used + pages.stored).toBe(engine.pages);
      }

      expect(run.scheduler.size).toBe(0);
      expect(run.forward.counts().used).toBe(0);
      for (const { id, request } of made) {
        const finish = run.finish(id); // there is one, and one only
        const plain = plainAnswer(request, model);
        const tokens = run.tokens(id);
        expect(finish.completionTokens).toBe(tokens.length);
        expect(tokens).toEqual(plain.tokens.slice(0, tokens.length));
        const cancelled = cancels.some((cancel) => cancel.id === id);
        if (finish.reason === 'abort') expect(cancelled).toBe(true);
        else if (tokens.length < plain.tokens.length) {
          // It filled the cache alone. The latest token is never in there.
          expect(finish.reason).toBe('length');
          expect(request.prompt.length + tokens.length).toBe(capacity + 1);
        } else expect(finish.reason).toBe(plain.reason);
      }
    }),
    { numRuns: 200 },
  );
});
