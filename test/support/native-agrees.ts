import type { Tensor } from '../../lib/index.js';
import { native } from '../../lib/native/addon.js';
import { kHandle } from '../../lib/native/show.js';

/** What the native side thinks a tensor is. */
export function expectNativeAgrees(t: Tensor): void {
  const told = native().describe(t[kHandle] as never);
  expect([...told.shape]).toEqual([...t.shape]);
  expect([...told.strides]).toEqual([...t.strides]);
  expect(told.device).toBe(t.device);
  expect(told.byteLength).toBe(t.byteLength);
}
