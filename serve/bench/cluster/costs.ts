import { chooseWorker } from '../../src/cluster/frontend/router.js';
import { WorkerView } from '../../src/cluster/frontend/worker-view.js';
import { type Beat, type Hello, readBeat, readReport } from '../../src/cluster/messages.js';
import { pageHashes } from '../../src/engine/prefix-hash.js';
import type { Costs } from './scale-model.js';

const stats = {
  ...{ running: 8, waiting: 0, promptTokens: 1e9, generationTokens: 1e8, prefixQueries: 1e9 },
  ...{ prefixHits: 1e9, preemptions: 0, draftTokens: 0, acceptedTokens: 0, steps: 1e7 },
  cache: { pages: 65_536, free: 0, used: 4096, stored: 61_440, pageSize: 16 },
  ...{ batchTokens: 32, stepMilliseconds: 31.25 },
  finished: { stop: 1e6, length: 1e5, abort: 1e4, error: 0 },
};

const usage = {
  ...{ memoryBytes: 2 ** 30, processorSeconds: 12_345.678, savedTokens: 0, savedBytes: 0 },
  ...{ loadedTokens: 1e5, loadedBytes: 1e10, reusedTokens: 1e5 },
};

function beatOf(pages: number): Beat {
  const hashes = [
    ...pageHashes(
      '',
      Int32Array.from({ length: 16 * pages }, (_, i) => i),
      16,
    ),
  ];
  const half = pages / 2;
  const prefixes = { from: 1, to: 2, added: hashes.slice(0, half), removed: hashes.slice(half) };
  const about = { worker: `w${'x'.repeat(22)}`, draining: false, healthy: true, live: 8 };
  return { ...about, stats, usage, prefixes };
}

const reportOf = (tokens: number): object => ({
  worker: `w${'x'.repeat(22)}`,
  events: [
    { id: 'x'.repeat(46), at: 100, tokens: Array.from({ length: tokens }, (_, i) => i + 1e4) },
  ],
});

const bytesOf = (value: object): Uint8Array => Buffer.from(JSON.stringify(value));

/** Seconds of a call, the least of some rounds. */
function time(run: () => void): number {
  let least = Infinity;
  for (let round = 0; round < 15; round++) {
    const start = performance.now();
    for (let i = 0; i < 100; i++) run();
    least = Math.min(least, (performance.now() - start) / 1e5);
  }
  return least;
}

/** Measures what a frontend does with messages and requests, on this machine. */
export function measureCosts(): Costs {
  const [quiet, busy] = [bytesOf(beatOf(0)), bytesOf(beatOf(1000))];
  const [one, many] = [bytesOf(reportOf(1)), bytesOf(reportOf(64))];
  const beat = time(() => readBeat(quiet));
  const report = time(() => readReport(one));
  return {
    beat,
    pageOfBeat: (time(() => readBeat(busy)) - beat) / 1000,
    report,
    tokenOfReport: Math.max(0, (time(() => readReport(many)) - report) / 63),
    ...measureIndex(),
    wire: {
      beat: quiet.length,
      pageOfBeat: (busy.length - quiet.length) / 1000,
      token: (many.length - one.length) / 63,
    },
  };
}

/** Of 100 workers with 10,000 pages each; the prompt has 64 pages, which all of them store. */
function measureIndex(): Pick<Costs, 'weigh' | 'bytesOfPage'> {
  const [count, pages] = [100, 10_000];
  const prompt = pageHashes('', new Int32Array(16 * 64), 16);
  const hello = { pageSize: 16, maxRunning: 32, places: 288, prefixCache: true };
  const before = process.memoryUsage().heapUsed;
  const workers = Array.from({ length: count }, (_, n) => {
    const view = new WorkerView(hello as Hello, beatOf(0), 0);
    const own = Array.from({ length: pages - 64 }, (__, i) => (n * pages + i) * 7919 + 2 ** 40);
    view.heardSnapshot(0, [...prompt, ...own]);
    return view;
  });
  const bytesOfPage = (process.memoryUsage().heapUsed - before) / (count * pages);
  const work = { tokens: 16 * 64, pages: () => prompt };
  return { weigh: time(() => chooseWorker(workers, work, 0)) / count, bytesOfPage };
}
