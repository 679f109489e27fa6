import { z } from 'zod';
import type { GenerationRequest } from '../engine/contract.js';
import { decodeFrame, encodeFrame } from './frame.js';

const id = z.string().min(1).max(128);

/** A {@link GenerationRequest} but for its tokens; the engine judges the numbers. */
const request = z.object({
  maxTokens: z.number(),
  minTokens: z.number(),
  ignoreEos: z.boolean(),
  stopTokenIds: z.array(z.number()),
  sampling: z.object({
    temperature: z.number(),
    topK: z.number(),
    topP: z.number(),
    minP: z.number(),
    repetitionPenalty: z.number(),
    presencePenalty: z.number(),
    frequencyPenalty: z.number(),
    logitBias: z.array(z.tuple([z.number(), z.number()])),
    seed: z.number(),
  }),
  responseFormat: z.union([
    z.object({ type: z.literal('text') }),
    z.object({ type: z.literal('json_object') }),
    z.object({ type: z.literal('json_schema'), schema: z.unknown() }),
  ]),
  topLogprobs: z.number().optional(),
  speculativeTokens: z.number(),
  priority: z.number(),
  user: z.string(),
  cacheScope: z.string(),
});

/** Work: an answer, with what of it is there already, or an embedding. */
const run = z.object({
  id,
  frontend: id,
  /** Undefined: an embedding of the ids. */
  request: request.optional(),
  /** How many of the ids, the last ones, are tokens of the answer. */
  generated: z.int().nonnegative(),
  /** Pages in the object store that are to be loaded first. */
  pages: z.string().optional(),
  /** The worker leaves it to another one after the first token. */
  leave: z.boolean().optional(),
  /** Headers of a trace that this is a part of. */
  trace: z.record(z.string(), z.string()).optional(),
});
export type Run = Omit<z.infer<typeof run>, 'request' | 'generated'> & {
  /** Undefined: an embedding of the tokens. */
  readonly request?: GenerationRequest;
  readonly tokens: Int32Array;
};

export function encodeRun({ request: given, tokens, ...rest }: Run): Uint8Array {
  if (given === undefined) return encodeFrame({ ...rest, generated: 0 }, tokens);
  const { prompt, generated = new Int32Array(), sampling, ...fields } = given;
  const logitBias = [...sampling.logitBias];
  const request = { ...fields, sampling: { ...sampling, logitBias } };
  return encodeFrame({ ...rest, request, generated: generated.length }, prompt, generated);
}

/** @throws Error for bytes that are no such message. */
export function decodeRun(bytes: Uint8Array): Run {
  const { value, ids } = decodeFrame(bytes);
  const { request: given, generated, ...rest } = run.parse(value);
  if (given === undefined) return { ...rest, tokens: ids };
  const length = Math.max(0, ids.length - generated);
  const sampling = { ...given.sampling, logitBias: new Map(given.sampling.logitBias) };
  const request: GenerationRequest = {
    ...given,
    sampling,
    prompt: ids.slice(0, length),
    ...(generated > 0 ? { generated: ids.slice(length) } : {}),
  };
  return { ...rest, request, tokens: ids };
}
