import type { Contestant } from '../../bench/contestant.js';
import { closedLoop, openLoop, poissonArrivals } from '../../bench/load.js';
import { promptOf } from '../../bench/prompts.js';
import { Random } from '../models/index.js';

const noPrompt = () => new Int32Array();

/** Answers one after the other, each in two tokens, and keeps a list of who is answered. */
function oneByOne(): Contestant & { readonly log: string[] } {
  const log: string[] = [];
  let last: Promise<unknown> = Promise.resolve();
  let requests = 0;
  return {
    log,
    answer(_, told) {
      const request = requests++;
      log.push(`asked ${request}`);
      const answer = last.then(async () => {
        for (let n = 0; n < 2; n++) {
          await new Promise((resolve) => setImmediate(resolve));
          told();
        }
        log.push(`answered ${request}`);
        return [request];
      });
      last = answer;
      return answer;
    },
    close: async () => {},
  };
}

test('arrivals are a Poisson process: gaps of the mean asked for, as spread as they are long', () => {
  const arrivals = poissonArrivals(4, 2500, new Random(1));
  const gaps = arrivals.map((time, n) => time - (arrivals[n - 1] ?? 0));
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
  // Of 10,000 exponential gaps of 250 ms: the mean within 4 standard errors.
  expect(Math.abs(mean - 250)).toBeLessThan((4 * 250) / Math.sqrt(gaps.length));
  expect(Math.sqrt(variance) / mean).toBeCloseTo(1, 1);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0);
  expect(arrivals.at(-1)).toBeLessThan(2_500_000);
  expect(poissonArrivals(4, 2500, new Random(1))).toEqual(arrivals);
});

test('an open loop sends before earlier requests are answered, and counts from the due time', async () => {
  const contestant = oneByOne();
  // Holds the event loop for as long as three requests are due.
  const held: Contestant = {
    ...contestant,
    answer(prompt, told) {
      if (contestant.log.length === 0) {
        for (const begin = performance.now(); performance.now() - begin < 30; );
      }
      return contestant.answer(prompt, told);
    },
  };
  const timelines = await openLoop(held, [0, 5, 10], noPrompt);
  expect(timelines.map(({ due }) => due)).toEqual([0, 5, 10]);
  expect(timelines.map(({ tokens }) => tokens.length)).toEqual([2, 2, 2]);
  expect(timelines.map(({ answer }) => answer[0])).toEqual([0, 1, 2]);
  // Whoever was sent late has waited since it was due.
  for (const { due, tokens, end } of timelines) {
    expect(tokens[0] - due).toBeGreaterThanOrEqual(30 - due);
    expect(end).toBeGreaterThanOrEqual(tokens[1]);
  }
});

test('in a closed loop a user asks again when answered, not before', async () => {
  const contestant = oneByOne();
  const timelines = await closedLoop(contestant, 2, 2, noPrompt);
  expect(contestant.log).toEqual([
    ...['asked 0', 'asked 1', 'answered 0', 'asked 2'],
    ...['answered 1', 'asked 3', 'answered 2', 'answered 3'],
  ]);
  expect(timelines.map(({ answer }) => answer[0])).toEqual([0, 1, 2, 3]);
});

test('prompts are of their own, or share all but their last tokens with each other', () => {
  const given = { context: 64, shared: false, seed: 1 } as Parameters<typeof promptOf>[0];
  const equal = (a: Int32Array, b: Int32Array) => a.findIndex((token, at) => token !== b[at]);
  expect(equal(promptOf(given, 0), promptOf(given, 1))).toBe(0);
  expect(promptOf(given, 0)).toEqual(promptOf(given, 0));
  const shared = { ...given, shared: true };
  for (const request of [0, 1]) {
    expect(equal(promptOf(shared, request), promptOf(shared, -1))).toBe(56);
  }
  expect(equal(promptOf(shared, 0), promptOf({ ...shared, seed: 2 }, 0))).toBe(0);
});
