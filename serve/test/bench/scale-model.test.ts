import { type ClusterLoad, type Costs, modelCluster } from '../../bench/cluster/scale-model.js';

const load: ClusterLoad = {
  ...{ workers: 100, frontends: 4, requests: 200, promptTokens: 1000, answerTokens: 280 },
  ...{ tokensPerSecond: 20, pages: 1000, pageSize: 16, beat: 500, alive: 1000 },
};
const costs: Costs = {
  ...{ beat: 1e-5, pageOfBeat: 1e-7, report: 1e-5, tokenOfReport: 1e-7, weigh: 1e-6 },
  ...{ bytesOfPage: 40, wire: { beat: 600, pageOfBeat: 17, token: 6 } },
};

test('a cluster on paper counts what a small one would show', () => {
  // 2800 answers run, 7 of each pair of worker and frontend: nearly every step is a report.
  const { published, delivered, shares, index } = modelCluster(load, costs);
  const reports = 400 * (1 - Math.exp(-7)) * 20;
  const rest = 2 * 400 * (1 - Math.exp(-7)) + 2 * 200;
  expect(published).toBeCloseTo(200 + reports + rest);
  expect(delivered).toBeCloseTo(4 * 200 + reports + rest);
  expect(index).toBe(100 * 1000 * 40);
  expect(shares.beats).toBeCloseTo(200 * 1e-5 + 2 * 200 * 80 * 1e-7);
  expect(shares.routing).toBeCloseTo(50 * 100 * 1e-6);
});

test('with the workers and their load the work of frontends grows, that of beats with the workers', () => {
  const large = modelCluster({ ...load, workers: 10_000, requests: 20_000, frontends: 400 }, costs);
  const small = modelCluster(load, costs);
  expect(large.shares.beats / small.shares.beats).toBeCloseTo(100);
  expect(large.shares.routing / small.shares.routing).toBeCloseTo(100);
  expect(large.delivered / small.delivered).toBeGreaterThan(1000);
});
