/**
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a random
 * function of a counter and a key, without state that batches could share.
 *
 * @returns four 32-bit words.
 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = product(0xd2511f53, c0);
    const [high1, low1] = product(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
    k0 += 0x9e3779b9;
    k1 += 0xbb67ae85;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** The high and low words of the product of two 32-bit words. */
function product(a: number, b: number): [number, number] {
  const [aHigh, aLow] = [a >>> 16, a & 0xffff];
  const [bHigh, bLow] = [(b >>> 16) & 0xffff, b & 0xffff];
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const middle2 = aLow * bHigh + (middle % 0x10000);
  const high = aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(middle2 / 0x10000);
  return [high >>> 0, Math.imul(a, b) >>> 0];
}

/**
 * @param seed any integer; of one beyond 64 bits the lowest count.
 * @param index of the token in its answer.
 * @returns uniform in [0, 1), with 53 random bits: the same for the same seed and index.
 */
export function uniform(seed: number, index: number): number {
  const bits = BigInt.asUintN(64, BigInt(seed));
  const key = [Number(bits & 0xffffffffn), Number(bits >> 32n)] as const;
  const [high, low] = philox4x32([index >>> 0, Math.floor(index / 2 ** 32), 0, 0], key);
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}
