// What frontends and workers tell each other, checked where it is read.
import { z } from 'zod';
import type { EngineStats, ModelInfo, WorkerUsage } from '../engine/contract.js';
import { EngineError } from '../engine/errors.js';
import type { SamplingDefaults } from '../model/settings.js';

const count = z.int().nonnegative();
const id = z.string().min(1).max(128);

const modelInfo = z.object({
  name: z.string(),
  vocabSize: count,
  contextLength: count,
  layers: count,
  heads: count,
  kvHeads: count,
  headDim: count,
  eosTokenIds: z.array(count),
  embeddings: z.boolean(),
  longRopeFrom: count.optional(),
}) satisfies z.ZodType<ModelInfo>;

const stats = z.object({
  running: count,
  waiting: count,
  cache: z.object({ pages: count, free: count, used: count, stored: count, pageSize: count }),
  promptTokens: count,
  generationTokens: count,
  prefixQueries: count,
  prefixHits: count,
  preemptions: count,
  draftTokens: count,
  acceptedTokens: count,
  steps: count,
  batchTokens: count,
  stepMilliseconds: z.number(),
  finished: z.object({ stop: count, length: count, abort: count, error: count }),
}) satisfies z.ZodType<EngineStats>;

/** What a worker does of an answer: its prompt, the tokens behind that, or both. */
export const roles = ['prefill', 'decode', 'both'] as const;
export type Role = (typeof roles)[number];

const usage = z.object({
  memoryBytes: count,
  processorSeconds: z.number(),
  savedTokens: count,
  savedBytes: count,
  loadedTokens: count,
  loadedBytes: count,
  reusedTokens: count,
}) satisfies z.ZodType<WorkerUsage>;

/** What a worker is, as long as it lives. */
const hello = z.object({
  worker: id,
  info: modelInfo,
  samplingDefaults: z.custom<SamplingDefaults>((value) => typeof value === 'object'),
  /** Of the model's tokenizer and template: workers of one cluster have the same. */
  text: z.string(),
  pages: count,
  pageSize: count,
  prefixCache: z.boolean(),
  role: z.enum(roles),
  /** Answers side by side, and with those that may wait. */
  maxRunning: count,
  places: count,
});
export type Hello = z.infer<typeof hello>;

/** Said again and again. */
const beat = z.object({
  worker: id,
  /** It takes nothing new. */
  draining: z.boolean(),
  /** Its engine computes; else it is being started again. */
  healthy: z.boolean(),
  /** Work under way, of all frontends. */
  live: count,
  stats: stats.optional(),
  usage,
  /** Changes of its stored prefixes, which lead from one version of them to the next. */
  prefixes: z.object({
    from: count,
    to: count,
    added: z.array(count),
    removed: z.array(count),
  }),
});
export type Beat = z.infer<typeof beat>;

const failure = z.object({
  code: z.enum([
    ...([
      'context_length_exceeded',
      'queue_full',
      'invalid_request',
      'engine_unavailable',
    ] as const),
    ...(['cache_too_small', 'model_failed'] as const),
  ]),
  message: z.string(),
  retryAfter: z.number().optional(),
});
export type Failure = z.infer<typeof failure>;

export function failureOf({ code, message, retryAfter }: EngineError): Failure {
  return { code, message, ...(retryAfter === undefined ? {} : { retryAfter }) };
}

export function errorOf({ code, message, retryAfter }: Failure): EngineError {
  return new EngineError(code, message, { retryAfter });
}

/** JSON has no infinity: a token that can't be has the logarithm null. */
const logprob = z.number().nullable();
const logprobs = z.tuple([logprob, z.array(z.tuple([count, logprob]))]);

/** What becomes of some work. Work is known by the id that its frontend gave it. */
const event = z.union([
  z.object({ id, accepted: z.literal(true) }),
  /** Tokens of an answer from the `at`-th on; those that another worker made count. */
  z.object({ id, at: count, tokens: z.array(count), logprobs: z.array(logprobs).optional() }),
  z.object({
    id,
    finish: z.object({
      reason: z.enum(['stop', 'length', 'abort', 'error']),
      stopToken: count.optional(),
      promptTokens: count,
      cachedTokens: count,
      completionTokens: count,
      acceptedTokens: count,
    }),
    failure: failure.optional(),
  }),
  z.object({ id, embedding: z.string() }),
  /** The worker leaves it to another one, with its pages in the object store if they are there. */
  z.object({ id, left: z.object({ pages: z.string().optional() }) }),
  z.object({ id, failure }),
]);
export type WorkEvent = z.infer<typeof event>;

/** From a worker to a frontend: what happened, or which of its work is there, and how far it is. */
const report = z.union([
  z.object({ worker: id, events: z.array(event) }),
  z.object({ worker: id, live: z.array(z.tuple([id, count])) }),
]);
export type Report = z.infer<typeof report>;

const cancel = z.object({ frontend: id, ids: z.array(id) });
const alive = z.object({ frontend: id });

const reader =
  <T>(schema: z.ZodType<T>) =>
  (bytes: Uint8Array): T =>
    schema.parse(JSON.parse(new TextDecoder().decode(bytes)));

export const readHello = reader(hello);
export const readBeat = reader(beat);
export const readReport = reader(report);
export const readCancel = reader(cancel);
export const readAlive = reader(alive);
