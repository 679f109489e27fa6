import { type ErrorCode, FlashAttentionError, fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
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

const PROBLEM_FIELDS: Record<keyof ReferenceProblem, true> = {
  shape: true,
  q: true,
  k: true,
  v: true,
  scale: true,
  causal: true,
  window: true,
  sinkTokens: true,
  seqlensQ: true,
  seqlensK: true,
  softcap: true,
  alibiSlopes: true,
  mask: true,
  visible: true,
  sinks: true,
  dropout: true,
  queryRows: true,
};

/** ERR_TYPE for a value that is not even of the right type, else `code`. */
export function codeOf(value: unknown, type: string, code: ErrorCode): ErrorCode {
  return typeof value === type ? code : 'ERR_TYPE';
}

export function checkInteger(argument: string, value: unknown, min: number, code: ErrorCode): void {
  if (!Number.isInteger(value) || (value as number) < min) {
    fail(codeOf(value, 'number', code), argument, `an integer of at least ${min}`, show(value));
  }
}

function checkFinite(argument: string, value: unknown, min = -Infinity): void {
  if (!Number.isFinite(value) || (value as number) < min) {
    const expected = min === 0 ? 'a finite number of at least 0' : 'a finite number';
    fail(codeOf(value, 'number', 'ERR_OPTION'), argument, expected, show(value));
  }
}

export function checkLength(
  argument: string,
  data: unknown,
  lengths: number[],
  meaning: string,
): void {
  const { length } = (data ?? {}) as ArrayLike<number>;
  if (typeof data !== 'object' || typeof length !== 'number') {
    fail('ERR_TYPE', argument, 'an array of numbers', show(data));
  }
  if (!lengths.includes(length)) {
    fail('ERR_SHAPE', argument, `${lengths.join(' or ')} numbers, ${meaning},`, String(length));
  }
}

/** A Float32Array or Float64Array, by name: arrays of another realm are welcome. */
export function checkNumbers(
  argument: string,
  data: unknown,
  length: number,
  meaning: string,
): void {
  const type = ArrayBuffer.isView(data) && Object.prototype.toString.call(data).slice(8, -1);
  if (type !== 'Float32Array' && type !== 'Float64Array') {
    const code = ArrayBuffer.isView(data) ? 'ERR_DTYPE' : 'ERR_TYPE';
    fail(code, argument, 'a Float32Array or a Float64Array', show(data));
  }
  checkLength(argument, data, [length], meaning);
}

export function checkUint64(argument: string, value: unknown): void {
  if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) {
    const code = codeOf(value, 'bigint', 'ERR_OPTION');
    fail(code, argument, 'a bigint from 0n to 2n ** 64n - 1n', show(value));
  }
}

export function checkBoolean(argument: string, value: unknown): void {
  if (typeof value !== 'boolean') fail('ERR_TYPE', argument, 'a boolean', show(value));
}

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
  if (typeof shape !== 'object' || shape === null)
    fail('ERR_TYPE', 'shape', 'an object', show(shape));
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

function checkDropout(dropout: unknown): void {
  if (typeof dropout !== 'object' || dropout === null) {
    fail('ERR_TYPE', 'dropout', 'an object { p, seed, offset? }', show(dropout));
  }
  const { p, seed, offset = 0n } = dropout as Record<string, unknown>;
  if (typeof p !== 'number' || !(p >= 0 && p < 1)) {
    const code = codeOf(p, 'number', 'ERR_OPTION');
    fail(code, 'dropout.p', 'a number from 0 to less than 1', show(p));
  }
  checkUint64('dropout.seed', seed);
  checkUint64('dropout.offset', offset);
}

function checkFields(problem: ReferenceProblem): void {
  if (typeof problem !== 'object' || problem === null) {
    fail('ERR_TYPE', 'problem', 'an object', show(problem));
  }
  for (const field of Object.keys(problem)) {
    if (field in PROBLEM_FIELDS) continue;
    const known = Object.keys(PROBLEM_FIELDS).join(', ');
    throw new FlashAttentionError(
      'ERR_OPTION',
      `Expected the problem to hold known fields but received '${field}'. Known: ${known}.`,
      { argument: field },
    );
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
  checkFields(problem);
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

/** Checks the size of a tile, a chunk or the like. */
export function checkTile(argument: string, value: unknown): void {
  checkInteger(argument, value, 1, 'ERR_OPTION');
}
