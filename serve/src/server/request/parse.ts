import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { badRequest } from '../errors.js';
import { checkWellFormed } from './well-formed.js';

/** Names of fields that a log line has room for. */
const maxNames = 16;

/**
 * The body as the schema has it. Fields that nothing here knows are ignored; the log has their
 * names.
 * @throws ApiError naming the first field that is wrong
 */
export function parseBody<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  { body, log }: FastifyRequest,
): z.output<z.ZodObject<Shape>> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw badRequest('The request body has to be a JSON object.');
  }
  checkWellFormed(body);
  const result = schema.safeParse(body);
  if (!result.success) {
    const [{ path, message }] = result.error.issues;
    const param = showPath(path);
    throw badRequest(param ? `Invalid '${param}': ${message}` : message, param || undefined);
  }
  const unknown = Object.keys(body).filter((name) => !Object.hasOwn(schema.shape, name));
  if (unknown.length > 0) {
    const names = unknown.slice(0, maxNames).map((name) => name.slice(0, 64));
    log.warn({ unknown: names }, 'fields ignored');
  }
  return result.data;
}

/** `messages[0].content`. */
function showPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text ? `${text}.${String(part)}` : String(part);
  }, '');
}
