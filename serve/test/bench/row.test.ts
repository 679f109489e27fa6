import type { Case, ContestantName, Sample } from '../../bench/contestant.js';
import { figurePoints, figuresOf } from '../../bench/figures.js';
import { decodeRate, type Measured, rowOf } from '../../bench/row.js';

const given: Omit<Case, 'seed'> = {
  contestant: 'engine',
  load: { kind: 'closed', users: 2, requests: 1 },
  concurrency: 2,
  context: 256,
  newTokens: 4,
  shared: false,
  threads: 1,
  model: { folder: '', graph: '', gguf: '' },
};

/** Tokens come at these milliseconds. */
const timeline = (due: number, tokens: number[], answer: number[] = []) => ({
  ...{ due, tokens, answer },
  end: tokens[tokens.length - 1],
});

test('tokens a second while all are past their first token and none has ended', () => {
  const timelines = [timeline(0, [10, 20, 30, 40]), timeline(0, [15, 25, 35, 45])];
  // 20, 25, 30, 35 and 40, in the 25 ms from 15 to 40.
  expect(decodeRate({ timelines }, 2)).toBe(200);
  const apart = [timeline(0, [10, 20]), timeline(0, [30, 40])];
  expect(decodeRate({ timelines: apart }, 2)).toBeUndefined();
});

test('a row counts from the due time and takes the worst round for memory', () => {
  const sample = (peakMemory: number): Sample => ({
    timelines: [timeline(0, [10, 20, 30, 40]), timeline(5, [15, 25, 35, 45])],
    peakMemory,
    eventLoop: 3,
  });
  const row = rowOf({ given, samples: [sample(100), sample(300)] }, undefined);
  expect(row).toMatchObject({
    group: 'closed loop, context 256',
    x: 2,
    who: 'flash-attention-serve, engine',
    requests: 4,
    firstToken: { p50: 0.01, p99: 0.01 },
    perToken: { p50: 0.01, p99: 0.01 },
    answer: { p50: 0.04, p99: 0.04 },
    peakMemory: 300,
    eventLoop: 0.003,
  });
  // 8 tokens in the 45 ms from the first due time to the last end.
  expect(row.tokensPerSecond.median).toBeCloseTo(8 / 0.045, 9);
  expect(row.agreement).toBeUndefined();
});

test('agreement counts what comes before the first difference, whatever follows', () => {
  const made = (answers: number[][]): Measured => ({
    given,
    samples: [{ timelines: answers.map((answer) => timeline(0, [1, 2, 3, 4], answer)) }],
  });
  const ours = made([
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ]);
  const theirs = made([
    [1, 2, 3, 4],
    [5, 9, 7, 8],
  ]);
  expect(rowOf(ours, ours).agreement).toBe(1);
  expect(rowOf(theirs, ours).agreement).toBe((1 + 1 / 4) / 2);
});

describe('figures', () => {
  /** Every token takes as many milliseconds as the contestant is slow, the first ten of them. */
  function measured(slowness: Partial<Record<ContestantName, number>>, stored: number): Measured[] {
    return figurePoints.flatMap(({ users, context, shared, contestants }) =>
      contestants.map((contestant): Measured => {
        const each = slowness[contestant] ?? 1;
        const first = shared ? stored : 10 * each;
        const tokens = [0, 1, 2, 3].map((n) => first + n * each);
        const timelines = Array.from({ length: users }, () => timeline(0, tokens));
        const load = { kind: 'closed', users, requests: 1 } as const;
        const samples = [{ timelines }, { timelines }];
        return { given: { ...given, contestant, load, context, shared }, samples };
      }),
    );
  }

  test('are ratios of the same run, and hold or do not', () => {
    const figures = figuresOf(measured({ loop: 2, batch: 1.75 }, 1));
    expect(figures.map((figure) => figure.measured)).toEqual([2, 1.75, 2, 2, 10]);
    expect(figures.map(({ holds }) => holds)).toEqual([false, true, true, true, true]);
    const slower = figuresOf(measured({ loop: 0.9, batch: 4 }, 2));
    expect(slower.map(({ holds }) => holds)).toEqual([false, true, false, false, false]);
  });

  test('are not made up for what was not measured', () => {
    const without = measured({}, 1).filter((each) => each.given.contestant !== 'batch');
    expect(() => figuresOf(without)).toThrow('batch was not measured with 8 users');
  });
});
