// One attention call, checked and translated for the native side.
import {
  checkInteger,
  checkOptions,
  checkSameDevice,
  checkTensor,
  checkTensorDType,
  checkTensorShape,
} from './check.js';
import type { DType } from './dtype.js';
import { call, fail } from './errors.js';
import { tensor } from './make.js';
import { applyCommon, applyMasks, checkLayout, floating } from './modifiers.js';
import { type NativeAttentionArgs, native } from './native.js';
import {
  type AttentionOptions,
  type AttentionResult,
  denseKeys,
  type IntVector,
  type PagedAttentionOptions,
  pagedKeys,
  type VarlenAttentionOptions,
  varlenKeys,
} from './options.js';
import { show, showShape } from './show.js';
import { isTensor, liveHandle, Tensor } from './tensor.js';

export interface Problem {
  readonly args: NativeAttentionArgs;
  readonly q: Tensor;
  readonly outShape: number[];
  readonly lseShape: number[];
  /** Tensors made for this call from plain arrays. */
  readonly temporaries: Tensor[];
}

/** What the caller calls q, k and v. */
export interface Names {
  readonly q: string;
  readonly k: string;
  readonly v: string;
}

const plainNames: Names = { q: 'q', k: 'k', v: 'v' };
const pageNames: Names = { q: 'q', k: 'kPages', v: 'vPages' };

/** csrc/core/validate.cpp */
const maxHeadDim = 576;
const maxSeqlen = 2 ** 30 - 1;

/** q, k, v `[batch, seqlen, heads, headDim]` or, by layout, `[batch, heads, seqlen, headDim]`. */
export function denseProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions | undefined,
  names: Names = plainNames,
): Problem {
  checkTensors(q, k, v, 4, names);
  const given = checkOptions(options, denseKeys);
  const layout = given === undefined ? 0 : checkLayout(given.layout);
  const [seqAxis, headAxis] = layout === 0 ? [1, 2] : [2, 1];
  const batch = q.shape[0] as number;
  const seqlenQ = q.shape[seqAxis] as number;
  const heads = q.shape[headAxis] as number;
  const headDim = q.shape[3] as number;
  const seqlenK = k.shape[seqAxis] as number;
  const kvHeads = k.shape[headAxis] as number;
  if (k.shape[0] !== batch || k.shape[3] !== headDim) {
    const middle = layout === 0 ? 'seqlenK, kvHeads' : 'kvHeads, seqlenK';
    failShape(names.k, `[${batch}, ${middle}, ${headDim}]`, k);
  }
  if (v.shape[0] !== batch || v.shape[1] !== k.shape[1] || v.shape[2] !== k.shape[2]) {
    failShape(names.v, `[${batch}, ${k.shape[1]}, ${k.shape[2]}, headDimV]`, v);
  }
  checkHeads(q, v, heads, kvHeads, headDim, names);
  const args = newArgs(q, k, v, layout);
  const temporaries: Tensor[] = [];
  if (given !== undefined) {
    applyCommon(args, given, batch, heads, q.device);
    applyMasks(args, given, { batch, heads, seqlenQ, seqlenK }, q.device);
    if (given.seqlensK !== undefined) {
      args.seqlensK = seqlensHandle(given.seqlensK, batch, q.device, temporaries);
    }
  }
  const outShape = [batch, q.shape[1] as number, q.shape[2] as number, v.shape[3] as number];
  return { args, q, outShape, lseShape: [batch, heads, seqlenQ], temporaries };
}

/** q `[totalQ, heads, headDim]`, k and v `[totalK, kvHeads, headDim]`. */
export function varlenProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: VarlenAttentionOptions,
): Problem {
  checkTensors(q, k, v, 3, plainNames);
  const given = requireOptions(checkOptions(options, varlenKeys), 'cuSeqlensQ and cuSeqlensK');
  const [totalQ, heads, headDim] = q.shape as [number, number, number];
  const [totalK, kvHeads] = k.shape as [number, number, number];
  if (k.shape[2] !== headDim) failShape('k', `[totalK, kvHeads, ${headDim}]`, k);
  if (v.shape[0] !== totalK || v.shape[1] !== kvHeads) {
    failShape('v', `[${totalK}, ${kvHeads}, headDimV]`, v);
  }
  checkHeads(q, v, heads, kvHeads, headDim, plainNames);
  const args = newArgs(q, k, v, 0);
  const { cuSeqlensQ, cuSeqlensK, maxSeqlenQ, maxSeqlenK } = given;
  const ends = checkIntVector(cuSeqlensQ, 'options.cuSeqlensQ');
  if (ends < 1) failShape('options.cuSeqlensQ', '[batch + 1]', cuSeqlensQ);
  if (checkIntVector(cuSeqlensK, 'options.cuSeqlensK') !== ends) {
    failShape('options.cuSeqlensK', `[${ends}], like cuSeqlensQ,`, cuSeqlensK);
  }
  if (maxSeqlenQ !== undefined) {
    args.maxSeqlenQ = checkInteger(maxSeqlenQ, 0, maxSeqlen, 'options.maxSeqlenQ');
  }
  if (maxSeqlenK !== undefined) {
    args.maxSeqlenK = checkInteger(maxSeqlenK, 0, maxSeqlen, 'options.maxSeqlenK');
  }
  applyCommon(args, given, ends - 1, heads, q.device);
  const temporaries: Tensor[] = [];
  args.cuSeqlensQ = intHandle(cuSeqlensQ, q.device, 'options.cuSeqlensQ', temporaries);
  args.cuSeqlensK = intHandle(cuSeqlensK, q.device, 'options.cuSeqlensK', temporaries);
  const outShape = [totalQ, heads, v.shape[2] as number];
  return { args, q, outShape, lseShape: [heads, totalQ], temporaries };
}

