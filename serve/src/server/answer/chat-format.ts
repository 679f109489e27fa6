import type { LogprobEntry } from '../../text/logprobs.js';
import { type AnswerFormat, type Envelope, finishOf } from './format.js';

/** Objects of /v1/chat/completions. */
export function chatFormat(envelope: Envelope, withLogprobs: boolean): AnswerFormat {
  const logprobs = (entries: readonly LogprobEntry[]): object | null =>
    withLogprobs ? { content: entries.map(showEntry), refusal: null } : null;
  const chunk = (choices: readonly object[], rest?: object): object => {
    return { ...envelope, object: 'chat.completion.chunk', choices, ...rest };
  };
  // The role comes with the first delta, so that no chunk comes before there is a token.
  const role = (isFirst: boolean): object => (isFirst ? { role: 'assistant' } : {});
  return {
    chunk: (index, { text, entries, calls = [] }, isFirst, callsBefore) => {
      const tool_calls = calls.map((call, i) => ({ index: callsBefore + i, ...call }));
      const content = text === '' && calls.length > 0 ? {} : { content: text };
      const delta = { ...role(isFirst), ...content, ...(calls.length > 0 ? { tool_calls } : {}) };
      return chunk([{ index, delta, logprobs: logprobs(entries), finish_reason: null }]);
    },
    finishChunk: (index, end, isFirst) => {
      const delta = isFirst ? { ...role(true), content: '' } : {};
      return chunk([{ index, delta, logprobs: null, ...finishOf(end) }]);
    },
    usageChunk: (usage) => chunk([], { usage }),
    whole: (choices, usage) => ({
      ...envelope,
      object: 'chat.completion',
      choices: choices.map(({ index, text, entries, calls, end }) => ({
        index,
        message: {
          role: 'assistant',
          content: text === '' && calls.length > 0 ? null : text,
          refusal: null,
          ...(calls.length > 0 ? { tool_calls: calls } : {}),
        },
        logprobs: logprobs(entries),
        ...finishOf(end),
      })),
      usage,
    }),
  };
}

function showEntry({ token, logprob, bytes, top }: LogprobEntry): object {
  return { token, logprob, bytes, top_logprobs: top };
}
