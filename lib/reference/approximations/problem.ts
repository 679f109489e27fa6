import { fail } from '../../native/errors.js';
import { show } from '../../native/show.js';
import { checkInteger, checkUint64 } from '../check.js';
import { checkProblem } from '../check-problem.js';
import { type Head, mapHeads } from '../heads.js';
import { type Matrix, zeros } from '../matrix.js';
import type { ReferenceProblem } from '../problem.js';

/** What approximations of attention understand of a problem: no masks, biases or sinks. */
export type ApproximationProblem = Pick<
  ReferenceProblem,
  'shape' | 'q' | 'k' | 'v' | 'scale' | 'causal'
>;

const FIELDS: ReadonlySet<string> = new Set(['shape', 'q', 'k', 'v', 'scale', 'causal']);

/** Checks a problem, and refuses fields that an approximation has no meaning for. */
export function checkPlain(problem: ApproximationProblem, ...without: 'scale'[]): void {
  if (typeof problem !== 'object' || problem === null) {
    fail('ERR_TYPE', 'problem', 'an object', show(problem));
  }
  for (const [field, value] of Object.entries(problem)) {
    const known = FIELDS.has(field) && !(without as string[]).includes(field);
    if (!known && value !== undefined) {
      fail('ERR_OPTION', field, 'absent, for this approximation knows no such thing,', show(value));
    }
  }
  checkProblem(problem);
}

/** Queries and keys one to one: query i is token i, as is key i. */
export function checkSelf(problem: ApproximationProblem): void {
  const { seqlenQ, seqlenK } = problem.shape;
  if (seqlenQ !== seqlenK) {
    fail('ERR_SHAPE', 'shape.seqlenK', `seqlenQ, ${seqlenQ},`, String(seqlenK));
  }
}

export function checkCount(argument: string, value: unknown): void {
  checkInteger(argument, value, 1, 'ERR_OPTION');
}

export function checkSeed(seed: unknown): void {
  checkUint64('seed', seed);
}

/**
 * Solves a problem head by head, with nothing but an output: what an approximation divides by is
 * not the softmax's denominator, so that it has no lse that could be merged with others.
 *
 * @returns [batch, seqlenQ, heads, headDimV]
 */
export function mapOutputs(
  problem: ApproximationProblem,
  attend: (head: Head) => Matrix,
): Float64Array {
  return mapHeads(problem, (head) => {
    return { out: attend(head), lse: new Float64Array(head.q.length) };
  }).out;
}

/** a b^T: all inner products of rows. */
export function products(a: Matrix, b: Matrix, dot: (x: Float64Array, y: Float64Array) => number) {
  const result = zeros(a.length, b.length);
  a.forEach((row, i) => {
    b.forEach((other, j) => {
      result[i][j] = dot(row, other);
    });
  });
  return result;
}
