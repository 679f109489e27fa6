/**
 * Uniform integers below a bound from a 64-bit seed: SplitMix64 (Steele, Lea & Flood 2014) for the
 * state, xoshiro128** (Blackman & Vigna 2021) for the numbers. The same on every machine.
 */
export function randomIntegers(seed: bigint): (below: number) => number {
  const mask64 = (1n << 64n) - 1n;
  let counter = seed & mask64;
  const splitMix = (): bigint => {
    counter = (counter + 0x9e3779b97f4a7c15n) & mask64;
    let z = counter;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask64;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask64;
    return z ^ (z >> 31n);
  };
  const halves = [splitMix(), splitMix()].flatMap((word) => [
    Number(word & 0xffffffffn) | 0,
    Number(word >> 32n) | 0,
  ]);
  let [a, b, c, d] = halves as [number, number, number, number];
  const rotate = (x: number, count: number) => (x << count) | (x >>> (32 - count));
  const next = (): number => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result;
  };
  return (below) => {
    // Numbers past the last whole multiple of `below` would favour the small results.
    const limit = 2 ** 32 - (2 ** 32 % below);
    let value = next();
    while (value >= limit) value = next();
    return value % below;
  };
}
