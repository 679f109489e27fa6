import { setTimeout as delay } from 'node:timers/promises';
import type { Engine, GenerationRequest } from '../../src/engine/contract.js';
import { describeWithNats, hasty, quick, TestCluster } from '../support/cluster.js';
import { generationRequest } from '../support/generation-request.js';
import { deadly, tokensOf } from '../support/scripted-engine-thread.js';
import { plainAnswer } from '../support/scripted-scheduler.js';

/** Answers of many kinds, none like the other. */
function requests(count: number, maxTokens = 20): GenerationRequest[] {
  return Array.from({ length: count }, (_, i) =>
    generationRequest({
      prompt: [i % 7, i % 5, i % 3, i % 11],
      maxTokens: maxTokens + (i % 20),
      user: `${i % 4}`,
      sampling: { temperature: i % 2, seed: i, repetitionPenalty: 1 + (i % 3) / 10 },
    }),
  );
}

const plain = (asked: readonly GenerationRequest[]) =>
  asked.map((request) => plainAnswer(request, model).tokens);

const model = { contextLength: 512 };
/** Long enough for something to happen meanwhile. */
const slow = { model, stepMilliseconds: 10 };

const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await holds())) await delay(5);
};

/** Waits until as many answers have begun. */
async function answersOf(
  engine: Engine,
  asked: readonly GenerationRequest[],
): Promise<{ all: Promise<number[][]>; begun: Promise<unknown> }> {
  const generations = asked.map((request) => engine.generate(request));
  const begun: Promise<void>[] = [];
  const all = generations.map(async (generation, i) => {
    const tokens: number[] = [];
    let begin = (): void => {};
    begun[i] = new Promise((resolve) => {
      begin = resolve;
    });
    for await (const { token } of generation) {
      tokens.push(token);
      if (tokens.length === 3) begin();
    }
    begin();
    const { reason, error } = await generation.finished;
    if (error) throw error;
    expect(reason).toBe('length');
    return tokens;
  });
  const both = Promise.all(all);
  both.catch(() => {});
  return { all: both, begun: Promise.all(begun) };
}

const isFree = async ({ engine }: { engine: Engine }) => {
  const { cache, running, waiting } = await engine.stats();
  return cache.used + running + waiting === 0;
};

