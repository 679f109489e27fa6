import { pageHashes, prefixScope } from '../../src/engine/prefix-hash.js';
import { chooseWorker, type RoutedWork } from '../../src/cluster/frontend/router.js';
import type { Work } from '../../src/cluster/frontend/work.js';
import { WorkerView } from '../../src/cluster/frontend/worker-view.js';
import type { Beat, Hello } from '../../src/cluster/messages.js';
import { noUsage } from '../support/cluster.js';
import { PrefixHistory, readSnapshot } from '../../src/cluster/worker/prefix-history.js';

const pageSize = 16;
const hello = { worker: 'w', pageSize, maxRunning: 4, places: 8, prefixCache: true };

const beatOf = (live: number, prefixes: Partial<Beat['prefixes']> = {}): Beat => ({
  ...{ worker: 'w', draining: false, healthy: true, live },
  usage: noUsage,
  prefixes: { from: 0, to: 0, added: [], removed: [], ...prefixes },
});

function worker(live: number, stored: readonly number[] = []): WorkerView {
  const view = new WorkerView(hello as unknown as Hello, beatOf(live), 0);
  view.heardSnapshot(0, stored);
  return view;
}

function work(text: readonly number[], scope = 'a'): RoutedWork & { hashes: number[] } {
  const tokens = Int32Array.from(text);
  const hashes = pageHashes(prefixScope(scope, false), tokens, pageSize);
  return { tokens: tokens.length, pages: () => hashes, hashes };
}

const counting = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i);
const prompt = work(counting(100));

test.each<[string, WorkerView[], number]>([
  ['the idle one, where nothing is stored', [worker(2), worker(0), worker(1)], 1],
  [
    'the one with the longest prefix',
    [worker(0, prompt.hashes.slice(0, 2)), worker(0), worker(0, prompt.hashes)],
    2,
  ],
  ['the one with the prefix, though it has more to do', [worker(0), worker(2, prompt.hashes)], 1],
  [
    'another, where the prefix saves less than waiting costs',
    [worker(0), worker(6, prompt.hashes)],
    0,
  ],
  ['another, where only a later part is stored', [worker(1, prompt.hashes.slice(1)), worker(0)], 1],
  ['the shorter queue', [worker(7), worker(5)], 1],
])('work goes to %s', (_, workers, expected) => {
  for (const random of [0, 0.4, 0.8]) {
    expect(chooseWorker(workers, prompt, 0, { random: () => random })).toBe(workers[expected]);
  }
});

test('a prefix of another scope is none', () => {
  const workers = [worker(1, work(counting(100), 'b').hashes), worker(0)];
  expect(chooseWorker(workers, prompt, 0)).toBe(workers[1]);
  expect(chooseWorker([], prompt, 0)).toBeUndefined();
});

test('equal workers are taken in turn, and random is random', () => {
  for (const routing of ['prefix', 'random'] as const) {
    const workers = [worker(0), worker(0), worker(0)];
    const taken = [0, 0.4, 0.8].map((random) => {
      return workers.indexOf(
        chooseWorker(workers, prompt, 0, { routing, random: () => random }) as WorkerView,
      );
    });
    expect(taken).toEqual([0, 1, 2]);
  }
});

test('what is on its way counts until the worker says more, or too long has passed', () => {
  const view = worker(0);
  const sent = {} as Work;
  view.sent(sent, prompt.hashes, 0);
  expect([view.live, view.matching(prompt.hashes, 100)]).toEqual([1, 6]);
  expect(view.matching(prompt.hashes, 20_000)).toBe(0);
  view.work.delete(sent);
  expect(view.heardBeat(beatOf(3, { to: 1, added: prompt.hashes.slice(0, 2) }), 50)).toBe(true);
  expect([view.live, view.storedPages]).toEqual([3, 2]);
  expect(view.matching(prompt.hashes, 20_000)).toBe(2);
});

test('changes are told once, and who missed one asks for all', () => {
  const history = new PrefixHistory();
  const view = worker(0);
  const hear = () => view.heardBeat(beatOf(0, history.next()), 0);
  history.add({ added: [1, 2, 3], removed: [] });
  expect([hear(), view.matching([1, 2, 3], 0)]).toEqual([true, 3]);
  expect(hear()).toBe(true);
  history.add({ added: [4], removed: [2] });
  history.add({ added: [2], removed: [3] });
  expect([hear(), view.matching([1, 2, 3], 0), view.storedPages]).toEqual([true, 2, 3]);
  history.add({ added: [5], removed: [] });
  history.next(); // lost on its way
  history.add({ added: [6], removed: [1] });
  expect(hear()).toBe(false);
  const { version, hashes } = readSnapshot(history.snapshot());
  view.heardSnapshot(version, hashes);
  expect([...hashes].sort()).toEqual([2, 4, 5, 6]);
  expect(hear()).toBe(true);
  // An engine that was started again has nothing.
  history.add({ added: [], removed: [], reset: true });
  expect(hear()).toBe(false);
  expect(readSnapshot(history.snapshot()).hashes).toHaveLength(0);
});

test('a change that is too long for a message is not told in one', () => {
  const history = new PrefixHistory();
  history.add({ added: counting(100_000), removed: [] });
  const { from, to, added } = history.next();
  expect([from, to, added]).toEqual([1, 1, []]);
  const { hashes } = readSnapshot(history.snapshot());
  expect([hashes.length, hashes.at(-1)]).toEqual([2 ** 16, 99_999]);
  expect(history.next()).toMatchObject({ from: 1, to: 1 });
});
