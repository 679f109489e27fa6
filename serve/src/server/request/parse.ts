import type { z } from 'zod';
import { badRequest } from '../errors.js';
import { checkWellFormed } from './well-formed.js';

/** Names of fields that a log line has room for. */
const maxNames = 16;

/**
 * The body as the schema has it.
 * @param onUnknown told the names of fields that nothing here knows.
 * @throws ApiError naming the first field that is wrong
 */
export function parseBody<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  body: unknown,
  onUnknown: (fields: string[]) => void,
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
  if (unknown.length > 0) onUnknown(unknown.slice(0, maxNames).map((name) => name.slice(0, 64)));
  return result.data;
}

/** `messages[0].content`. */
function showPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text ? `${text}.${String(part)}` : String(part);
  }, '');
}
