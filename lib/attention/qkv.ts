// Kinds of arguments that every attention function checks. What shapes, dtypes and ranges are legal
// is csrc/core/validate's alone.

import type { NativeTensor } from '../native/addon.js';
import type { DeviceName } from '../native/device.js';
import { type ArgumentNames, fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkSameDevice, checkTensor } from '../tensor/check.js';
import { liveHandle, type Tensor } from '../tensor/tensor.js';

/** What the caller calls q, k and v, and perhaps other arguments. */
export type Names = ArgumentNames & Readonly<Record<'q' | 'k' | 'v', string>>;

export const plainNames: Names = { q: 'q', k: 'k', v: 'v' };

/** Live tensors on one device. */
export function checkTensors(q: unknown, k: unknown, v: unknown, names: Names): void {
  const { device } = checkTensor(q, names.q);
  checkSameDevice(checkTensor(k, names.k), device, names.k);
  checkSameDevice(checkTensor(v, names.v), device, names.v);
}

/** The handle of a live tensor on that device. */
export function handleOn(device: DeviceName, value: unknown, argument: string): NativeTensor {
  const tensor: Tensor = checkTensor(value, argument);
  checkSameDevice(tensor, device, argument);
  return liveHandle(tensor);
}

export function checkLayout(value: unknown, argument = 'options.layout'): 0 | 1 {
  if (value === undefined || value === 'bshd') return 0;
  if (value === 'bhsd') return 1;
  const code = typeof value === 'string' ? 'ERR_OPTION' : 'ERR_TYPE';
  return fail(code, argument, "'bshd' or 'bhsd'", show(value));
}

export function requireOptions<T>(options: T | undefined, what: string): T {
  return options ?? fail('ERR_TYPE', 'options', `an object with ${what}`, 'undefined');
}
