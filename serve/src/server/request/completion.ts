import { z } from 'zod';
import { badRequest } from '../errors.js';
import { generationFields } from './generation-fields.js';
import { textOrIds } from './text-or-ids.js';

/** Prompts of one request. */
const maxPrompts = 16;

/** Body of POST /v1/completions. */
export const completionBody = z.object({
  ...generationFields,
  prompt: textOrIds(maxPrompts),
  logprobs: z
    .int({ error: 'expected a whole number from 0 to 5' })
    .min(0, { error: 'expected a whole number from 0 to 5' })
    .max(5, { error: 'expected a whole number from 0 to 5' })
    .nullish(),
  // Refused, see below.
  echo: z.boolean().nullish(),
  suffix: z.string().nullish(),
  best_of: z.int().nullish(),
  prompt_logprobs: z.int().nullish(),
});

export type CompletionBody = z.output<typeof completionBody>;

/** @throws ApiError for what OpenAI's API has and this server hasn't */
export function checkCompletion(body: CompletionBody): void {
  const refuse = (param: string): never => {
    throw badRequest(`'${param}' is not supported`, param, 'unsupported_parameter');
  };
  if (body.echo) refuse('echo');
  if (body.suffix) refuse('suffix');
  if (body.prompt_logprobs !== undefined && body.prompt_logprobs !== null) {
    refuse('prompt_logprobs');
  }
  if ((body.best_of ?? 1) > (body.n ?? 1)) refuse('best_of');
}
