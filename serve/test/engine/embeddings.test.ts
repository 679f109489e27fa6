// Texts to be embedded beside answers: what of a step is whose, and whose pages go first.
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { EngineOptions } from '../../src/engine/contract.js';
import { hostEngine } from '../../src/engine/host.js';
import type { FromWorker, ToWorker } from '../../src/engine/protocol.js';
import { Heartbeat } from '../../src/engine/watchdog.js';
import { generationRequest } from '../support/generation-request.js';
import { ScriptedForward, type ScriptedOptions } from '../support/scripted-forward.js';
import { until } from '../support/serving.js';

interface Pass {
  /** Of a text to be embedded. */
  readonly embeds: boolean;
  readonly tokens: readonly number[];
}

/** The engine's thread without the thread, and every pass of its model. */
class Host {
  readonly passes: Pass[] = [];
  readonly forward: ScriptedForward;
  readonly told: FromWorker[] = [];
  readonly #port: MessagePort;
  readonly #ended: Promise<void>;
  #paused = () => {};
  #last = 1000;
  #pause?: { at: (passes: readonly Pass[]) => boolean; over: Promise<void> };

  constructor(model: ScriptedOptions, limits: Partial<EngineOptions>) {
    this.forward = new ScriptedForward(model);
    this.forward.onRun = async (entries) => {
      const { scope } = entries[0].sequence as unknown as { scope: string };
      const tokens = entries.map((entry) => entry.tokens.length);
      this.passes.push({ embeds: scope === 'short:embeddings', tokens });
      const pause = this.#pause;
      if (!pause?.at(this.passes)) return;
      this.#pause = undefined;
      this.#paused();
      await pause.over;
    };
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.on('message', (message: FromWorker) => this.told.push(message));
    const options: EngineOptions = {
      ...{ folder: '', maxTokensInCache: 1, pageSize: 1, kvDtype: 'float32', device: 'cpu' },
      ...{ maxBatchTokens: 12, prefillChunk: 8, maxRunning: 4, maxQueued: 9, prefixCache: true },
      ...limits,
    };
    const parts = {
      forward: this.forward,
      constrain: () => Promise.reject(new Error('no grammars here')),
      closeGrammars: async () => {},
    };
    const heartbeat = new Heartbeat().memory;
    this.#ended = hostEngine(port2, { options, heartbeat }, async () => parts);
  }

  send(message: ToWorker): void {
    this.#port.postMessage(message);
  }

  answer(id: number, prompt: readonly number[], maxTokens: number): void {
    const request = generationRequest({ prompt: [...prompt], maxTokens, ignoreEos: true });
    this.send({ type: 'generate', answers: [{ id, request }] });
  }

  embed(id: number, length: number): void {
    this.send({ type: 'embed', id, tokens: new Int32Array(length).fill(7) });
  }

  /**
   * Sends within the first pass of which `at` holds, with all passes up to it; that one ends no
   * sooner than all of it has arrived.
   */
  async during(at: (passes: readonly Pass[]) => boolean, send: () => void): Promise<void> {
    let resume = () => {};
    const paused = new Promise<void>((resolve) => {
      this.#paused = resolve;
    });
    this.#pause = { at, over: new Promise((resolve) => (resume = resolve)) };
    await paused;
    send();
    const last = this.#last++;
    this.send({ type: 'stats', id: last });
    await this.end(last);
    resume();
  }

  /** What was said of a text, or of the end of an answer. */
  async end(id: number): Promise<unknown> {
    let found: unknown;
    await until(() => {
      for (const message of this.told) {
        if (message.type === 'result' && message.id === id) found = message.value;
        if (message.type === 'rejection' && message.id === id) found = message.error;
        if (message.type !== 'events') continue;
        for (const event of message.events) {
          if (event.id === id && 'finish' in event) found = event.finish;
        }
      }
      return found !== undefined;
    });
    return found;
  }

  async close(): Promise<void> {
    this.send({ type: 'close' });
    await this.#ended;
    this.#port.close();
  }
}

/** Of passes from the first one on. */
const nth = (count: number) => (passes: readonly Pass[]) => passes.length === count;
const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);

