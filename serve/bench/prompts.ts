import type { Case } from './contestant.js';

/** Tokens at the end of shared prompts, each of which has its own. */
const ownTokens = 8;

/** Tokens of a prompt for warming up, where nothing is to be known afterwards. */
const warmUpTokens = 64;

/** Of the tokens that prompts are made of: neither special nor beyond the bench's vocabulary. */
const [firstId, ids] = [4, 8000];

/**
 * A prompt without structure; those that are shared differ in their last eight tokens.
 *
 * @param request its number; -1 is the prompt to warm up with.
 */
export function promptOf({ context, shared, seed }: Case, request: number): Int32Array {
  const length = request < 0 && !shared ? Math.min(warmUpTokens, context) : context;
  const own = (seed * 1_000_003 + request + 2) | 0;
  return Int32Array.from({ length }, (_, at) => {
    const of = shared && at < context - ownTokens ? seed : own;
    return firstId + (mix(at, of) % ids);
  });
}

/** An unsigned number that neighbours do not tell (the end of MurmurHash3). */
function mix(at: number, seed: number): number {
  let hash = Math.imul(at + 1, 0x9e3779b1) ^ Math.imul(seed, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
