import type * as Library from '@mlc-ai/web-xgrammar';
import type { Vocabulary } from '../text/contract.js';

/** Characters of white space in a row. JSON allows any number, and models may never stop. */
const mostWhitespace = 64;

/** Tokens that are nothing but JSON's white space, and how long they are. */
export class Whitespace {
  readonly lengths = new Map<number, number>();
  /** Bits of all other tokens. */
  readonly others: Int32Array;

  constructor(vocabulary: Vocabulary, vocabSize: number) {
    this.others = new Int32Array(Math.ceil(vocabSize / 32)).fill(-1);
    for (let token = 0; token < vocabulary.size; token++) {
      const bytes = vocabulary.bytes(token);
      if (
        bytes.length === 0 ||
        !bytes.every((byte) => ' \t\n\r'.includes(String.fromCharCode(byte)))
      ) {
        continue;
      }
      this.lengths.set(token, bytes.length);
      this.others[token >> 5] &= ~(1 << token);
    }
  }
}

/** What may come next in one answer. */
export class Matcher {
  readonly #matcher: Library.GrammarMatcher;
  readonly #whitespace: Whitespace;
  readonly #ends: readonly number[];
  #spaces = 0;
  #complete = false;

  constructor(matcher: Library.GrammarMatcher, whitespace: Whitespace, ends: readonly number[]) {
    this.#matcher = matcher;
    this.#whitespace = whitespace;
    this.#ends = ends;
  }

  /** @throws Error when the grammar does not allow the token. */
  accept(token: number): void {
    if (!this.#matcher.acceptToken(token)) {
      throw new Error(`The grammar does not allow token ${token} here.`);
    }
    const spaces = this.#whitespace.lengths.get(token);
    this.#spaces = spaces === undefined ? 0 : this.#spaces + spaces;
    this.#complete = this.#matcher.isTerminated();
  }

  /** @returns bits of the tokens that may come next, and whether none may but an end. */
  async next(): Promise<{ mask: Int32Array; complete: boolean }> {
    const { others } = this.#whitespace;
    if (this.#complete) return { mask: new Int32Array(others.length), complete: true };
    const mask = await this.#matcher.getNextTokenBitmask();
    if (this.#spaces >= mostWhitespace) for (let i = 0; i < mask.length; i++) mask[i] &= others[i];
    return { mask, complete: this.#onlyEnds(mask) };
  }

  #onlyEnds(mask: Int32Array): boolean {
    const rest = mask.slice();
    for (const end of this.#ends) rest[end >> 5] &= ~(1 << end);
    return rest.every((word) => word === 0);
  }

  dispose(): void {
    this.#matcher.dispose();
  }
}
