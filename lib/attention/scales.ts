// The scales of float8 q, k and v.

import type { NativeAttentionArgs } from '../native/addon.js';
import type { DeviceName } from '../native/device.js';
import { checkOptions } from '../tensor/check.js';
import { type AttentionScales, scalesKeys } from './options.js';
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
