// Pages that workers leave for each other in the object store of NATS.
import { setTimeout as delay } from 'node:timers/promises';
import { PageStore } from '../../src/cluster/page-store.js';
import type { Engine, GenerationRequest } from '../../src/engine/contract.js';
import {
  describeWithNats,
  TestCluster,
  type TestFrontend,
  type TestWorker,
} from '../support/cluster.js';
import { generationRequest } from '../support/generation-request.js';
import { tokensOf } from '../support/scripted-engine-thread.js';
import { plainAnswer } from '../support/scripted-scheduler.js';

const model = { contextLength: 512 };
const slow = { model, stepMilliseconds: 10 };
const pageSize = 4;

const plain = (request: GenerationRequest) => plainAnswer(request, model).tokens;

/** Prompts that have nothing in common. */
const promptOf = (chat: number, length = 40) =>
  Array.from({ length }, (_, i) => (chat + i * (1 + (chat % 5))) % 29);

const first = (chat: number) => generationRequest({ prompt: promptOf(chat), maxTokens: 13 });

/** The next turn of a chat, behind the tokens of the one before. */
const next = ({ prompt }: GenerationRequest, answer: readonly number[]) =>
  generationRequest({ prompt: [...prompt, ...answer, 3, 5, 7], maxTokens: 5 });

/** Tokens of a text that are whole pages, but for the last token. */
const wholePages = (tokens: number) => tokens - (tokens % pageSize);

async function hold(engine: Engine, requests: readonly GenerationRequest[]): Promise<number[][]> {
  return Promise.all(requests.map((request) => tokensOf(engine.generate(request))));
}

const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await holds())) await delay(5);
};

const usageOf = async (engine: Engine) => {
  const { cluster } = await engine.stats();
  if (cluster === undefined) throw new Error('no cluster');
  return cluster.usage;
};

/** Minutes: it ends as soon as all is moved. */
const drain = 60_000;

/** What the prompts of further turns found, once the worker that held the first ones is gone. */
async function nextTurns(engine: Engine, firsts: readonly GenerationRequest[]): Promise<number[]> {
  const answers = firsts.map(plain);
  const turns = firsts.map((request, i) => next(request, answers[i]));
  const generations = turns.map((request) => engine.generate(request));
  expect(await Promise.all(generations.map(tokensOf))).toEqual(turns.map(plain));
  return Promise.all(generations.map(async ({ finished }) => (await finished).cachedTokens));
}

