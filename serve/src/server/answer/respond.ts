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
  const ends = whole.map((choices) => choices.map(({ end }) => end));
  const failure = failureOf(ends.flat());
  if (failure) throw failure;
  return format.whole(whole.flat(), usageOf(ends));
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
  // Nobody is left to be told anything, and nothing went wrong.
  if (reply.raw.destroyed) return;
  const failure = failureOf(ends.flat());
  if (failure) {
    if (stream.isOpen) reply.log.error({ err: failure }, 'an answer failed in its stream');
    stream.fail(toApiError(failure));
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

/** Whether there is no answer to speak of: nothing of it may look like success. */
const isFailed = ({ reason }: ChoiceEnd): boolean => reason === 'error' || reason === 'abort';

/** Why the choices are no answer, if they are none. One that failed has the others aborted. */
function failureOf(ends: readonly ChoiceEnd[]): Error | undefined {
  const failed = ends.find(({ reason }) => reason === 'error');
  if (failed) return failed.error ?? new Error('an answer failed without an error');
  // Aborted by the client, who reads no more, or because the server stops.
  return ends.some(isFailed) ? unavailable('The server is shutting down.') : undefined;
}
