import { createHash, timingSafeEqual } from 'node:crypto';

const digestOf = (key: string): Buffer => createHash('sha256').update(key).digest();

/** The keys that clients may come with. */
export class ApiKeys {
  readonly #digests: readonly Buffer[];

  /** @param keys at least one */
  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digestOf);
  }

  /**
   * A name of the key that reveals nothing of it, or undefined when it is none. All keys are
   * compared, by digests of one length: neither the time nor an error tells how close a guess is.
   */
  identify(key: string): string | undefined {
    const digest = digestOf(key);
    let found: Buffer | undefined;
    for (const known of this.#digests) {
      if (timingSafeEqual(known, digest)) found = known;
    }
    return found?.toString('hex', 0, 8);
  }
}

/** Keys of a file: one in each line, `#` begins a comment. */
export function parseKeys(text: string): string[] {
  const lines = text.split(/\r?\n/).map((line) => line.replace(/(^|\s)#.*$/, '').trim());
  return lines.filter((line) => line !== '');
}
