import { runAlgorithm } from '../../viz/model/algorithms.js';
import { presetChange, presets } from '../../viz/model/presets.js';
import { countStops, peakSram, stateAfter } from '../../viz/model/replay.js';
import { algorithmNames, defaults, type Settings } from '../../viz/model/settings.js';
import { describeStep, lineOf } from '../../viz/tiles/describe.js';

const small = { ...defaults, n: 24, d: 4, blockQ: 8, blockK: 6, group: 2 };

const cases = algorithmNames.flatMap((algorithm) =>
  presets
    .map((preset) => ({ ...presetChange(preset, algorithm), algorithm }))
    .map((change): [string, Settings] => [
      `${algorithm}, ${change.pattern}, ${change.causal ? 'causal' : 'full'}, window ${change.window}`,
      { ...small, causal: change.causal ?? false, pattern: change.pattern ?? 'none', algorithm },
    ]),
);

describe.each(cases)('the replay of %s', (_, settings) => {
  const run = runAlgorithm(settings);
  const stops = countStops(run.steps);

  test('ends with the counts of the reference, and SRAM empty', () => {
    const end = stateAfter(run.steps, stops, 0);
    expect(end.io).toEqual(run.io);
    expect(end.sram.size).toBe(0);
  });

  test('begins with nothing moved', () => {
    const start = stateAfter(run.steps, 0, 0);
    expect(start.io).toEqual({ loads: 0, stores: 0 });
    expect(start.sram.size).toBe(0);
    expect(start.last).toBeUndefined();
  });

  test('moves forward only, and never holds more than it says', () => {
    const peak = peakSram(run.steps);
    let before = 0;
    for (let stop = 1; stop <= stops; stop++) {
      const { io, sram } = stateAfter(run.steps, stop, 0);
      expect(io.loads + io.stores).toBeGreaterThanOrEqual(before);
      before = io.loads + io.stores;
      let held = 0;
      for (const { elements } of sram.values()) held += elements;
      expect(held).toBeLessThanOrEqual(peak);
    }
  });

  test('has words and a line of the loop for every step', () => {
    for (let stop = 1; stop <= stops; stop++) {
      const state = stateAfter(run.steps, stop, 0);
      expect(describeStep(state.last)).toMatch(/^(Load|Store|Compute|Finish|Skip) .*\.$/);
      expect(lineOf(run.algorithm, state)).toBeGreaterThanOrEqual(0);
    }
  });

  test('has a result as good as that of standard attention', () => {
    expect(run.difference).toBeLessThan(1e-12);
  });
});

test('of standard attention keeps S and P in HBM, that of FlashAttention neither', () => {
  const kept = (algorithm: Settings['algorithm']) => {
    const { steps } = runAlgorithm({ ...small, algorithm });
    return [...stateAfter(steps, countStops(steps), 0).kept.keys()];
  };
  expect(kept('standard')).toEqual(['S', 'P']);
  expect(kept('flash1')).toEqual([]);
  expect(kept('flash2')).toEqual([]);
});

test('FlashAttention holds no more than its SRAM, but for the scores and row sums', () => {
  const { steps } = runAlgorithm({ ...small, algorithm: 'flash1' });
  const sramSize = 4 * small.d * small.blockK;
  const rows = Math.min(small.blockK, small.d);
  expect(peakSram(steps)).toBeLessThanOrEqual(sramSize + rows * small.blockK + 2 * rows);
});

test('tells what becomes of the chosen query, tile by tile', () => {
  const { steps, problem } = runAlgorithm({ ...small, group: 1 });
  const { moments } = stateAfter(steps, countStops(steps), 17);
  expect(moments.map(({ keys }) => keys)).toEqual([
    [0, 6],
    [6, 12],
    [12, 18],
    [18, 24],
    [24, 24],
  ]);
  const dot = (j: number) => {
    let sum = 0;
    for (let c = 0; c < 4; c++) sum += problem.q[17 * 4 + c] * problem.k[j * 4 + c];
    return sum / 2;
  };
  const scores = Array.from({ length: 24 }, (_, j) => dot(j));
  expect(moments[0].m).toBeCloseTo(Math.max(...scores.slice(0, 6)), 12);
  expect(moments[3].m).toBeCloseTo(Math.max(...scores), 12);
  const lse = Math.log(scores.reduce((sum, s) => sum + Math.exp(s), 0));
  expect(moments[4].lse).toBeCloseTo(lse, 12);
});
