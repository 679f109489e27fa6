import type { LogprobEntry } from '../../text/logprobs.js';
import { type AnswerFormat, type Envelope, finishOf } from './format.js';

/** Objects of /v1/completions. */
export function completionFormat(envelope: Envelope, withLogprobs: boolean): AnswerFormat {
  const logprobs = (entries: readonly LogprobEntry[]): object | null =>
    withLogprobs ? showEntries(entries) : null;
  const answer = (choices: readonly object[], rest?: object): object => {
    return { ...envelope, object: 'text_completion', choices, ...rest };
  };
  return {
    chunk: (index, { text, entries }) => {
      return answer([{ index, text, logprobs: logprobs(entries), finish_reason: null }]);
    },
    finishChunk: (index, end) => answer([{ index, text: '', logprobs: null, ...finishOf(end) }]),
    usageChunk: (usage) => answer([], { usage }),
    whole: (choices, usage) =>
      answer(
        choices.map(({ index, text, entries, end }) => {
          return { index, text, logprobs: logprobs(entries), ...finishOf(end) };
        }),
        { usage },
      ),
  };
}

function showEntries(entries: readonly LogprobEntry[]): object {
  return {
    tokens: entries.map(({ token }) => token),
    token_logprobs: entries.map(({ logprob }) => logprob),
    // Tokens with the same text share a key. The likelier one comes first and stays.
    top_logprobs: entries.map(({ top }) => {
      return Object.fromEntries([...top].reverse().map(({ token, logprob }) => [token, logprob]));
    }),
    text_offset: entries.map(({ offset }) => offset),
  };
}
