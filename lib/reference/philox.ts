/**
 * Philox4x32-10, the counter-based random number generator of Salmon, Moraes, Dror and Shaw,
 * "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011 (section 3.3, table 2).
 *
 * A counter-based generator is a function, not a state: the number for (seed, position) comes from
 * its inputs alone. That is what dropout in attention needs. The backward pass asks again for the
 * mask of the forward pass, in another order and with other tiles, and no mask is ever stored.
 */

import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkFields, checkLength, checkUint64, codeOf } from './check.js';

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
/** Key increments per round: the golden ratio and sqrt(3) - 1, as fractions of 2^32. */
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

/** Upper 32 bits of the 64-bit product of two unsigned 32-bit integers, from 16-bit halves. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + (middle >>> 16) + (carry >>> 16)) >>> 0;
}

/**
 * Four random 32-bit words for a 128-bit counter and a 64-bit key.
 *
 * Each round replaces the counter (c0, c1, c2, c3) by `(high(M1 c2) ^ c1 ^ k0, low(M1 c2), high(M0
 * c0) ^ c3 ^ k1, low(M0 c0))` and then advances the key.
 *
 * @param counter four unsigned 32-bit words, least significant first
 * @param key two unsigned 32-bit words, least significant first
 * @returns four unsigned 32-bit words
 * @throws FlashAttentionError ERR_TYPE or ERR_SHAPE, naming the argument
 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  checkLength('counter', counter, [4], 'words');
  checkLength('key', key, [2], 'words');
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Dropout of attention probabilities: each is zeroed with probability p. */
export interface Dropout {
  /** Probability of dropping a query-key pair, 0 <= p < 1. */
  readonly p: number;
  /** 64 bits that select the stream of random numbers. */
  readonly seed: bigint;
  /**
   * 64 bits that select a place in the stream, so that the layers of a model can share a seed.
   * Default 0.
   */
  readonly offset?: bigint;
}

/**
 * What the probability of the pair (query i, key j) is multiplied by: 0 if the pair is dropped,
 * else 1 / (1 - p).
 *
 * Random word of a pair: key (seed low, seed high ^ offset high), counter (floor(j / 4), i, batch *
 * heads + head, offset low), word j mod 4. The pair is kept iff word >= floor(p * 2^32). So the
 * mask depends on the position in the sequence only, not on tiles, threads or the device.
 *
 * @param plane batch * heads + head, with the query head
 * @throws FlashAttentionError ERR_TYPE or ERR_OPTION, naming the argument
 */
export function dropoutFactor(dropout: Dropout, plane: number): (i: number, j: number) => number {
  checkDropout(dropout);
  const { p, seed, offset = 0n } = dropout;
  const low = (x: bigint) => Number(BigInt.asUintN(32, x));
  const high = (x: bigint) => Number(BigInt.asUintN(32, x >> 32n));
  const key = [low(seed), (high(seed) ^ high(offset)) >>> 0] as const;
  const offsetLow = low(offset);
  const threshold = Math.floor(p * 2 ** 32);
  const kept = 1 / (1 - p);

  // One call of the generator serves four neighbouring keys: remember the last.
  let words: readonly number[] = [];
  let wordsRow = -1;
  let wordsGroup = -1;
  return (i, j) => {
    const group = j >>> 2;
    if (i !== wordsRow || group !== wordsGroup) {
      words = philox4x32([group, i, plane, offsetLow], key);
      wordsRow = i;
      wordsGroup = group;
    }
    return words[j & 3] >= threshold ? kept : 0;
  };
}

export function checkDropout(dropout: Dropout): void {
  checkFields('dropout', dropout, ['p', 'seed', 'offset'], 'dropout.');
  const { p, seed, offset = 0n } = dropout;
  if (typeof p !== 'number' || !(p >= 0 && p < 1)) {
    const code = codeOf(p, 'number', 'ERR_OPTION');
    fail(code, 'dropout.p', 'a number from 0 to less than 1', show(p));
  }
  checkUint64('dropout.seed', seed);
  checkUint64('dropout.offset', offset);
}
