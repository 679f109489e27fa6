// The scales of float8 q, k and v.

import type { NativeAttentionArgs } from '../native/addon.js';
import { fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
import { checkOptions, checkSameDevice, checkTensor, checkTensorDType } from '../tensor/check.js';
import { sameShape } from '../tensor/shape.js';
import { liveHandle, type Tensor } from '../tensor/tensor.js';
import type { Dims } from './modifiers.js';
import { type AttentionScales, scalesKeys } from './options.js';
import type { Names } from './qkv.js';

/** Tokens that share a scale (csrc/core/attention.h). */
export const scaleTokens = 128;

/**
 * Shapes that the scales of a tensor may have: for all of it, per head, per head and block of
 * tokens.
 */
export function scaleShapes(batch: number, heads: number, seqlen: number): number[][] {
  return [[1], [batch, heads], [batch, heads, Math.ceil(seqlen / scaleTokens)]];
}

/** Scales are required with float8 tensors and refused with others. */
export function applyScales(
  args: NativeAttentionArgs,
  q: Tensor,
  scales: AttentionScales | undefined,
  { batch, heads, kvHeads, seqlenQ, seqlenK }: Dims & { kvHeads: number },
  names: Names,
): void {
  const float8 = q.dtype === 'float8_e4m3';
  if (scales === undefined) {
    if (!float8) return;
    const hint = `quantize() makes them; dequantize() gives tensors that need none.`;
    fail('ERR_OPTION', 'options.scales', `{ q, k, v } with float8_e4m3 ${names.q}`, 'none', hint);
  }
  checkOptions(scales, scalesKeys, 'options.scales');
  if (!float8) fail('ERR_OPTION', 'options.scales', `absent with ${q.dtype} ${names.q}`, 'some');
  const handle = (name: keyof AttentionScales, shapes: number[][]) => {
    const argument = `options.scales.${name}`;
    const scale = checkTensor(scales[name], argument);
    checkTensorDType(scale, ['float32'], argument);
    if (!shapes.some((shape) => sameShape(shape, scale.shape))) {
      const perBlock = name === 'v' && scale.shape.length === 3;
      const hint = perBlock ? "Quantize v with per: 'head' or 'tensor'." : '';
      fail('ERR_SHAPE', argument, shapes.map(showShape).join(' or '), showShape(scale.shape), hint);
    }
    checkSameDevice(scale, q.device, argument);
    return liveHandle(scale);
  };
  args.qScale = handle('q', scaleShapes(batch, heads, seqlenQ));
  args.kScale = handle('k', scaleShapes(batch, kvHeads, seqlenK));
  args.vScale = handle('v', scaleShapes(batch, kvHeads, seqlenK).slice(0, 2));
}

/** Whether `value` names a number of scales. */
export function checkPer(value: unknown, argument: string): 0 | 1 | 2 {
  if (value === undefined || value === 'block') return 2;
  if (value === 'head') return 1;
  if (value === 'tensor') return 0;
  const code = typeof value === 'string' ? 'ERR_OPTION' : 'ERR_TYPE';
  return fail(code, argument, "'block', 'head' or 'tensor'", show(value));
}
