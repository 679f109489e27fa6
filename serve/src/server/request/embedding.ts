import { z } from 'zod';
import { badRequest } from '../errors.js';
import { textOrIds } from './text-or-ids.js';

/** Inputs of one request. */
const maxInputs = 256;

/** Body of POST /v1/embeddings. */
export const embeddingBody = z.object({
  model: z.string({ error: 'expected the name of a model' }).nullish(),
  input: textOrIds(maxInputs),
  encoding_format: z.enum(['float', 'base64'], { error: "expected 'float' or 'base64'" }).nullish(),
  dimensions: z.int().nullish(),
  user: z.string().nullish(),
});

/** @throws ApiError for what OpenAI's API has and this server hasn't */
export function checkEmbedding({ dimensions }: z.output<typeof embeddingBody>): void {
  if (dimensions === undefined || dimensions === null) return;
  throw badRequest("'dimensions' is not supported", 'dimensions', 'unsupported_parameter');
}
