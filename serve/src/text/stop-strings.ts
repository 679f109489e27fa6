/** What may be shown of a text that stop strings end. */
export interface StopResult {
  readonly text: string;
  /** The string that ended the text, if one did. */
  readonly stop?: string;
}

/**
 * Finds stop strings in a text that comes in pieces, wherever the pieces begin. Holds back no more
 * than the longest end of the text that a stop string begins with.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  readonly #include: boolean;
  #held = '';

  /** @param include whether the stop string that ends the text is shown. */
  constructor(stops: readonly string[], include: boolean) {
    this.#stops = stops;
    this.#include = include;
  }

  push(piece: string): StopResult {
    const text = this.#held + piece;
    const found = this.#find(text);
    if (found) {
      this.#held = '';
      const end = found.index + (this.#include ? found.stop.length : 0);
      return { text: text.slice(0, end), stop: found.stop };
    }
    const shown =
      text.length - Math.max(0, ...this.#stops.map((stop) => possibleStart(text, stop)));
    this.#held = text.slice(shown);
    return { text: text.slice(0, shown) };
  }

  /** What was held back and has become no stop string. */
  end(): string {
    const text = this.#held;
    this.#held = '';
    return text;
  }

  /**
   * The one that is complete first: what would come after it is never generated. Of two that end
   * together, the longer.
   */
  #find(text: string): { index: number; stop: string } | undefined {
    let first: { index: number; stop: string; end: number } | undefined;
    for (const stop of this.#stops) {
      const index = text.indexOf(stop);
      if (index < 0) continue;
      const end = index + stop.length;
      if (!first || end < first.end || (end === first.end && index < first.index)) {
        first = { index, stop, end };
      }
    }
    return first;
  }
}

/** Length of the longest end of the text that is a proper prefix of the mark. */
export function possibleStart(text: string, mark: string): number {
  for (let length = Math.min(mark.length - 1, text.length); length > 0; length--) {
    if (mark.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
