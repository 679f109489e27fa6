import type { TokenEvent } from '../engine/contract.js';
import type { Vocabulary } from './contract.js';
import { type LogprobEntry, logprobEntry } from './logprobs.js';
import { StopStrings } from './stop-strings.js';
import { Utf8Stream } from './utf8-stream.js';

/** How an answer's tokens become text. */
export interface TextOptions {
  readonly stops: readonly string[];
  /** Shows the stop string that ended the answer. */
  readonly includeStop: boolean;
  /** Shows control tokens. */
  readonly showSpecial: boolean;
  /** Tokens before which stop strings count for nothing. */
  readonly minTokens: number;
  readonly logprobs: boolean;
}

/** A part of an answer's text. */
export interface TextPiece {
  readonly text: string;
  /** Of the tokens that this piece completes. None unless asked for. */
  readonly entries: readonly LogprobEntry[];
  /** The stop string that ended the answer. */
  readonly stop?: string;
}

/** A token whose text has not been shown to its end. */
interface PendingToken {
  readonly entry: LogprobEntry;
  /** Length of the answer's text at which the token has been shown. */
  readonly end: number;
}

/** One answer: tokens in, text out, what is shown never taken back. */
export class AnswerText {
  readonly #vocabulary: Vocabulary;
  readonly #options: TextOptions;
  readonly #utf8 = new Utf8Stream();
  readonly #stops: StopStrings;
  readonly #pending: PendingToken[] = [];
  #decoded = 0;
  #shown = 0;
  /** Tokens pushed. */
  #count = 0;

  constructor(vocabulary: Vocabulary, options: TextOptions) {
    this.#vocabulary = vocabulary;
    this.#options = options;
    this.#stops = new StopStrings(options.stops, options.includeStop);
  }

  push(event: TokenEvent): TextPiece {
    const vocabulary = this.#vocabulary;
    const options = this.#options;
    this.#count++;
    const offset = this.#decoded;
    const isHidden = vocabulary.isSpecial(event.token) && !options.showSpecial;
    const text = isHidden ? '' : this.#utf8.push(vocabulary.bytes(event.token));
    this.#decoded += text.length;
    if (options.logprobs) {
      const entry = logprobEntry(vocabulary, event, offset);
      // A token that leaves a code point open is shown with the one that closes it.
      this.#pending.push({ entry, end: this.#decoded + (this.#utf8.isIncomplete ? 1 : 0) });
    }
    if (this.#count <= options.minTokens) return this.#show(text);
    const { text: free, stop } = this.#stops.push(text);
    return this.#show(free, stop);
  }

  /** The rest, when the answer has ended by itself. */
  end(): TextPiece {
    const rest = this.#utf8.end();
    const { text, stop } = this.#stops.push(rest);
    if (stop !== undefined) return this.#show(text, stop);
    return { text: text + this.#stops.end(), entries: this.#takeEntries(Infinity) };
  }

  #show(text: string, stop?: string): TextPiece {
    this.#shown += text.length;
    const entries = this.#takeEntries(this.#shown);
    if (stop === undefined) return { text, entries };
    // The token that the stop string begins in belongs to the text, those inside it don't.
    const first = this.#pending.find(({ entry }) => entry.offset < this.#shown);
    return { text, entries: first ? [...entries, first.entry] : entries, stop };
  }

  /** Of the tokens shown when the text has this length. */
  #takeEntries(length: number): LogprobEntry[] {
    const open = this.#pending.findIndex(({ end }) => end > length);
    const done = this.#pending.splice(0, open < 0 ? this.#pending.length : open);
    return done.map(({ entry }) => entry);
  }
}