/** q as in a dense problem; pages `[numPages, pageSize, kvHeads, headDim]`. */
export function pagedProblem(
  q: Tensor,
  kPages: Tensor,
  vPages: Tensor,
  options: PagedAttentionOptions,
): Problem {
  checkTensors(q, kPages, vPages, 4, pageNames);
  const given = requireOptions(checkOptions(options, pagedKeys), 'pageTable and seqlensK');
  const layout = checkLayout(given.layout);
  const [seqAxis, headAxis] = layout === 0 ? [1, 2] : [2, 1];
  const batch = q.shape[0] as number;
  const seqlenQ = q.shape[seqAxis] as number;
  const heads = q.shape[headAxis] as number;
  const headDim = q.shape[3] as number;
  const [numPages, pageSize, kvHeads] = kPages.shape as [number, number, number, number];
  if (kPages.shape[3] !== headDim || pageSize < 1) {
    failShape('kPages', `[numPages, pageSize, kvHeads, ${headDim}]`, kPages);
  }
  if (vPages.shape.slice(0, 3).some((length, axis) => length !== kPages.shape[axis])) {
    failShape('vPages', `[${numPages}, ${pageSize}, ${kvHeads}, headDimV]`, vPages);
  }
  checkHeads(q, vPages, heads, kvHeads, headDim, pageNames);
  const { pageTable, seqlensK } = given;
  checkTensor(pageTable, 'options.pageTable');
  checkTensorDType(pageTable, ['int32'], 'options.pageTable');
  if (pageTable.shape.length !== 2 || pageTable.shape[0] !== batch) {
    failShape('options.pageTable', `[${batch}, pagesPerSequence]`, pageTable);
  }
  checkSameDevice(pageTable, q.device, 'options.pageTable');
  const args = newArgs(q, kPages, vPages, layout);
  args.pageTable = liveHandle(pageTable);
  const seqlenK = (pageTable.shape[1] as number) * pageSize;
  applyCommon(args, given, batch, heads, q.device);
  applyMasks(args, given, { batch, heads, seqlenQ, seqlenK }, q.device);
  const temporaries: Tensor[] = [];
  args.seqlensK = seqlensHandle(seqlensK, batch, q.device, temporaries);
  const outShape = [...q.shape.slice(0, 3), vPages.shape[3] as number];
  return { args, q, outShape, lseShape: [batch, heads, seqlenQ], temporaries };
}

/** Enqueues the call. */
export function run(problem: Problem): Tensor | AttentionResult {
  const { args, q, outShape, lseShape, temporaries } = problem;
  try {
    const [out, lse] = call(() => native().attention(args));
    const outTensor = new Tensor(out, q.dtype, q.device, outShape);
    if (lse === null) return outTensor;
    return { out: outTensor, lse: new Tensor(lse, 'float32', q.device, lseShape) };
  } finally {
    release(temporaries);
  }
}

/** The call keeps what it needs; the handles made for it are of no more use. */
export function release(temporaries: readonly Tensor[]): void {
  for (const temporary of temporaries) temporary.dispose();
}

function checkTensors(q: unknown, k: unknown, v: unknown, rank: 3 | 4, names: Names): void {
  const first = checkTensor(q, names.q);
  checkTensorDType(first, floating, names.q);
  checkRank(first, rank, names.q);
  checkLike(checkTensor(k, names.k), first, rank, names.k, names.q);
  checkLike(checkTensor(v, names.v), first, rank, names.v, names.q);
}

