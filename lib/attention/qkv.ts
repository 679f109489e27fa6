// Checks of q, k and v that every attention function makes.

import { fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
import { checkSameDevice, checkTensor, checkTensorDType } from '../tensor/check.js';
import { type DType, floating } from '../tensor/dtype.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';

/** What the caller calls q, k and v. */
export type Names = Readonly<Record<'q' | 'k' | 'v', string>>;

// As in csrc/core/attention.h: the widest head dim of any device, and the longest sequence.
export const maxHeadDim = 576;
export const maxSeqlen = 2 ** 30 - 1;

/** q, k and v of one rank, one of `dtypes` and one device. */
export function checkTensors(
  q: unknown,
  k: unknown,
  v: unknown,
  rank: 3 | 4,
  names: Names,
  dtypes: readonly DType[] = floating,
): void {
  const first = checkTensor(q, names.q);
  checkTensorDType(first, dtypes, names.q);
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

/** Head dims, and heads as a multiple of kvHeads. */
export function checkHeads(
  q: Tensor,
  v: Tensor,
  heads: number,
  kvHeads: number,
  headDim: number,
  names: Names,
): void {
  const headDimV = v.shape[v.shape.length - 1];
  checkHeadDim(headDim, q, names.q);
  checkHeadDim(headDimV, v, names.v);
  if (kvHeads < 1) fail('ERR_SHAPE', names.k, 'a Tensor of at least one head', 'none');
  if (heads < 1 || heads % kvHeads !== 0) {
    const expected = `a Tensor whose heads are a multiple of the ${kvHeads} heads of ${names.k}`;
    fail('ERR_SHAPE', names.q, expected, `${heads} heads`);
  }
}

function checkHeadDim(headDim: number, tensor: Tensor, argument: string): void {
  if (headDim < 1 || headDim > maxHeadDim) {
    const expected = `a Tensor with a head dim from 1 to ${maxHeadDim}`;
    fail('ERR_SHAPE', argument, expected, showShape(tensor.shape));
  }
}

/** "Expected `argument` to be of shape `expected` but received <its shape>". */
export function failShape(argument: string, expected: string, received: unknown): never {
  const shape = isTensor(received) ? showShape(received.shape) : show(received);
  return fail('ERR_SHAPE', argument, `of shape ${expected}`, shape);
}

export function requireOptions<T>(options: T | undefined, what: string): T {
  return options ?? fail('ERR_TYPE', 'options', `an object with ${what}`, 'undefined');
}
