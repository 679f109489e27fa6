// The scales of float8 q, k and v, and of pages in 8 bits under a wider q.

import type { NativeAttentionArgs } from '../native/addon.js';
import type { DeviceName } from '../native/device.js';
import { fail } from '../native/errors.js';
import { checkOptions } from '../tensor/check.js';
import { type AttentionScales, type PagedAttentionOptions, scalesKeys } from './options.js';
import { handleOn } from './qkv.js';

export function applyScales(
  args: NativeAttentionArgs,
  scales: AttentionScales,
  device: DeviceName,
): void {
  checkOptions(scales, scalesKeys, 'options.scales');
  args.qScale = handleOn(device, scales.q, 'options.scales.q');
  args.kScale = handleOn(device, scales.k, 'options.scales.k');
  args.vScale = handleOn(device, scales.v, 'options.scales.v');
}

export function applyPageScales(
  args: NativeAttentionArgs,
  { scales, kScales, vScales }: Pick<PagedAttentionOptions, 'scales' | 'kScales' | 'vScales'>,
  device: DeviceName,
): void {
  if (scales !== undefined) {
    const both = kScales !== undefined ? 'kScales' : vScales !== undefined ? 'vScales' : undefined;
    if (both !== undefined) fail('ERR_OPTION', 'options.scales', `absent with ${both}`, 'some');
    applyScales(args, scales, device);
  }
  if (kScales !== undefined) args.kScale = handleOn(device, kScales, 'options.kScales');
  if (vScales !== undefined) args.vScale = handleOn(device, vScales, 'options.vScales');
}
