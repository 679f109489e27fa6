import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Generation } from '../../engine/contract.js';
import type { EncodeTask } from '../../text/encode-task.js';
import { PromptTooLongError } from '../../text/prompt-encoder.js';
import { Choice } from '../answer/choice.js';
import type { AnswerFormat } from '../answer/format.js';
import { answerStream, answerWhole, type Choices } from '../answer/respond.js';
import type { ServerContext } from '../context.js';
import { badRequest } from '../errors.js';
import { AnswerClock } from '../metrics/answer-clock.js';
import {
  checkPromptLength,
  contextLengthExceeded,
  type GenerationContext,
  type GenerationPlan,
} from '../request/generation.js';
import type { GenerationFields } from '../request/generation-fields.js';

/** Aborted when the client goes away before it has the whole response. */
export function goneSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController();
  // The request's own 'close' comes as soon as its body is read.
  raw.once('close', () => {
    if (!raw.writableFinished) gone.abort();
  });
  return gone.signal;
}

/** The ids of a prompt that leaves room for an answer. */
export async function encodePrompt(
  { prompts, engine: { info } }: ServerContext,
  task: EncodeTask,
  param: string,
  gone: AbortSignal,
): Promise<Int32Array> {
  try {
    const ids = await prompts.encode(task, gone);
    checkPromptLength(ids.length, info, param);
    return ids;
  } catch (error) {
    if (!(error instanceof PromptTooLongError)) throw error;
    throw contextLengthExceeded(`at least ${error.atLeast}`, info.contextLength, param);
  }
}

/** The ids of a prompt that may be ids already. */
export async function encodeOrCheck(
  context: ServerContext,
  prompt: string | readonly number[],
  param: string,
  gone: AbortSignal,
): Promise<Int32Array> {
  if (typeof prompt === 'string') return encodePrompt(context, prompt, param, gone);
  const { info } = context.engine;
  const wrong = prompt.find((id) => id >= info.vocabSize);
  if (wrong !== undefined) {
    const message = `Invalid '${param}': the model has ids below ${info.vocabSize}, not ${wrong}`;
    throw badRequest(message, param);
  }
  checkPromptLength(prompt.length, info, param);
  return Int32Array.from(prompt);
}

/** Tokens of an answer to a prompt of this length. */
export function maxTokensOf(
  { engine: { info }, options }: ServerContext,
  asked: number | null | undefined,
  promptTokens: number,
): number {
  return Math.min(asked ?? options.defaultMaxTokens, info.contextLength - promptTokens);
}

/** What decides about a request beside its body. */
export function generationContext(
  { engine, prompts, options }: ServerContext,
  { caller, ip }: FastifyRequest,
  { user, cache_salt }: GenerationFields,
): GenerationContext {
  return {
    info: engine.info,
    vocabulary: prompts.text.vocabulary,
    defaults: options.samplingDefaults,
    user: caller ?? user ?? ip,
    // Each part has its place, so that a salt never reads like a key.
    cacheScope: JSON.stringify([caller ?? null, cache_salt ?? null]),
  };
}

/** Starts the answers and sends them, in one piece or as a stream. */
export async function answer(
  context: ServerContext,
  reply: FastifyReply,
  plans: readonly GenerationPlan[],
  format: AnswerFormat,
  { stream, stream_options }: GenerationFields,
  gone: AbortSignal,
): Promise<unknown> {
  gone.throwIfAborted();
  const start = performance.now() - reply.elapsedTime;
  const choices = startAll(context, plans, start);
  const cancel = (): void => {
    for (const choice of choices.flat()) choice.cancel();
  };
  gone.addEventListener('abort', cancel, { once: true });
  if (!stream) return answerWhole(choices, format);
  const includeUsage = stream_options?.include_usage ?? false;
  await answerStream(reply, choices, format, { ...context.options.stream, includeUsage });
  return reply;
}

/** All answers or none. */
function startAll(
  { engine, prompts, metrics }: ServerContext,
  plans: readonly GenerationPlan[],
  start: number,
): Choices {
  const started: Generation[][] = [];
  try {
    for (const plan of plans) started.push(engine.generateGroup(plan.requests));
  } catch (error) {
    for (const generation of started.flat()) generation.cancel();
    throw error;
  }
  const { vocabulary } = prompts.text;
  const model = { vocabulary, eosTokenIds: engine.info.eosTokenIds };
  let index = 0;
  return started.map((group, prompt) => {
    return group.map((generation) => {
      const clock = new AnswerClock(metrics, start);
      return new Choice(index++, generation, plans[prompt], model, clock);
    });
  });
}
