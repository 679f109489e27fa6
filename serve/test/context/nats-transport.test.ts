// Context-parallel attention over a real nats-server, with workers in this process and in others.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import {
  type ContextAttentionOptions,
  ContextParallel,
  ContextPart,
  type ContextSequence,
  KvCache,
} from 'flash-attention/serving';
import { NatsServer } from '../../src/cluster/nats-server.js';
import { answerOverNats, natsTransport } from '../../src/context/index.js';
import { describeWithNats } from '../support/cluster.js';

const model = { layers: 2, kvHeads: 2, headDim: 16 };
const heads = 4;
const cut = { parts: 3, tokensPerRun: 32 };
const subject = 'test.context';

const newCache = () => new KvCache({ ...model, numPages: 64, dtype: 'bfloat16' });
const random = (count: number) => Float32Array.from({ length: count }, () => Math.random() - 0.5);
const rowsOf = (tokens: number) => {
  const row = tokens * model.headDim;
  return [random(row * heads), random(row * model.kvHeads), random(row * model.kvHeads)] as const;
};

describeWithNats('over NATS', () => {
  let server: NatsServer;
  const connections: NatsConnection[] = [];
  const children: ChildProcess[] = [];
  const open = async () => {
    const connection = await connect({ servers: server.url });
    connections.push(connection);
    return connection;
  };

  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const connection of connections.splice(0)) await connection.close();
  });
  afterAll(() => server.close());

  /** A step in one cache and over the parts: the greatest distance. */
  async function distance(
    one: { cache: KvCache; sequence: ReturnType<KvCache['createSequence']> },
    context: ContextParallel,
    sequence: ContextSequence,
    tokens: number,
    options: Pick<ContextAttentionOptions, 'window'> = {},
  ): Promise<number> {
    const alone = one.cache.step([{ sequence: one.sequence, tokens }]);
    const apart = context.step([{ sequence, tokens }]);
    let most = 0;
    for (let layer = 0; layer < model.layers; layer++) {
      const rows = rowsOf(tokens);
      const out = await apart.attention(layer, ...rows, options);
      const truth = alone.attention(layer, ...rows, { ...options, sync: true });
      most = out.reduce((sum, x, i) => Math.max(sum, Math.abs(x - truth[i])), most);
    }
    alone.commit();
    apart.commit();
    return most;
  }

  test('is what one machine computes; a worker that goes is missing, at once', async () => {
    const workers = await Promise.all(
      [0, 1, 2].map(async (part) => {
        const connection = await open();
        return answerOverNats(connection, subject, new ContextPart(newCache(), { ...cut, part }));
      }),
    );
    for (const connection of connections) await connection.flush();
    const transport = natsTransport(await open(), subject);
    const timeoutMs = 2 ** 31 - 1; // nobody waits for what NATS knows
    const context = new ContextParallel({ ...model, cut, transport, timeoutMs });
    const cache = newCache();
    const one = { cache, sequence: cache.createSequence() };
    const sequence = context.createSequence();
    for (const tokens of [100, 1, 1, 7]) {
      expect(await distance(one, context, sequence, tokens)).toBeLessThan(1e-5);
    }
    expect(await distance(one, context, sequence, 1, { window: [20, 0] })).toBeLessThan(1e-5);
    const fork = await sequence.fork();
    expect(fork.length).toBe(110);
    await fork.dispose();
    workers[1].unsubscribe();
    await connections[1].flush();
    const step = context.step([{ sequence, tokens: 1 }]);
    await expect(step.attention(0, ...rowsOf(1))).rejects.toMatchObject({
      code: 'ERR_PART_MISSING',
      part: 1,
    });
  });

  test('a request beyond max_payload says so', async () => {
    const transport = natsTransport(await open(), subject);
    const context = new ContextParallel({ ...model, headDim: 512, cut, transport });
    const step = context.step([{ sequence: context.createSequence(), tokens: 2400 }]);
    const rows = new Float32Array(2400 * 512 * model.kvHeads);
    await expect(step.attention(0, rows, rows, rows)).rejects.toThrow(/larger than max_payload/);
  });

  test('a process that is killed in mid-gather: the step never happened', async () => {
    const start = async (part: number) => {
      const file = fileURLToPath(new URL('part-process.mjs', import.meta.url));
      const settings = JSON.stringify({ url: server.url, subject, cut: { ...cut, part }, model });
      const child = fork(file, [settings]);
      children.push(child);
      await once(child, 'message');
      return child;
    };
    const workers = await Promise.all([0, 1, 2].map(start));
    const transport = natsTransport(await open(), subject);
    const timeoutMs = 10_000; // more than any answer takes that comes at all
    const context = new ContextParallel({ ...model, cut, transport, timeoutMs });
    const cache = newCache();
    const one = { cache, sequence: cache.createSequence() };
    const sequence = context.createSequence();
    expect(await distance(one, context, sequence, 100)).toBeLessThan(1e-5);
    workers[2].kill('SIGSTOP'); // takes requests, answers none
    const step = context.step([{ sequence, tokens: 1 }]);
    const rows = rowsOf(1);
    const pending = step.attention(0, ...rows);
    workers[2].kill('SIGKILL');
    await expect(pending).rejects.toMatchObject({ part: 2 });
    step.dispose();
    expect(sequence.length).toBe(100);
    await start(2);
    const again = context.step([{ sequence, tokens: 1 }]);
    await expect(again.attention(0, ...rows)).rejects.toMatchObject({
      code: 'ERR_PART_MISSING',
      part: 2,
    });
    again.dispose();
    await sequence.dispose();
    // Computed again, it goes on.
    const afresh = context.createSequence();
    const other = { cache, sequence: cache.createSequence() };
    for (const tokens of [100, 1]) {
      expect(await distance(other, context, afresh, tokens)).toBeLessThan(1e-5);
    }
  });
});