describeWithNats('a cluster', () => {
  let cluster: TestCluster;
  beforeEach(async () => {
    cluster = await TestCluster.start();
  });
  afterEach(() => cluster.close());

  test('answers are those of an engine in the same process', async () => {
    await Promise.all([cluster.scripted(), cluster.scripted(), cluster.scripted()]);
    const { engine } = await cluster.frontend({ workers: 3 });
    const asked = requests(60);
    const generations = asked.map((request) => engine.generate(request));
    const answers = await Promise.all(generations.map(tokensOf));
    expect(answers).toEqual(asked.map((request) => plainAnswer(request).tokens));
    for (const [i, { finished }] of generations.entries()) {
      expect(await finished).toMatchObject({
        reason: 'length',
        promptTokens: 4,
        completionTokens: answers[i].length,
      });
    }
  });

  test('logprobs, ends and embeddings come through', async () => {
    const script = { model: { ...model, eosTokenIds: [7] } };
    const { engine: local } = await cluster.scripted(script);
    const { engine } = await cluster.frontend();
    const request = generationRequest({ maxTokens: 100, topLogprobs: 3 });
    const [near, far] = [local.generate(request), engine.generate(request)];
    const events = async (generation: typeof near) => {
      const all = [];
      for await (const event of generation) all.push(event);
      return [all, { ...(await generation.finished), cachedTokens: 0 }];
    };
    const told = await events(far);
    expect(told).toEqual(await events(near));
    expect(told[1]).toMatchObject({ reason: 'stop', stopToken: 7 });
    const tokens = Int32Array.from({ length: 40 }, (_, i) => (i % 20) + 3);
    expect(await engine.embed(tokens)).toEqual(await local.embed(tokens));
  });

  test('workers that die one after the other lose nothing, and nothing comes twice', async () => {
    const workers = [await cluster.scripted(slow), await cluster.scripted(slow)];
    const { engine } = await cluster.frontend({ workers: 2 });
    const asked = requests(24, 60);
    const { all, begun } = await answersOf(engine, asked);
    await begun;
    for (const worker of workers) {
      await Promise.all([worker.kill(), cluster.scripted(slow)]);
      await delay(150);
    }
    expect(await all).toEqual(plain(asked));
  });

  test('what is lost on the way is noticed: tokens, ends, acceptances, cancellations', async () => {
    const workers = [await cluster.scripted(slow), await cluster.scripted(slow)];
    const { engine, connection } = await cluster.frontend({ workers: 2, timing: hasty });
    let seed = 1;
    let lost = 0;
    for (const each of [connection, ...workers.map((worker) => worker.connection)]) {
      const publish = each.publish.bind(each);
      each.publish = (subject, value, reply) => {
        seed = (seed * 48_271) % 0x7fffffff;
        // One in twenty: five tries without a token are given up, which chance must not bring about.
        if (seed % 20 === 0) lost++;
        else publish(subject, value, reply);
      };
    }
    const asked = requests(24, 40);
    const { all } = await answersOf(engine, asked);
    const gone = engine.generate(generationRequest({ maxTokens: 400, ignoreEos: true }));
    await delay(100);
    gone.cancel();
    expect(await all).toEqual(plain(asked));
    expect((await gone.finished).reason).toBe('abort');
    expect(lost).toBeGreaterThan(10);
    await until(async () => (await Promise.all(workers.map(isFree))).every(Boolean));
  });

  test('a worker that hangs is not waited for', async () => {
    const worker = await cluster.scripted(slow);
    const { engine } = await cluster.frontend({ timing: hasty });
    const asked = requests(4, 60);
    const { all, begun } = await answersOf(engine, asked);
    await begun;
    // Nothing of it is heard any more, and it hears nothing: as a process that was stopped.
    worker.connection.publish = () => {};
    await cluster.scripted(slow);
    expect(await all).toEqual(plain(asked));
  });

  test('a process that is held as a whole, longer than anybody may be silent, has lost nobody', async () => {
    const options = { timing: hasty };
    for (let i = 0; i < 2; i++) await cluster.scripted(slow, {}, {}, options);
    const { engine } = await cluster.frontend({ workers: 2, ...options });
    const asked = requests(8, 450);
    const { all, begun } = await answersOf(engine, asked);
    await begun;
    const end = performance.now() + 3000;
    while (performance.now() < end);
    expect(await all).toEqual(plain(asked));
    expect((await engine.stats()).cluster?.moved).toBe(0);
  });

  test('NATS that is gone for ten seconds holds answers up, no more', async () => {
    await Promise.all([cluster.scripted(slow), cluster.scripted(slow)]);
    const { engine } = await cluster.frontend({ workers: 2 });
    const asked = requests(16, 60);
    const { all, begun } = await answersOf(engine, asked);
    await begun;
    await cluster.nats.stop('SIGKILL');
    await until(() => !engine.healthy);
    expect(() => engine.generate(asked[0])).toThrow('No worker is there.');
    await delay(10_000);
    await cluster.nats.start();
    expect(await all).toEqual(plain(asked));
    await until(() => engine.healthy);
    expect(await tokensOf(engine.generate(asked[0]))).toEqual(plain(asked)[0]);
  });

  test('NATS that does not come back ends answers with an error', async () => {
    await cluster.scripted(slow);
    const timing = { ...quick, patience: 500 };
    const { engine } = await cluster.frontend({ timing });
    const { all, begun } = await answersOf(engine, requests(2, 400));
    await begun;
    await cluster.nats.stop('SIGKILL');
    await expect(all).rejects.toMatchObject({ code: 'engine_unavailable', status: 503 });
  });

  test('a frontend that dies frees what was done for it', async () => {
    const script = { ...slow, model: { contextLength: 10_000, pages: 20_000 } };
    const worker = await cluster.scripted(script, {}, { pages: 20_000 }, { timing: hasty });
    const [dying, other] = [await cluster.frontend(), await cluster.frontend()];
    // They would take 90 s.
    const { begun } = await answersOf(dying.engine, requests(4, 9000));
    await begun;
    const asked = requests(2, 450);
    const { all } = await answersOf(other.engine, asked);
    await until(async () => (await worker.engine.stats()).running === 6);
    await dying.connection.nats.close();
    await until(async () => (await worker.engine.stats()).running <= 2);
    expect((await worker.engine.stats()).finished.abort).toBe(4);
    expect(await all).toEqual(plain(asked));
    await until(() => isFree(worker));
  });

  test('a client that goes away frees its pages, and is told how far it came', async () => {
    const worker = await cluster.scripted(slow);
    const { engine } = await cluster.frontend();
    const generation = engine.generate(generationRequest({ maxTokens: 400 }));
    const tokens: number[] = [];
    for await (const { token } of generation) if (tokens.push(token) === 5) break;
    const { reason, completionTokens, promptTokens } = await generation.finished;
    expect([reason, promptTokens]).toEqual(['abort', 3]);
    expect(completionTokens).toBeGreaterThanOrEqual(5);
    await until(() => isFree(worker));
  });

  test('more than all workers take is refused at once, to come again', async () => {
    const options = { maxRunning: 2, maxQueued: 1 };
    const facts = { maxRunning: 2, places: 3 };
    for (let i = 0; i < 2; i++) await cluster.scripted(slow, options, facts);
    const { engine } = await cluster.frontend({ workers: 2 });
    const { all } = await answersOf(engine, requests(6));
    const more = () => engine.generate(requests(1)[0]);
    expect(more).toThrow(expect.objectContaining({ code: 'queue_full', retryAfter: 1 }));
    expect(await all).toEqual(plain(requests(6)));
    // It is told with the next beats that there is room.
    const isTaken = () => {
      try {
        return engine.generateGroup(requests(1)).length === 1;
      } catch {
        return false;
      }
    };
    await until(isTaken);
  });

  test('two frontends that both take the last places: what is refused there goes elsewhere', async () => {
    const options = { maxRunning: 4, maxQueued: 0 };
    const facts = { maxRunning: 4, places: 4 };
    for (let i = 0; i < 2; i++) await cluster.scripted(slow, options, facts);
    const [one, two] = [
      await cluster.frontend({ workers: 2 }),
      await cluster.frontend({ workers: 2 }),
    ];
    const asked = requests(8);
    const all = await Promise.all(
      [one, two].map(async ({ engine }, i) => {
        return (await answersOf(engine, asked.slice(4 * i, 4 * i + 4))).all;
      }),
    );
    expect(await Promise.all(all)).toEqual([plain(asked.slice(0, 4)), plain(asked.slice(4))]);
  });

  test('a worker that drains ends what it can, and the rest goes on elsewhere', async () => {
    const worker = await cluster.scripted(slow);
    const { engine } = await cluster.frontend();
    const asked = [...requests(4, 8), ...requests(4, 450)];
    const { all, begun } = await answersOf(engine, asked);
    await begun;
    await cluster.scripted(slow);
    await worker.node.drain(300);
    await worker.kill();
    expect(await all).toEqual(plain(asked));
    const told = async () => (await engine.stats()).cluster;
    await until(async () => (await told())?.workers.draining === 0);
    expect(await told()).toEqual({
      workers: { ready: 1, draining: 0, unavailable: 0 },
      moved: expect.any(Number),
      usage: expect.anything(),
    });
    expect((await told())?.moved).toBeGreaterThanOrEqual(4);
    await until(async () => (await engine.stats()).finished.length >= 8);
  });

  test('a prompt that ends every engine ends with an error, and nobody else does', async () => {
    for (let i = 0; i < 2; i++) await cluster.scripted(slow);
    const { engine } = await cluster.frontend({ workers: 2 });
    const asked = requests(8, 60);
    const { all } = await answersOf(engine, asked);
    const poison = engine.generate(generationRequest({ prompt: deadly }));
    expect(await poison.finished).toMatchObject({ reason: 'error', completionTokens: 0 });
    expect(await all).toEqual(plain(asked));
  });

  test('what no engine takes is refused', async () => {
    await cluster.scripted();
    const { engine } = await cluster.frontend();
    const refused = (fields: Parameters<typeof generationRequest>[0]) => () =>
      engine.generate(generationRequest(fields));
    expect(refused({ prompt: new Int32Array(64) })).toThrow(/context is 64 tokens/);
    expect(refused({ prompt: [99] })).toThrow(/below 31/);
    await expect(engine.embed(new Int32Array(0))).rejects.toThrow(/one token id at least/);
    const { finished } = engine.generate(
      generationRequest({ responseFormat: { type: 'json_object' } }),
    );
    expect(await finished).toMatchObject({ reason: 'error', error: { code: 'model_failed' } });
  });
});
