// The packed sequences of a tensor that is quantised.
import type { NativeTensor } from '../native/addon.js';
import { type CallOptions, enqueued } from '../native/call-options.js';
import type { DeviceName } from '../native/device.js';
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkNumber } from '../tensor/check.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { checkIntVector, intHandle } from './int-vector.js';
import type { IntVector } from './options.js';
import { release } from './problem.js';

/** Packed sequences: where they begin, and how long the longest may be. */
export interface Sequences {
  readonly offsets: Tensor | Int32Array;
  readonly longest: number;
}

export function checkSequences(
  given: { cuSeqlens?: IntVector; maxSeqlen?: number } | undefined,
  device: DeviceName,
  owner: string,
): Sequences | undefined {
  const { cuSeqlens, maxSeqlen } = given ?? {};
  if (cuSeqlens === undefined) {
    if (maxSeqlen === undefined) return undefined;
    return fail('ERR_OPTION', `${owner}.maxSeqlen`, 'absent without cuSeqlens', show(maxSeqlen));
  }
  const checked = checkIntVector(cuSeqlens, device, `${owner}.cuSeqlens`);
  const offsets = isTensor(checked) ? checked : checked.data;
  if (maxSeqlen !== undefined) {
    return { offsets, longest: checkNumber(maxSeqlen, `${owner}.maxSeqlen`) };
  }
  if (isTensor(offsets)) {
    fail('ERR_OPTION', `${owner}.maxSeqlen`, 'given with cuSeqlens that is a Tensor', 'undefined');
  }
  const lengths = offsets.map((end, b) => (b === 0 ? 0 : end - offsets[b - 1]));
  return { offsets, longest: lengths.reduce((most, length) => Math.max(most, length), 0) };
}

/** Enqueues a call, which gets the sequences as the native side has them. */
export function withSequences<T>(
  sequences: Sequences | undefined,
  device: DeviceName,
  options: CallOptions | undefined,
  enqueue: (offsets?: NativeTensor, longest?: number) => T,
): T {
  if (sequences === undefined) return enqueued(options, () => enqueue());
  const temporaries: Tensor[] = [];
  try {
    const { offsets, longest } = sequences;
    const data = isTensor(offsets) ? offsets : { data: offsets, shape: [offsets.length] };
    const handle = intHandle(data, device, temporaries, options ?? {});
    return enqueued(options, () => enqueue(handle, longest));
  } finally {
    release(temporaries);
  }
}
