import { philox4x32 } from 'flash-attention/reference';

/**
 * A random function of a seed and a place, without state that batches could share.
 *
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
