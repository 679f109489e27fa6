import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkOptions } from '../tensor/check.js';
import { isFloat32Array } from '../tensor/tensor-data.js';

/** Numbers of k and of v. */
interface OfKeysAndValues<Numbers> {
  readonly k: Numbers;
  readonly v: Numbers;
}

/**
 * What codes of 8 bits are to be multiplied by, found beforehand (calibrated): a positive number
 * for each layer and kv head, `[layers, kvHeads]`, row-major.
 */
export type StaticScalesOption = OfKeysAndValues<Float32Array | readonly number[]>;

/** The same, checked. */
export type StaticScales = OfKeysAndValues<Float32Array<ArrayBuffer>>;

const keys: ReadonlySet<string> = new Set(['k', 'v']);

export function checkStaticScales(
  value: unknown,
  layers: number,
  kvHeads: number,
): StaticScales | undefined {
  const scales = checkOptions(value as StaticScalesOption, keys, 'options.scales');
  if (scales === undefined) return undefined;
  const checked = (name: 'k' | 'v') =>
    checkPositive(scales[name], layers * kvHeads, `options.scales.${name}`);
  return { k: checked('k'), v: checked('v') };
}

function checkPositive(value: unknown, count: number, path: string): Float32Array<ArrayBuffer> {
  if (!isFloat32Array(value) && !Array.isArray(value)) {
    fail('ERR_TYPE', path, 'an array of numbers or a Float32Array', show(value));
  }
  if (value.length !== count) {
    fail('ERR_SHAPE', path, `${count} numbers, [layers, kvHeads],`, `${value.length}`);
  }
  const numbers = Float32Array.from(value);
  const wrong = numbers.findIndex((x) => !(x > 0 && x < Infinity));
  if (wrong >= 0) {
    fail('ERR_OPTION', `${path}[${wrong}]`, 'positive and finite in float32', show(value[wrong]));
  }
  return numbers;
}

/** Those of a layer, `[kvHeads]` each. */
export function scalesOfLayer(
  { k, v }: StaticScales,
  kvHeads: number,
  layer: number,
): StaticScales {
  const own = (of: Float32Array<ArrayBuffer>) =>
    of.subarray(layer * kvHeads, (layer + 1) * kvHeads);
  return { k: own(k), v: own(v) };
}
