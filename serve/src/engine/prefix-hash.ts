import type { GenerationRequest, ModelInfo } from './contract.js';

/** Whether all keys of an answer are turned by the long table of a longrope model. */
export function isLongRope(
  { prompt, maxTokens }: Pick<GenerationRequest, 'prompt' | 'maxTokens'>,
  { longRopeFrom = Infinity, contextLength }: ModelInfo,
): boolean {
  return Math.min(prompt.length + maxTokens, contextLength) > longRopeFrom;
}

/** What stored prefixes are apart by. Keys that another rope table turned are other keys. */
export function prefixScope(scope: string, longRope: boolean): string {
  return `${longRope ? 'long' : 'short'}:${scope}`;
}

/** Where the chain of a scope's hashes begins. */
export function scopeHash(scope: string): number {
  const hash = new Hash(0);
  for (let i = 0; i < scope.length; i++) hash.add(scope.charCodeAt(i));
  return hash.value;
}

/** @param before the hash of the page before, or that of the scope. */
export function pageHash(before: number, tokens: ArrayLike<number>): number {
  const hash = new Hash(before);
  for (let i = 0; i < tokens.length; i++) hash.add(tokens[i]);
  return hash.value;
}

/** The hashes of all whole pages of a text, each of its own tokens and all before them. */
export function pageHashes(scope: string, tokens: Int32Array, pageSize: number): number[] {
  const hashes: number[] = [];
  let last = scopeHash(scope);
  for (let end = pageSize; end <= tokens.length; end += pageSize) {
    last = pageHash(last, tokens.subarray(end - pageSize, end));
    hashes.push(last);
  }
  return hashes;
}

/**
 * 53 bits in two lanes of multiply and xor. What has an equal hash is sent to where it is not
 * stored, no more: caches compare the tokens themselves.
 */
class Hash {
  #low: number;
  #high: number;

  constructor(seed: number) {
    this.#low = 0xdeadbeef ^ (seed >>> 0);
    this.#high = 0x41c6ce57 ^ Math.floor(seed / 2 ** 32);
  }

  add(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x9e3779b1);
    this.#low ^= this.#low >>> 15;
    this.#high = Math.imul(this.#high ^ value, 0x5f356495);
    this.#high ^= this.#high >>> 13;
  }

  get value(): number {
    const low = Math.imul(this.#low ^ (this.#high >>> 16), 0x85ebca6b);
    const high = Math.imul(this.#high ^ (this.#low >>> 13), 0xc2b2ae35);
    return ((high ^ (high >>> 16)) & 0x1fffff) * 2 ** 32 + ((low ^ (low >>> 15)) >>> 0);
  }
}
