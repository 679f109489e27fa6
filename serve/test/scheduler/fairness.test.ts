import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Answer } from '../../src/scheduler/answer.js';
import { FairQueue } from '../../src/scheduler/fair-queue.js';
import { generationRequest } from '../support/generation-request.js';
import { ScriptedScheduler } from '../support/scripted-scheduler.js';

/** Users in the order in which their answers end. */
async function endsOf(run: ScriptedScheduler, users: Map<number, string>): Promise<string[]> {
  await run.drain();
  return [...run.finishes.keys()].map((id) => users.get(id) ?? '');
}

test('one user with many requests does not make another wait for all of them', async () => {
  const run = new ScriptedScheduler({}, { maxRunning: 1 });
  const users = new Map<number, string>();
  const add = (user: string, first: number) => {
    const request = generationRequest({ user, prompt: [first], maxTokens: 4, ignoreEos: true });
    users.set(run.add(request)[0], user);
  };
  for (let i = 0; i < 8; i++) add('many', i);
  for (let i = 0; i < 2; i++) add('few', 10 + i);
  expect((await endsOf(run, users)).slice(0, 4).sort()).toEqual(['few', 'few', 'many', 'many']);
});

test('shares are tokens, not requests', async () => {
  const run = new ScriptedScheduler({ pages: 200 }, { maxRunning: 1 });
  const users = new Map<number, string>();
  const add = (user: string, maxTokens: number) => {
    users.set(run.add(generationRequest({ user, maxTokens, ignoreEos: true }))[0], user);
  };
  for (let i = 0; i < 4; i++) add('long', 40);
  for (let i = 0; i < 24; i++) add('short', 3);
  const ends = await endsOf(run, users);
  const second = ends.indexOf('long', ends.indexOf('long') + 1);
  const shortBefore = ends.slice(0, second).filter((user) => user === 'short').length;
  expect(shortBefore).toBeGreaterThanOrEqual(7); // about 42 tokens, 5 each
});

test('who was away gains nothing by it', async () => {
  const run = new ScriptedScheduler({ pages: 200 }, { maxRunning: 1 });
  const users = new Map<number, string>();
  const add = (user: string) => {
    users.set(run.add(generationRequest({ user, maxTokens: 6, ignoreEos: true }))[0], user);
  };
  for (let i = 0; i < 12; i++) add('steady');
  await run.steps(40);
  for (let i = 0; i < 6; i++) add('new');
  await run.drain();
  const order = [...run.finishes.keys()].map((id) => users.get(id));
  const from = order.indexOf('new');
  const next = order.slice(from, from + 6);
  expect(next.filter((user) => user === 'steady').length).toBeGreaterThanOrEqual(2);
});

test('a greater priority goes first, whoever was served how much', async () => {
  const run = new ScriptedScheduler({}, { maxRunning: 1 });
  const users = new Map<number, string>();
  for (const [user, priority] of [
    ['a', 0],
    ['a', 0],
    ['b', 5],
    ['c', -1],
    ['b', 5],
    ['a', 7],
  ] as const) {
    users.set(
      run.add(generationRequest({ user, priority, ignoreEos: true }))[0],
      `${user}${priority}`,
    );
  }
  expect(await endsOf(run, users)).toEqual(['a7', 'b5', 'b5', 'a0', 'a0', 'c-1']);
});

test('nobody starves: a long prompt among a stream of short ones', async () => {
  const run = new ScriptedScheduler(
    { pages: 16, prefixCache: false },
    { maxRunning: 4, maxBatchTokens: 12 },
  );
  const short = (user: string) =>
    run.add(generationRequest({ user, maxTokens: 5, ignoreEos: true }))[0];
  for (let i = 0; i < 4; i++) short(`u${i}`);
  await run.steps(1);
  const prompt = Array.from({ length: 50 }, (_, i) => i % 31);
  const [long] = run.add(generationRequest({ prompt, maxTokens: 3, user: 'long' }));
  for (let i = 0; i < 80 && !run.finishes.has(long); i++) {
    short(`u${i % 4}`);
    await run.steps(1);
  }
  expect(run.finish(long)).toMatchObject({ reason: 'length', completionTokens: 3 });
});

/** All that a queue looks at. */
const waiting = (user: string, arrival: number) =>
  ({ request: { user, priority: 0 }, arrival }) as unknown as Answer;

test('who comes back is served no sooner than those who stayed, however little he had', () => {
  const queue = new FairQueue();
  queue.enter('stays');
  queue.enter('goes');
  queue.charge('goes', 5);
  queue.leave('goes');
  queue.charge('stays', 100);
  queue.enter('goes');
  queue.push(waiting('stays', 1));
  queue.push(waiting('goes', 2));
  expect(queue.peek()?.request.user).toBe('stays');
  queue.charge('stays', 1);
  expect(queue.peek()?.request.user).toBe('goes');
});

/** Bytes that something can still reach. */
function heap(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
}

test('nothing is kept of users who have gone', () => {
  const queue = new FairQueue();
  queue.enter('stays');
  const before = heap();
  for (let i = 0; i < 1000; i++) {
    const name = `${i}`.padStart(30_000); // 30 MB of them all
    queue.enter(name);
    queue.charge(name, 1);
    queue.charge('stays', 2);
    queue.leave(name);
  }
  expect(heap() - before).toBeLessThan(5e6);
});
