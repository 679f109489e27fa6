import type { FastifyReply } from 'fastify';
import type { LogprobEntry } from '../../text/logprobs.js';
import { EventStream, type StreamOptions } from '../event-stream.js';
import { toApiError, unavailable } from '../errors.js';
import type { Choice, ChoiceEnd } from './choice.js';
import type { ToolCall } from './tool-calls.js';
import { type AnswerFormat, usageOf, type WholeChoice } from './format.js';

/** The choices of each prompt of a request. */
export type Choices = readonly (readonly Choice[])[];

/** Answers in one piece, when all choices have ended. */
export async function answerWhole(prompts: Choices, format: AnswerFormat): Promise<object> {
  const read = async (choice: Choice): Promise<WholeChoice> => {
    const whole = await readWhole(choice);
    if (isFailed(whole.end)) cancelAll(prompts);
    return whole;
  };
  const whole = await each(prompts, read);
  const failed = whole.flat().find(({ end }) => isFailed(end));
  if (failed) throw failureOf(failed.end);
  return format.whole(whole.flat(), usageOf(whole.map((choices) => choices.map(endOf))));
}

/** Answers token by token. */
export async function answerStream(
  reply: FastifyReply,
  prompts: Choices,
  format: AnswerFormat,
  options: StreamOptions & { readonly includeUsage: boolean },
): Promise<void> {
  const stream = new EventStream(reply, options);
  const ends = await each(prompts, async (choice) => {
    const end = await readInto(stream, choice, format, options);
    if (isFailed(end)) cancelAll(prompts);
    return end;
  });
  const failed = ends.flat().find(isFailed);
  if (failed) {
    if (stream.isOpen) reply.log.error({ err: failed.error }, 'an answer failed in its stream');
    stream.fail(toApiError(failureOf(failed)));
    return;
  }
  if (options.includeUsage) await stream.send(format.usageChunk(usageOf(ends)));
  stream.done();
}

function each<T>(prompts: Choices, read: (choice: Choice) => Promise<T>): Promise<T[][]> {
  return Promise.all(prompts.map((choices) => Promise.all(choices.map(read))));
}

function cancelAll(prompts: Choices): void {
  for (const choice of prompts.flat()) choice.cancel();
}

async function readWhole(choice: Choice): Promise<WholeChoice> {
  const texts: string[] = [];
  const entries: LogprobEntry[] = [];
  const calls: ToolCall[] = [];
  const pieces = choice.pieces();
  let next = await pieces.next();
  for (; !next.done; next = await pieces.next()) {
    texts.push(next.value.text);
    entries.push(...next.value.entries);
    calls.push(...(next.value.calls ?? []));
  }
  return { index: choice.index, text: texts.join(''), entries, calls, end: next.value };
}

async function readInto(
  stream: EventStream,
  choice: Choice,
  format: AnswerFormat,
  { includeUsage }: { readonly includeUsage: boolean },
): Promise<ChoiceEnd> {
  // With include_usage every chunk but the last says that its usage is null.
  const send = (chunk: object): Promise<void> =>
    stream.send(includeUsage ? { ...chunk, usage: null } : chunk);
  const pieces = choice.pieces();
  let isFirst = true;
  let calls = 0;
  let next = await pieces.next();
  for (; !next.done; next = await pieces.next()) {
    await send(format.chunk(choice.index, next.value, isFirst, calls));
    isFirst = false;
    calls += next.value.calls?.length ?? 0;
  }
  const end = next.value;
  if (!isFailed(end)) await send(format.finishChunk(choice.index, end, isFirst));
  return end;
}

const endOf = ({ end }: WholeChoice): ChoiceEnd => end;

/** Whether there is no answer to speak of: nothing of it may look like success. */
const isFailed = ({ reason }: ChoiceEnd): boolean => reason === 'error' || reason === 'abort';

/** An answer is aborted by its client, who reads no more, or because the server stops. */
function failureOf({ reason, error }: ChoiceEnd): unknown {
  return reason === 'abort' ? unavailable('The server is shutting down.') : error;
}
