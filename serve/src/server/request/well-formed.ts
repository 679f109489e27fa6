import { badRequest } from '../errors.js';

/** Levels of lists and objects in a body. A JSON schema needs a dozen. */
const maxDepth = 64;

/**
 * Refuses what would break later, in a worker or in the middle of an answer: half of a surrogate
 * pair in any text, nesting that a recursive walk could not follow. Walks without recursion.
 * @throws ApiError
 */
export function checkWellFormed(body: object): void {
  const open: [value: object, depth: number][] = [[body, 1]];
  for (let next = open.pop(); next; next = open.pop()) {
    const [value, depth] = next;
    if (depth > maxDepth) {
      throw badRequest(`The request body is nested more than ${maxDepth} levels deep.`);
    }
    if (!Array.isArray(value)) Object.keys(value).forEach(checkText);
    for (const each of Object.values(value)) {
      if (typeof each === 'string') checkText(each);
      else if (typeof each === 'object' && each !== null) open.push([each, depth + 1]);
    }
  }
}

function checkText(text: string): void {
  // In Node since version 20, in TypeScript's library since ES2024.
  const { isWellFormed } = text as string & { isWellFormed(): boolean };
  if (!isWellFormed.call(text)) {
    throw badRequest('The request has text with half of a surrogate pair in it.');
  }
}