test('a long text takes every other step a piece, within the budget; answers and prompts get on', async () => {
  const host = new Host({ contextLength: 500, pages: 500 }, {});
  const prompts = [[1], [2], [3]];
  for (const [id, prompt] of prompts.entries()) host.answer(id, prompt, 200);
  await host.during(nth(6), () => {
    host.embed(10, 200);
    host.answer(3, new Array(100).fill(5), 1);
  });
  expect(await host.end(10)).toEqual(Float32Array.of(200, 7));
  await host.end(3);
  const { passes } = host;
  const pieces = passes.flatMap(({ embeds }, at) => (embeds ? [at] : []));
  // 12 tokens, of which 4 answers may need one each: pieces of 8.
  expect(pieces.map((at) => sum(passes[at].tokens))).toEqual(new Array(25).fill(8));
  for (const at of pieces) {
    const [before, behind, next] = [passes[at - 1], passes[at + 1], passes[at + 2]];
    expect({ before: before.embeds, behind: behind.embeds }).toEqual({
      ...{ before: false, behind: false },
    });
    expect(8 + sum(behind.tokens)).toBeLessThanOrEqual(12);
    // All three answers that decode are in it.
    expect(behind.tokens.filter((count) => count === 1)).toHaveLength(3);
    expect(next.embeds).toBe(false);
  }
  // The prompt was fed while the text was.
  const fed = passes
    .slice(pieces[0], pieces[24])
    .filter(({ embeds, tokens }) => !embeds && tokens.includes(8));
  expect(fed.length).toBeGreaterThan(10);
  await host.close();
});

test('with nothing else to do a text has every step', async () => {
  const host = new Host({ contextLength: 500, pages: 500 }, {});
  host.embed(1, 30);
  host.embed(2, 1);
  expect(await host.end(1)).toEqual(Float32Array.of(30, 7));
  expect(await host.end(2)).toEqual(Float32Array.of(1, 7));
  expect(host.passes.map(({ tokens }) => sum(tokens))).toEqual([8, 8, 8, 6, 1]);
  expect(host.forward.counts().used).toBe(0);
  await host.close();
});

test('a prompt that does not fit beside a piece has the step after it, the last piece too', async () => {
  const host = new Host({ contextLength: 500, pages: 500 }, {});
  host.answer(0, new Array(40).fill(5), 1);
  host.embed(10, 24);
  expect(await host.end(0)).toMatchObject({ reason: 'length', completionTokens: 1 });
  expect(await host.end(10)).toEqual(Float32Array.of(24, 7));
  const order = host.passes.map(({ embeds }) => (embeds ? 'text' : 'prompt'));
  expect(order.filter((what) => what === 'text')).toHaveLength(3);
  expect(order.join()).not.toContain('text,text');
  await host.close();
});

test('a budget that answers need whole: a text gets on one token at a time', async () => {
  const limits = { maxBatchTokens: 4, maxRunning: 4 };
  const host = new Host({ contextLength: 500, pages: 500 }, limits);
  for (const id of [0, 1, 2, 3]) host.answer(id, [id], 100);
  host.embed(10, 5);
  expect(await host.end(10)).toEqual(Float32Array.of(5, 7));
  const pieces = host.passes.filter(({ embeds }) => embeds);
  expect(pieces.map(({ tokens }) => tokens)).toEqual(new Array(5).fill([1]));
  // The least important answer waits for it.
  const behind = host.passes.filter((_, at) => host.passes[at - 1]?.embeds);
  for (const { tokens } of behind) expect(sum(tokens)).toBeLessThanOrEqual(3);
  await host.close();
});

test('a text that nobody waits for is computed no further, and its pages return', async () => {
  const host = new Host({ contextLength: 500, pages: 500 }, {});
  host.answer(0, [1], 400);
  await host.during(nth(3), () => {
    host.embed(10, 400);
    host.embed(11, 400);
    host.embed(12, 16);
  });
  const isEmbedding = (passes: readonly Pass[]) => passes.at(-1)?.embeds === true;
  await host.during(isEmbedding, () => {
    host.send({ type: 'cancel', id: 11 }); // it waits
    host.send({ type: 'cancel', id: 10 }); // it is computed
  });
  expect(await host.end(12)).toEqual(Float32Array.of(16, 7));
  const pieces = host.passes.filter(({ embeds }) => embeds);
  expect(pieces.length).toBeLessThan(20); // 52 of a whole one
  expect(host.told.some((message) => 'id' in message && [10, 11].includes(message.id))).toBe(false);
  host.send({ type: 'cancel', id: 0 });
  await host.end(0);
  expect(host.forward.counts().used).toBe(0);
  await host.close();
});

test('a full cache: the text gives its pages up before an answer loses any, and may come again', async () => {
  const host = new Host({ contextLength: 500, pages: 12, pageSize: 4 }, {});
  host.answer(0, [1, 2, 3], 40);
  await host.during(nth(3), () => host.embed(10, 40));
  expect(await host.end(10)).toEqual({ code: 'queue_full', message: 'The cache is full.' });
  expect(await host.end(0)).toMatchObject({ reason: 'length', completionTokens: 40 });
  host.send({ type: 'stats', id: 11 });
  expect(await host.end(11)).toMatchObject({ preemptions: 0, cache: { used: 0 } });
  host.embed(12, 40);
  expect(await host.end(12)).toEqual(Float32Array.of(40, 7));
  await host.close();
});
