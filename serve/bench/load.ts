import type { Random } from '../test/models/index.js';
import type { Contestant, Timeline } from './contestant.js';

/** Every user sends the next request as soon as the last one is answered. */
export async function closedLoop(
  contestant: Contestant,
  users: number,
  requests: number,
  promptOf: (request: number) => Int32Array,
): Promise<Timeline[]> {
  const now = clock();
  const timelines: Timeline[] = [];
  await Promise.all(
    Array.from({ length: users }, async (_, user) => {
      for (let n = 0; n < requests; n++) {
        const request = n * users + user;
        timelines[request] = await answered(contestant, promptOf(request), now(), now);
      }
    }),
  );
  return timelines;
}

/**
 * Requests are sent when they are due, whether or not earlier ones are answered. Their times count
 * from when they were due: whoever holds the event loop so that requests are sent late, or makes
 * them wait, is not spared the wait (coordinated omission).
 *
 * @param arrivals milliseconds after the beginning, ascending.
 */
export async function openLoop(
  contestant: Contestant,
  arrivals: readonly number[],
  promptOf: (request: number) => Int32Array,
): Promise<Timeline[]> {
  const now = clock();
  return Promise.all(
    arrivals.map(async (due, request) => {
      await new Promise((resolve) => setTimeout(resolve, due - now()));
      return answered(contestant, promptOf(request), due, now);
    }),
  );
}

/** Moments of a Poisson process: `rate` a second for so many seconds, in milliseconds. */
export function poissonArrivals(rate: number, seconds: number, random: Random): number[] {
  const arrivals: number[] = [];
  for (;;) {
    const gap = (-Math.log(1 - random.next()) / rate) * 1000;
    const next = (arrivals.at(-1) ?? 0) + gap;
    if (next >= seconds * 1000) return arrivals;
    arrivals.push(next);
  }
}

function clock(): () => number {
  const begin = performance.now();
  return () => performance.now() - begin;
}

async function answered(
  contestant: Contestant,
  prompt: Int32Array,
  due: number,
  now: () => number,
): Promise<Timeline> {
  const tokens: number[] = [];
  const answer = await contestant.answer(prompt, () => tokens.push(now()));
  return { due, tokens, end: now(), answer };
}
