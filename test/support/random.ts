// Jest runs tests in a context of their own, where looking up a global costs as much as a thousand
// multiplications.
const { imul } = Math;

/** Seeded uniform numbers in [0, 1): mulberry32, good enough to make test data. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = imul(state ^ (state >>> 15), 1 | state);
    t = (t + imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
