import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Case, Contestant, Start } from '../contestant.js';
import { cacheNames, int64, kvShape, nextTokens, ones } from './whole-graph.js';

/** One that waits for a place in a batch. */
interface Waiting {
  readonly prompt: Int32Array;
  readonly told: () => void;
  readonly done: (answer: number[]) => void;
  readonly failed: (error: unknown) => void;
}

/**
 * onnxruntime-node at its best: all that wait become one batch, whose past and present are the same
 * buffers, so that nothing is copied as the cache grows; no pool that spins. A batch is answered to
 * its end before the next begins. Prompts and answers are of one length here, so that nothing is
 * padded either.
 */
class Batch implements Contestant {
  readonly #session: InferenceSession;
  readonly #given: Case;
  readonly #capacity: number;
  readonly #caches: Float32Array[];
  #waiting: Waiting[] = [];
  #running = false;

  constructor(session: InferenceSession, given: Case) {
    this.#session = session;
    this.#given = given;
    this.#capacity = given.context + given.newTokens;
    const { kvHeads, headDim } = kvShape;
    const length = given.concurrency * kvHeads * this.#capacity * headDim;
    this.#caches = cacheNames.map(() => new Float32Array(length));
  }

  answer(prompt: Int32Array, told: () => void): Promise<number[]> {
    return new Promise((done, failed) => {
      this.#waiting.push({ prompt, told, done, failed });
      if (this.#running) return;
      this.#running = true;
      // After all who come in the same turn of the event loop.
      setImmediate(() => void this.#serve());
    });
  }

  async #serve(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#given.concurrency);
      try {
        await this.#answerBatch(batch);
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
    }
    this.#running = false;
  }

  async #answerBatch(batch: readonly Waiting[]): Promise<void> {
    const answers: number[][] = [];
    for (const [row, { prompt, told }] of batch.entries()) {
      answers.push(await this.#run(prompt, prompt.length, row, 1));
      told();
    }
    while (answers[0].length < this.#given.newTokens) {
      const last = answers.map((tokens) => tokens[tokens.length - 1]);
      const length = batch[0].prompt.length + answers[0].length;
      const next = await this.#run(last, length, 0, batch.length);
      for (const [row, token] of next.entries()) {
        answers[row].push(token);
        batch[row].told();
      }
    }
    for (const [row, { done }] of batch.entries()) done(answers[row]);
  }

  /** Feeds tokens of the `count` rows from `first` on; afterwards each has `length`. */
  async #run(tokens: ArrayLike<number>, length: number, first: number, count: number) {
    const { kvHeads, headDim } = kvShape;
    const row = kvHeads * this.#capacity * headDim;
    const dims = [count, kvHeads, this.#capacity, headDim];
    const caches = this.#caches.map(
      (cache) => new Tensor('float32', cache.subarray(first * row, (first + count) * row), dims),
    );
    const feeds = {
      input_ids: int64(tokens, [count, tokens.length / count]),
      attention_mask: ones(count, length),
      ...Object.fromEntries(cacheNames.map(({ past }, n) => [past, caches[n]])),
    };
    const present = Object.fromEntries(cacheNames.map((name, n) => [name.present, caches[n]]));
    const { logits } = await this.#session.run(feeds, { ...present, logits: null });
    return nextTokens(logits);
  }

  close(): Promise<void> {
    return this.#session.release();
  }
}

export const startBatch: Start = async (given) => {
  const session = await InferenceSession.create(given.model.graph, {
    intraOpNumThreads: given.threads,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  return new Batch(session, given);
};
