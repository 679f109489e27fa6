import { z } from 'zod';
import { badRequest } from '../errors.js';

const ids = z.array(z.int().min(0));

/** A text, a list of token ids, or a list of up to `max` of either. */
export function textOrIds(max: number) {
  return z.union([z.string(), ids, z.array(z.union([z.string(), ids])).max(max)], {
    error: `expected a string, a list of token ids, or a list of up to ${max} of either`,
  });
}

/** The members of a list, or what stands alone. */
export function listOf(
  given: z.output<ReturnType<typeof textOrIds>>,
  param: string,
): (string | number[])[] {
  if (typeof given === 'string') return [given];
  if (given.length === 0) throw badRequest(`Invalid '${param}': it is empty`, param);
  return typeof given[0] === 'number' ? [given as number[]] : (given as (string | number[])[]);
}
