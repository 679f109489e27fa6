import { fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
import {
  checkBoolean,
  checkFields,
  checkFinite,
  checkInteger,
  checkLength,
  checkNumbers,
  checkObject,
} from './check.js';
import { checkDropout } from './philox.js';
import { completeShape, type ReferenceProblem, type ReferenceShape } from './problem.js';

/** The least each size may be. */
const SHAPE_FIELDS: Record<keyof ReferenceShape, number> = {
  batch: 0,
  seqlenQ: 0,
  seqlenK: 0,
  heads: 1,
  kvHeads: 1,
  headDim: 1,
  headDimV: 1,
};

const PROBLEM_FIELDS: readonly (keyof ReferenceProblem)[] = [
  'shape',
  'q',
  'k',
  'v',
  'scale',
  'causal',
  'window',
  'sinkTokens',
  'seqlensQ',
  'seqlensK',
  'softcap',
  'alibiSlopes',
  'mask',
  'visible',
  'sinks',
  'dropout',
  'queryRows',
];

/** Integers from 0 to `max`: lengths or rows. */
function checkIndices(argument: string, data: ArrayLike<number>, max: number): void {
  for (let n = 0; n < data.length; n++) {
    const value = data[n];
    if (!Number.isInteger(value) || value < 0 || value > max) {
      fail('ERR_OPTION', `${argument}[${n}]`, `an integer from 0 to ${max}`, show(value));
    }
  }
}

function checkShape(shape: ReferenceShape): void {
  checkObject('shape', shape);
  const complete = completeShape(shape);
  for (const [field, least] of Object.entries(SHAPE_FIELDS)) {
    const value = complete[field as keyof ReferenceShape];
    checkInteger(`shape.${field}`, value, least, 'ERR_SHAPE');
  }
  const { heads, kvHeads } = complete;
  if (heads % kvHeads !== 0) {
    fail('ERR_SHAPE', 'shape.heads', `a multiple of kvHeads, ${kvHeads},`, String(heads));
  }
}

function checkMask(problem: ReferenceProblem): void {
  const { mask } = problem;
  if (mask === undefined) return;
  const { batch, heads, seqlenQ, seqlenK } = problem.shape;
  if (typeof mask !== 'object' || mask === null || !Array.isArray(mask.shape)) {
    fail('ERR_TYPE', 'mask', 'an object { data, shape }', show(mask));
  }
  const full = [batch, heads, seqlenQ, seqlenK];
  const sizes = [1, 1, 1, 1, ...mask.shape].slice(-4);
  if (mask.shape.length > 4 || sizes.some((size, dim) => size !== 1 && size !== full[dim])) {
    const expected = `broadcastable to ${showShape(full)}`;
    fail('ERR_SHAPE', 'mask.shape', expected, showShape(mask.shape));
  }
  const length = sizes.reduce((product, size) => product * size, 1);
  const type = ArrayBuffer.isView(mask.data) && mask.data[Symbol.toStringTag];
  if (type === 'Uint8Array') checkLength('mask.data', mask.data, [length], showShape(mask.shape));
  else checkNumbers('mask.data', mask.data, length, showShape(mask.shape));
}

function checkWindow(window: unknown): void {
  const bound = (x: unknown) => Number.isInteger(x) || x === Infinity;
  if (!Array.isArray(window) || window.length !== 2 || !window.every(bound)) {
    const code = Array.isArray(window) ? 'ERR_OPTION' : 'ERR_TYPE';
    fail(code, 'window', '[left, right], each an integer or Infinity,', show(window));
  }
}

function checkInputs({ shape, q, k, v }: ReferenceProblem): void {
  const { batch, seqlenQ, seqlenK, heads, kvHeads, headDim, headDimV } = completeShape(shape);
  const check = (argument: string, data: unknown, dims: number[]) => {
    const length = dims.reduce((product, size) => product * size, 1);
    checkNumbers(argument, data, length, showShape(dims));
  };
  check('q', q, [batch, seqlenQ, heads, headDim]);
  check('k', k, [batch, seqlenK, kvHeads, headDim]);
  check('v', v, [batch, seqlenK, kvHeads, headDimV]);
}

function checkScalars({ scale, softcap, causal, sinkTokens, visible }: ReferenceProblem): void {
  if (scale !== undefined) checkFinite('scale', scale);
  if (softcap !== undefined) checkFinite('softcap', softcap, 0);
  if (causal !== undefined) checkBoolean('causal', causal);
  if (sinkTokens !== undefined) checkInteger('sinkTokens', sinkTokens, 0, 'ERR_OPTION');
  if (visible !== undefined && typeof visible !== 'function') {
    fail('ERR_TYPE', 'visible', 'a function', show(visible));
  }
}

function checkVectors(problem: ReferenceProblem): void {
  const { batch, heads, seqlenQ, seqlenK } = problem.shape;
  const { seqlensQ, seqlensK, queryRows, alibiSlopes, sinks } = problem;
  if (seqlensQ !== undefined) {
    checkLength('seqlensQ', seqlensQ, [batch], '[batch]');
    checkIndices('seqlensQ', seqlensQ, seqlenQ);
  }
  if (seqlensK !== undefined) {
    checkLength('seqlensK', seqlensK, [batch], '[batch]');
    checkIndices('seqlensK', seqlensK, seqlenK);
  }
  if (queryRows !== undefined) checkIndices('queryRows', queryRows, seqlenQ - 1);
  if (alibiSlopes !== undefined) {
    checkLength('alibiSlopes', alibiSlopes, [heads, batch * heads], '[heads] or [batch, heads]');
  }
  if (sinks !== undefined) checkLength('sinks', sinks, [heads], '[heads]');
}

/** Checks a problem before any of it is read. */
export function checkProblem(problem: ReferenceProblem): void {
  checkFields('problem', problem, PROBLEM_FIELDS);
  checkShape(problem.shape);
  checkInputs(problem);
  checkScalars(problem);
  checkVectors(problem);
  checkMask(problem);
  if (problem.window !== undefined) checkWindow(problem.window);
  if (problem.dropout !== undefined) checkDropout(problem.dropout);
}

/** Checks an array in the shape of `out`. */
export function checkOut(argument: string, data: unknown, problem: ReferenceProblem): void {
  const { batch, seqlenQ, heads, headDimV } = completeShape(problem.shape);
  const rows = problem.queryRows?.length ?? seqlenQ;
  checkNumbers(
    argument,
    data,
    batch * rows * heads * headDimV,
    '[batch, seqlenQ, heads, headDimV]',
  );
}

/** Checks an array in the shape of `lse`. */
export function checkLse(argument: string, data: unknown, problem: ReferenceProblem): void {
  const { batch, seqlenQ, heads } = problem.shape;
  const rows = problem.queryRows?.length ?? seqlenQ;
  checkNumbers(argument, data, batch * heads * rows, '[batch, heads, seqlenQ]');
}