function checkLike(value: Tensor, q: Tensor, rank: 3 | 4, argument: string, qName: string): void {
  if (value.dtype !== q.dtype) {
    fail('ERR_DTYPE', argument, `${q.dtype}, the dtype of ${qName},`, value.dtype);
  }
  checkRank(value, rank, argument);
  checkSameDevice(value, q.device, argument);
}

function checkRank(value: Tensor, rank: 3 | 4, argument: string): void {
  if (value.shape.length !== rank) {
    const axes = rank === 4 ? '[batch, seqlen, heads, headDim]' : '[total, heads, headDim]';
    fail('ERR_SHAPE', argument, `of rank ${rank}, such as ${axes},`, showShape(value.shape));
  }
}

function checkHeads(
  q: Tensor,
  v: Tensor,
  heads: number,
  kvHeads: number,
  headDim: number,
  names: Names,
): void {
  if (headDim < 1 || headDim > maxHeadDim) {
    failShape(names.q, `of a head dim from 1 to ${maxHeadDim}`, q);
  }
  const headDimV = v.shape[v.shape.length - 1] as number;
  if (headDimV < 1 || headDimV > maxHeadDim) {
    failShape(names.v, `of a head dim from 1 to ${maxHeadDim}`, v);
  }
  if (kvHeads < 1) failShape(names.k, 'of at least one head', v);
  if (heads < 1 || heads % kvHeads !== 0) {
    const expected = `of a multiple of the ${kvHeads} heads of ${names.k}`;
    fail('ERR_SHAPE', names.q, expected, `${heads} heads`);
  }
}

function failShape(argument: string, expected: string, received: unknown): never {
  const shape = isTensor(received) ? showShape(received.shape) : show(received);
  return fail('ERR_SHAPE', argument, expected, shape);
}

function requireOptions<T>(options: T | undefined, what: string): T {
  return options ?? fail('ERR_TYPE', 'options', `an object with ${what}`, 'undefined');
}

/** The length of a vector of integers. */
function checkIntVector(value: IntVector, argument: string): number {
  if (isTensor(value)) {
    checkTensor(value, argument);
    checkTensorDType(value, ['int32'], argument);
    if (value.shape.length !== 1) failShape(argument, 'of rank 1', value);
    return value.shape[0] as number;
  }
  if (!Array.isArray(value) && !isInt32Array(value)) {
    fail('ERR_TYPE', argument, 'an int32 Tensor, an Int32Array or an array of integers', show(value));
  }
  return value.length;
}

function isInt32Array(value: unknown): value is Int32Array {
  return (
    ArrayBuffer.isView(value) &&
    (value as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] === 'Int32Array'
  );
}

const int32: readonly DType[] = ['int32'];

function seqlensHandle(
  value: IntVector,
  batch: number,
  device: Tensor['device'],
  temporaries: Tensor[],
) {
  if (checkIntVector(value, 'options.seqlensK') !== batch) {
    failShape('options.seqlensK', `[${batch}], [batch],`, value);
  }
  return intHandle(value, device, 'options.seqlensK', temporaries);
}

/** The handle of an int32 tensor on `device`; plain numbers are copied into a temporary one. */
function intHandle(
  value: IntVector,
  device: Tensor['device'],
  argument: string,
  temporaries: Tensor[],
) {
  if (isTensor(value)) {
    checkSameDevice(value, device, argument);
    return liveHandle(value);
  }
  value.forEach((item: number, i: number) => {
    checkInteger(item, 0, maxSeqlen, `${argument}[${i}]`);
  });
  const made = tensor(value, [value.length], { dtype: 'int32', device });
  temporaries.push(made);
  return liveHandle(made);
}

/** All fields from the start, so that every call's arguments have one hidden class. */
function newArgs(q: Tensor, k: Tensor, v: Tensor, layout: 0 | 1): NativeAttentionArgs {
  return {
    q: liveHandle(q),
    k: liveHandle(k),
    v: liveHandle(v),
    layout,
    returnLse: false,
    scale: undefined,
    causal: undefined,
    windowLeft: undefined,
    windowRight: undefined,
    sinkTokens: undefined,
    softcap: undefined,
    seqlensK: undefined,
    alibiSlopes: undefined,
    mask: undefined,
    blockTable: undefined,
    blockBits: undefined,
    blockQ: undefined,
    blockK: undefined,
    sinks: undefined,
    dropoutP: undefined,
    dropoutSeed: undefined,
    dropoutOffset: undefined,
    numSplits: undefined,
    cuSeqlensQ: undefined,
    cuSeqlensK: undefined,
    maxSeqlenQ: undefined,
    maxSeqlenK: undefined,
    pageTable: undefined,
  };
}
