import { uniform } from '../../src/sampler/random.js';

test('uniform numbers fill [0, 1) evenly, and do not hang together', () => {
  const count = 20_000;
  for (const seed of [0, 1, -1, 2 ** 52, Number.MAX_SAFE_INTEGER]) {
    const numbers = Array.from({ length: count }, (_, index) => uniform(seed, index));
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...numbers)).toBeLessThan(1);
    const buckets = new Array(100).fill(0);
    for (const number of numbers) buckets[Math.floor(100 * number)]++;
    // 99 degrees of freedom: one in 10^6 seeds is beyond 180. These seeds are fixed.
    expect(chiSquared(buckets, count / 100)).toBeLessThan(180);
    const pairs = new Array(100).fill(0);
    for (let i = 0; i < count; i++) {
      pairs[10 * Math.floor(10 * numbers[i]) + Math.floor(10 * uniform(seed + 1, i))]++;
    }
    expect(chiSquared(pairs, count / 100)).toBeLessThan(180);
  }
});

test('seeds and indices that differ give numbers that differ', () => {
  const seeds = [0, 1, -1, 2 ** 32, 2 ** 40, 2 ** 52 + 1];
  const numbers = seeds.flatMap((seed) => [0, 1, 2, 2 ** 32].map((index) => uniform(seed, index)));
  expect(new Set(numbers).size).toBe(numbers.length);
  expect(uniform(7, 3)).toBe(uniform(7, 3));
});

function chiSquared(counts: readonly number[], expected: number): number {
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}
