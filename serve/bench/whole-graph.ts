import path from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { variants } from '../test/models/index.js';
import type { Case, Contestant } from './contestant.js';

const { layers, kvHeads, headDim, vocab } = variants.mid;
const names = Array.from({ length: layers }, (_, layer) => layer).flatMap((layer) =>
  ['key', 'value'].map((what) => ({
    past: `past_key_values.${layer}.${what}`,
    present: `present.${layer}.${what}`,
  })),
);

const int64 = (values: ArrayLike<number>, dims: number[]) =>
  new Tensor('int64', BigInt64Array.from(Array.from(values), BigInt), dims);
const ones = (rows: number, columns: number) =>
  int64(new Array(rows * columns).fill(1), [rows, columns]);

/** The likeliest token after the last of each row. */
function nextTokens({ data, dims }: Tensor): number[] {
  const [rows, length] = dims;
  const logits = data as Float32Array;
  return Array.from({ length: rows }, (_, row) => {
    const from = ((row + 1) * length - 1) * vocab;
    let best = 0;
    for (let id = 1; id < vocab; id++) if (logits[from + id] > logits[from + best]) best = id;
    return best;
  });
}

/**
 * onnxruntime-node as most write it: what a run returns as present is the next run's past. Users
 * take turns.
 */
export class LoopContestant implements Contestant {
  readonly #session: InferenceSession;

  private constructor(session: InferenceSession) {
    this.#session = session;
  }

  static async start({ folder, threads }: Case): Promise<Contestant> {
    const file = path.join(folder, 'model.onnx');
    const options = { intraOpNumThreads: threads };
    return new LoopContestant(await InferenceSession.create(file, options));
  }

  answer(prompts: readonly Int32Array[], newTokens: number, told: (user: number) => void) {
    return Promise.all(
      prompts.map(async (prompt, user) => {
        const tokens: number[] = [];
        const none = () => new Tensor('float32', new Float32Array(), [1, kvHeads, 0, headDim]);
        let past: Record<string, Tensor> = Object.fromEntries(names.map((n) => [n.past, none()]));
        let input: ArrayLike<number> = prompt;
        while (tokens.length < newTokens) {
          const result = await this.#session.run({
            input_ids: int64(input, [1, input.length]),
            attention_mask: ones(1, prompt.length + tokens.length),
            ...past,
          });
          input = nextTokens(result.logits);
          tokens.push(input[0]);
          told(user);
          past = Object.fromEntries(names.map((n) => [n.past, result[n.present]]));
        }
        return tokens;
      }),
    );
  }

  close(): Promise<void> {
    return this.#session.release();
  }
}

/**
 * onnxruntime-node at its best: one batch, whose past and present are the same buffers, so that
 * nothing is copied as the cache grows; no pool that spins. Prompts are of one length here, so that
 * nothing is padded either.
 */
export class BatchContestant implements Contestant {
  readonly #session: InferenceSession;
  readonly #capacity: number;
  readonly #caches: Float32Array[];
  readonly #users: number;

  private constructor(session: InferenceSession, users: number, capacity: number) {
    this.#session = session;
    this.#users = users;
    this.#capacity = capacity;
    this.#caches = names.map(() => new Float32Array(users * kvHeads * capacity * headDim));
  }

  static async start({ folder, threads, users, context, newTokens }: Case): Promise<Contestant> {
    const options = {
      intraOpNumThreads: threads,
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    };
    const session = await InferenceSession.create(path.join(folder, 'model.onnx'), options);
    return new BatchContestant(session, users, context + newTokens);
  }

  async answer(prompts: readonly Int32Array[], newTokens: number, told: (user: number) => void) {
    const answers: number[][] = [];
    for (const [user, prompt] of prompts.entries()) {
      answers.push(await this.#run(prompt, prompt.length, user, 1));
      told(user);
    }
    while (answers[0].length < newTokens) {
      const last = answers.map((tokens) => tokens[tokens.length - 1]);
      const length = prompts[0].length + answers[0].length;
      const next = await this.#run(last, length, 0, this.#users);
      for (const [user, token] of next.entries()) {
        answers[user].push(token);
        told(user);
      }
    }
    return answers;
  }

  /** Feeds tokens of the `count` users from `first` on; afterwards each has `length`. */
  async #run(tokens: ArrayLike<number>, length: number, first: number, count: number) {
    const row = kvHeads * this.#capacity * headDim;
    const dims = [count, kvHeads, this.#capacity, headDim];
    const caches = this.#caches.map(
      (cache) => new Tensor('float32', cache.subarray(first * row, (first + count) * row), dims),
    );
    const feeds = {
      input_ids: int64(tokens, [count, tokens.length / count]),
      attention_mask: ones(count, length),
      ...Object.fromEntries(names.map(({ past }, n) => [past, caches[n]])),
    };
    const present = Object.fromEntries(names.map((name, n) => [name.present, caches[n]]));
    const { logits } = await this.#session.run(feeds, { ...present, logits: null });
    return nextTokens(logits);
  }

  close(): Promise<void> {
    return this.#session.release();
  }
}
