import fc from 'fast-check';
import { StatsSum } from '../../src/cluster/frontend/stats-sum.js';
import { ConnectedClock } from '../../src/cluster/connected-clock.js';
import { Connection } from '../../src/cluster/connection.js';
import { readReport } from '../../src/cluster/messages.js';
import { decodeRun, encodeRun } from '../../src/cluster/run-message.js';
import type { EngineStats } from '../../src/engine/contract.js';
import { noUsage } from '../support/cluster.js';
import { generationRequest } from '../support/generation-request.js';

test('a request is the same on the other side', () => {
  const ids = fc.array(fc.nat(2 ** 31 - 1), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(
      ids,
      ids,
      fc.dictionary(fc.nat(500).map(String), fc.float({ noNaN: true, noDefaultInfinity: true })),
      (prompt, generated, bias) => {
        const logitBias = new Map(
          Object.entries(bias).map(([id, value]) => [Number(id), value || 0]),
        );
        const request = generationRequest({
          ...{ prompt, generated: Int32Array.from(generated), stopTokenIds: [5], topLogprobs: 2 },
          responseFormat: {
            type: 'json_schema',
            schema: { type: 'object', title: 'wörld \u{1F600}' },
          },
          cacheScope: '["key",null]',
          sampling: { logitBias, seed: -5, temperature: 0.3 },
        });
        const run = { id: '1', frontend: 'f', trace: { traceparent: '00-1' } };
        const read = decodeRun(encodeRun({ ...run, request, tokens: request.prompt }));
        expect({ ...read, tokens: undefined }).toEqual({ ...run, request, tokens: undefined });
      },
    ),
  );
  const embedding = decodeRun(encodeRun({ id: '1', frontend: 'f', tokens: Int32Array.of(7, 8) }));
  expect(embedding).toEqual({ id: '1', frontend: 'f', tokens: Int32Array.of(7, 8) });
});

test('bytes that are no message are refused, whatever they are', () => {
  const whole = encodeRun({ id: '1', frontend: 'f', tokens: Int32Array.of(7, 8) });
  for (let end = 0; end < whole.length; end++) {
    if (whole.length - end === 4 || whole.length - end === 8) continue; // fewer ids
    expect(() => decodeRun(whole.subarray(0, end))).toThrow();
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      expect(() => decodeRun(bytes)).toThrow();
      expect(() => readReport(bytes)).toThrow();
    }),
  );
  expect(() =>
    readReport(Buffer.from('{"worker":"w","events":[{"id":"1","at":-1,"tokens":[1]}]}')),
  ).toThrow();
});

test('the clock stands while NATS is gone', () => {
  let now = 100;
  const clock = new ConnectedClock(() => now);
  now = 130;
  expect([clock.now, clock.stopped, clock.lasted]).toEqual([30, 0, Infinity]);
  clock.stop();
  clock.look();
  now = 200;
  expect([clock.now, clock.stopped, clock.lasted, clock.running]).toEqual([30, 70, 0, false]);
  clock.start();
  clock.start();
  now = 205;
  expect([clock.now, clock.stopped, clock.lasted]).toEqual([35, 0, 5]);
});

test('the clock counts looks of its own: a process that is held hears nobody', () => {
  let now = 0;
  const clock = new ConnectedClock(() => now);
  const held = (milliseconds: number) => {
    now += milliseconds;
    const [before, gone] = [clock.now, clock.stopped];
    clock.look();
    expect([clock.now, clock.stopped]).toEqual([before, gone]);
  };
  for (let looks = 0; looks < 10; looks++) held(50);
  expect(clock.now).toBe(500);
  held(60_000);
  expect(clock.now).toBe(700);
  clock.stop();
  held(60_000);
  held(50);
  expect([clock.now, clock.stopped]).toEqual([700, 250]);
  clock.start();
  held(60_000);
  expect([clock.now, clock.lasted]).toEqual([900, 200]);
});

test('counters of all workers never fall, gauges are those of the living', () => {
  const stats = (generationTokens: number, running: number): EngineStats => ({
    ...{ running, waiting: 0, promptTokens: 0, generationTokens, prefixQueries: 0, prefixHits: 0 },
    ...{ preemptions: 0, draftTokens: 0, acceptedTokens: 0, steps: 1, batchTokens: 1 },
    cache: { pages: 10, free: 10, used: 0, stored: 0, pageSize: 4 },
    ...{ stepMilliseconds: 1, finished: { stop: generationTokens, length: 0, abort: 0, error: 0 } },
  });
  const sum = new StatsSum();
  const read = (...live: string[]) => {
    const { generationTokens, running, cache, finished } = sum.sum(live);
    return [generationTokens, running, cache.pages, finished.stop];
  };
  expect(read()).toEqual([0, 0, 0, 0]);
  sum.heard('a', stats(100, 2), { ...noUsage, memoryBytes: 1000, reusedTokens: 5 });
  sum.heard('b', stats(50, 3), { ...noUsage, memoryBytes: 500, reusedTokens: 7 });
  expect(read('a', 'b')).toEqual([150, 5, 20, 150]);
  // Its engine was started again.
  sum.heard('b', stats(5, 1), { ...noUsage, memoryBytes: 500, reusedTokens: 8 });
  expect(read('a', 'b')).toEqual([155, 3, 20, 155]);
  expect(read('b')).toEqual([155, 1, 10, 155]);
  // It was silent, no more.
  sum.heard('a', stats(110, 2), { ...noUsage, memoryBytes: 2000, reusedTokens: 5 });
  expect(read('a', 'b')).toEqual([165, 3, 20, 165]);
  expect(sum.usage(['a', 'b'])).toMatchObject({ memoryBytes: 2500, reusedTokens: 13 });
  expect(sum.usage(['b'])).toMatchObject({ memoryBytes: 500, reusedTokens: 13 });
});

test.each([
  [
    { url: 'http://a', cluster: 'c' },
    '--nats http://a: expected an address such as nats://host:4222',
  ],
  [{ url: 'nats://u:secret@[', cluster: 'c' }, '--nats nats://…@[: expected an address'],
  [{ url: 'nats://a', cluster: 'a.b' }, '--cluster a.b: expected letters'],
  [
    { url: 'nats://a', cluster: 'a', credentials: '/nowhere' },
    '--nats-credentials /nowhere: the file',
  ],
  [
    { url: 'nats://u:secret@127.0.0.1:1', cluster: 'c' },
    '--nats nats://…@127.0.0.1:1: connection refused',
  ],
])('%j says what is wrong, and no password', async (options, message) => {
  await expect(Connection.open(options)).rejects.toThrow(message);
  await expect(Connection.open(options)).rejects.not.toThrow('secret');
});
