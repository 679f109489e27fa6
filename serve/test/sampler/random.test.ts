import { philox4x32, uniform } from '../../src/sampler/random.js';

test('Philox4x32-10 gives the known answers of Random123', () => {
  const all = 0xffffffff;
  expect(philox4x32([0, 0, 0, 0], [0, 0])).toEqual([
    0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8,
  ]);
  expect(philox4x32([all, all, all, all], [all, all])).toEqual([
    0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
  ]);
  expect(
    philox4x32([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
  ).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
});

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
