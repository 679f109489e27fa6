import type { TokenEvent } from '../engine/contract.js';
import type { Vocabulary } from './contract.js';

/** A token with its probability, as the API shows it. */
export interface TokenLogprob {
  /** Its bytes as text; what is no UTF-8 by itself shows as U+FFFD. */
  readonly token: string;
  readonly logprob: number;
  /** Its own bytes, whatever stands beside it. */
  readonly bytes: readonly number[];
}

/** One token of an answer, with the likeliest in its place. */
export interface LogprobEntry extends TokenLogprob {
  /** UTF-16 units of the answer's text before it. */
  readonly offset: number;
  readonly top: readonly TokenLogprob[];
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** JSON has no infinity. OpenAI's API says -9999 for what is next to impossible. */
const least = -9999;

/** @param offset UTF-16 units of the answer's text before the token. */
export function logprobEntry(
  vocabulary: Vocabulary,
  event: TokenEvent,
  offset: number,
): LogprobEntry {
  return {
    ...tokenLogprob(vocabulary, event.token, event.logprob ?? least),
    offset,
    top: (event.top ?? []).map(({ token, logprob }) => tokenLogprob(vocabulary, token, logprob)),
  };
}

function tokenLogprob(vocabulary: Vocabulary, token: number, logprob: number): TokenLogprob {
  const bytes = vocabulary.bytes(token);
  return {
    token: utf8.decode(bytes),
    logprob: Number.isFinite(logprob) ? Math.max(logprob, least) : least,
    bytes: Array.from(bytes),
  };
}
