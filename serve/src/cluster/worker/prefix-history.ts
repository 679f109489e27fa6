import type { PrefixChange } from '../../engine/contract.js';
import type { Beat } from '../messages.js';

/** Hashes in one message of 1 MiB, 8 bytes each. */
const mostHashes = 2 ** 16;

/** What a worker stores, with a number for each state of it that frontends were told. */
export class PrefixHistory {
  #stored = new Set<number>();
  #version = 0;
  #changed = new Map<number, boolean>();
  /** The next change does not fit a message: frontends ask for all. */
  #broken = false;

  add({ added, removed, reset }: PrefixChange): void {
    if (reset) {
      this.#stored.clear();
      this.#changed.clear();
      this.#broken = true;
    }
    for (const hash of removed) {
      this.#stored.delete(hash);
      this.#changed.set(hash, false);
    }
    for (const hash of added) {
      this.#stored.add(hash);
      this.#changed.set(hash, true);
    }
  }

  /** The change since the last call. */
  next(): Beat['prefixes'] {
    const change = { added: [] as number[], removed: [] as number[] };
    const fits = !this.#broken && this.#changed.size <= mostHashes / 4;
    if (fits) {
      for (const [hash, stored] of this.#changed) change[stored ? 'added' : 'removed'].push(hash);
    }
    const quiet = !this.#broken && this.#changed.size === 0;
    this.#changed.clear();
    this.#broken = false;
    const before = this.#version;
    if (!quiet) this.#version++;
    // From a version that nobody has: see above.
    return { from: fits ? before : this.#version, to: this.#version, ...change };
  }

  /** All that is stored, the latest if that is too much: the version, then hashes. */
  snapshot(): Uint8Array {
    const hashes = [...this.#stored].slice(-mostHashes);
    // What changed since the version comes again with the next change, and does no harm.
    return new Uint8Array(Float64Array.of(this.#version, ...hashes).buffer);
  }
}

/** @throws Error for bytes that are no snapshot. */
export function readSnapshot(bytes: Uint8Array): { version: number; hashes: Float64Array } {
  if (bytes.length < 8 || bytes.length % 8 !== 0) throw new Error('That is no list of hashes.');
  const numbers = new Float64Array(Uint8Array.from(bytes).buffer);
  return { version: numbers[0], hashes: numbers.subarray(1) };
}
