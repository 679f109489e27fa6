import { z } from 'zod';

/** Answers to one request. */
const maxChoices = 16;

const integer = (min: number, max: number) =>
  z
    .int({ error: `expected a whole number from ${min} to ${max}` })
    .min(min, { error: `expected a whole number from ${min} to ${max}` })
    .max(max, { error: `expected a whole number from ${min} to ${max}` })
    .nullish();

const number = (min: number, max: number) =>
  z
    .number({ error: `expected a number from ${min} to ${max}` })
    .min(min, { error: `expected a number from ${min} to ${max}` })
    .max(max, { error: `expected a number from ${min} to ${max}` })
    .nullish();

const flag = z.boolean({ error: 'expected true or false' }).nullish();

const shortText = z
  .string({ error: 'expected a string of at most 256 characters' })
  .max(256, { error: 'expected a string of at most 256 characters' });

const stop = z
  .string({ error: 'expected a string' })
  .min(1, { error: 'a stop string must not be empty' })
  .max(256, { error: 'a stop string has at most 256 characters' });

const stops = z.array(stop).max(4, { error: 'there are at most 4 stop strings' });

const tokenIds = z
  .array(z.int({ error: 'expected a token id' }).min(0, { error: 'expected a token id' }))
  .max(64, { error: 'there are at most 64 ids' });

const bias = z
  .number({ error: 'expected a number from -100 to 100' })
  .min(-100, { error: 'expected a number from -100 to 100' })
  .max(100, { error: 'expected a number from -100 to 100' });

const logitBias = z
  .record(z.string().regex(/^\d{1,7}$/, { error: 'expected a token id' }), bias)
  .refine((map) => Object.keys(map).length <= 1024, { error: 'there are at most 1024 entries' });

const responseFormat = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('text') }),
    z.object({ type: z.literal('json_object') }),
    z.object({
      type: z.literal('json_schema'),
      json_schema: z.object({
        schema: z.record(z.string(), z.unknown(), { error: 'expected a JSON schema' }),
      }),
    }),
  ],
  { error: "expected type 'text', 'json_object' or 'json_schema'" },
);

/** Fields of both completion routes. null is as good as absent, as in OpenAI's API. */
export const generationFields = {
  model: z.string({ error: 'expected the name of a model' }).nullish(),
  max_tokens: integer(1, 2 ** 31 - 1),
  temperature: number(0, 2),
  top_p: number(0, 1),
  n: integer(1, maxChoices),
  stop: z.union([stop, stops], { error: 'expected a string or up to 4 strings' }).nullish(),
  stream: flag,
  stream_options: z.object({ include_usage: flag }, { error: 'expected an object' }).nullish(),
  seed: integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  presence_penalty: number(-2, 2),
  frequency_penalty: number(-2, 2),
  logit_bias: logitBias.nullish(),
  response_format: responseFormat.nullish(),
  user: shortText.nullish(),

  // What OpenAI's API doesn't have. The names are those of vLLM.
  top_k: integer(-1, 2 ** 31 - 1),
  min_p: number(0, 1),
  repetition_penalty: number(0.01, 10),
  min_tokens: integer(0, 2 ** 31 - 1),
  ignore_eos: flag,
  stop_token_ids: tokenIds.nullish(),
  include_stop_str_in_output: flag,
  skip_special_tokens: flag,
  priority: integer(-(2 ** 31), 2 ** 31 - 1),
  num_speculative_tokens: integer(0, 16),
  cache_salt: shortText.nullish(),
};

export type GenerationFields = z.output<z.ZodObject<typeof generationFields>>;