describeWithNats('pages that are moved', () => {
  let cluster: TestCluster;
  beforeEach(async () => {
    cluster = await TestCluster.start();
  });
  afterEach(() => cluster.close());

  const chats = Array.from({ length: 6 }, (_, chat) => first(chat));
  /** The last token of an answer is in no cache. */
  const all = chats.map(({ prompt }) => wholePages(prompt.length + 12));

  /**
   * Another worker takes the place of one that leaves so many texts. The frontend comes then, and
   * knows them: of changes that come at once nats-server 2.9 tells those who watch a part.
   */
  async function replace(
    worker: TestWorker,
    texts = chats.length,
  ): Promise<TestFrontend & { readonly other: TestWorker }> {
    const other = await cluster.scripted({ model });
    await worker.node.drain(drain);
    await worker.kill();
    const late = await cluster.frontend();
    await until(() => late.left.size === texts);
    return { ...late, other };
  }

  test('a worker that ends leaves its chats to others, which reuse their tokens', async () => {
    const worker = await cluster.scripted({ model });
    const { engine } = await cluster.frontend();
    expect(await hold(engine, chats)).toEqual(chats.map(plain));
    const late = await replace(worker);
    expect(await nextTurns(late.engine, chats)).toEqual(all);
    const sum = all.reduce((a, b) => a + b);
    await until(async () => (await usageOf(engine)).reusedTokens === sum);
    expect(await usageOf(engine)).toMatchObject({
      ...{ savedTokens: sum, savedBytes: 4 * sum, loadedTokens: sum, loadedBytes: 4 * sum },
      ...{ memoryBytes: expect.any(Number), processorSeconds: expect.any(Number) },
    });
    // What was taken is there no more.
    const told = new Map<string, unknown>();
    void new PageStore(late.connection).watch((name, text) => told.set(name, text));
    await until(() => told.size === chats.length);
    expect([...told.values()]).toEqual(chats.map(() => undefined));
  });

  test('answers that are cut go on with their pages', async () => {
    const script = { model, stepMilliseconds: 30 }; // 12 s for all
    const worker = await cluster.scripted(script, {}, {}, { partForWork: 0.01 });
    const { engine } = await cluster.frontend();
    const long = chats.map((request) => ({ ...request, maxTokens: 400 }));
    const answers = hold(engine, long);
    await until(async () => (await worker.engine.stats()).generationTokens > 60);
    await cluster.scripted({ model });
    await worker.node.drain(drain);
    await worker.kill();
    expect(await answers).toEqual(long.map(plain));
    await until(async () => (await usageOf(engine)).reusedTokens > 40);
  });

  test('no more is left than is allowed, the latest first', async () => {
    const worker = await cluster.scripted({ model }, {}, {}, { handOver: 4 * (all[5] + 1) });
    const { engine } = await cluster.frontend();
    for (const request of chats) await hold(engine, [request]);
    const late = await replace(worker, 2);
    expect(await nextTurns(late.engine, chats)).toEqual([0, 0, 0, 0, all[4], all[5]]);
  });

  test('what was left is found by its text and its scope alone', async () => {
    const { connection } = await cluster.scripted({ model });
    const store = new PageStore(connection, drain);
    const bytes = new Uint8Array(3 * 2 ** 20).map((_, i) => i % 251);
    const { signal } = new AbortController();
    const text = { scope: 'short:a', pageSize: 4, pages: [2, 1] };
    expect(await store.put(text, bytes, signal)).toBe('4.1');
    expect(await store.take('4.1', 'short:b', signal)).toBeUndefined();
    const late = AbortSignal.abort(new Error('late'));
    await expect(store.take('4.1', 'short:a', late)).rejects.toThrow('late');
    expect(await store.take('4.1', 'short:a', signal)).toEqual(bytes);
    expect(await store.take('4.1', 'short:a', signal)).toBeUndefined();
    // What takes too long leaves nothing behind.
    await expect(store.put({ ...text, pages: [2] }, bytes, late)).rejects.toThrow('late');
    expect(await store.take('4.2', 'short:a', signal)).toBeUndefined();
  });

  test('a chat that goes back to an earlier turn finds that, too', async () => {
    const worker = await cluster.scripted({ model });
    await hold((await cluster.frontend()).engine, chats);
    const { engine } = await replace(worker);
    const again = chats.map((request) => ({ ...request, prompt: request.prompt.slice(0, 39) }));
    const generations = again.map((request) => engine.generate(request));
    expect(await Promise.all(generations.map(tokensOf))).toEqual(again.map(plain));
    const found = await Promise.all(generations.map(async ({ finished }) => await finished));
    expect(found.map(({ cachedTokens }) => cachedTokens)).toEqual(again.map(() => 36));
  });

  test('a store that fails costs time, and no answer', async () => {
    const worker = await cluster.scripted({ model });
    await hold((await cluster.frontend()).engine, chats);
    const { engine, other } = await replace(worker);
    other.engine.loadPrefix = () => Promise.reject(new Error('no'));
    expect(await nextTurns(engine, chats)).toEqual(chats.map(() => 0));
    expect(cluster.log).toContain('are computed again: no');
  });

  describe('prompts on one worker, the rest on another', () => {
    const long = Array.from({ length: 6 }, (_, chat) =>
      generationRequest({
        ...{ prompt: promptOf(chat, 300), maxTokens: 30 },
        sampling: { temperature: chat % 2, seed: chat },
      }),
    );

    test('answers are the same, and each worker does its part', async () => {
      const prefill = await cluster.scripted({ model }, {}, { role: 'prefill' });
      const decode = await cluster.scripted({ model }, {}, { role: 'decode' });
      const { engine } = await cluster.frontend({ workers: 2 });
      expect(await hold(engine, long)).toEqual(long.map(plain));
      const [prompts, rest] = await Promise.all(
        [prefill, decode].map(async (worker) => worker.engine.stats()),
      );
      expect(prompts.promptTokens).toBe(6 * 300);
      // What it did not find: less than two pages of each.
      expect(rest.promptTokens - rest.prefixHits).toBeLessThan(6 * 2 * pageSize);
      await until(async () => (await usageOf(engine)).reusedTokens >= 6 * 300);
      expect((await engine.stats()).cluster?.moved).toBe(0);
      // A prompt that lacks little is computed where its answer is.
      await hold(engine, [first(7)]);
      expect((await prefill.engine.stats()).promptTokens).toBe(6 * 300);
    });

    test('whoever is left does all of it', async () => {
      const prefill = await cluster.scripted(slow, {}, { role: 'prefill' });
      const slower = { model, stepMilliseconds: 300 }; // not to end before it is looked at
      const decode = await cluster.scripted(slower, {}, { role: 'decode' });
      const { engine } = await cluster.frontend({ workers: 2 });
      const answers = hold(engine, long);
      await until(async () => (await decode.engine.stats()).running > 0);
      await decode.kill();
      expect(await answers).toEqual(long.map(plain));
      await cluster.scripted(slow, {}, { role: 'decode' });
      await prefill.kill();
      expect(await hold(engine, long)).toEqual(long.map(plain));
    });

    test('an answer of one token, one that ends at once, a client that goes', async () => {
      await cluster.scripted(slow, {}, { role: 'prefill' });
      const decode = await cluster.scripted(slow, {}, { role: 'decode' });
      const { engine } = await cluster.frontend({ workers: 2 });
      const short = { ...long[0], maxTokens: 1 };
      const stopped = { ...long[0], stopTokenIds: [plain(long[0])[0]] };
      expect(await hold(engine, [short, stopped])).toEqual([short, stopped].map(plain));
      const gone = engine.generate({ ...long[2], maxTokens: 200 });
      await gone[Symbol.asyncIterator]().next();
      gone.cancel();
      expect((await gone.finished).reason).toBe('abort');
      await until(async () => (await decode.engine.stats()).cache.used === 0);
    });
  });

  test('an embedding that nobody waits for is computed no further', async () => {
    const script = { model: { contextLength: 5000, pages: 2000 }, stepMilliseconds: 50 };
    const worker = await cluster.scripted(script, {}, { pages: 2000 }); // 15 s for all
    const { engine } = await cluster.frontend();
    const gone = new AbortController();
    const embedding = engine.embed(new Int32Array(5000).fill(3), gone.signal);
    await until(async () => (await worker.engine.stats()).cache.used > 0);
    gone.abort(new Error('gone'));
    await expect(embedding).rejects.toThrow('gone');
    await until(async () => (await worker.engine.stats()).cache.used === 0);
    await expect(engine.embed(new Int32Array(3), gone.signal)).rejects.toThrow('gone');
    expect(await engine.embed(Int32Array.of(7, 8))).toEqual(Float32Array.of(2, 7));
  });
});
