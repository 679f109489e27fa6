// Rows of a layer, as callers have them.
import type { DeviceName } from '../../native/device.js';
import { fail } from '../../native/errors.js';
import { show, showShape } from '../../native/show.js';
import { checkOptions, checkTensor } from '../../tensor/check.js';
import { checkDType } from '../../tensor/dtype.js';
import { type FloatDType, floatDTypes } from '../../tensor/host-tensor.js';
import { tensor } from '../../tensor/make.js';
import { isTensor, liveHandle, type Tensor } from '../../tensor/tensor.js';
import { checkAttached, isFloat32Array } from '../../tensor/tensor-data.js';
import { type RotaryTables, rotate } from '../rotary.js';
import type { HostRows } from './host-rows.js';
import type { GrowingState } from './sequence.js';

/**
 * Rows of a layer: numbers, or a tensor on any device. A tensor of 16-bit floats is sent as it is,
 * half as many bytes, and computed with like the same numbers in float32.
 */
export type ContextRows = Float32Array | Tensor<FloatDType>;

/** Where and of what rows are turned. */
interface TurnedRows {
  readonly headDim: number;
  readonly device: DeviceName;
}

/** Returns how many heads the rows have: `heads`, or a multiple of kvHeads. */
export function checkRow(
  value: unknown,
  argument: string,
  total: number,
  dim: number,
  kvHeads: number,
  heads?: number,
): number {
  const fits = (found: number) =>
    heads === undefined ? found > 0 && found % kvHeads === 0 : found === heads;
  const expected = `${total} rows of ${heads ?? `a multiple of ${kvHeads}`} heads of ${dim}`;
  if (isTensor(value)) {
    const { shape, dtype } = checkTensor(value, argument);
    liveHandle(value, argument);
    checkDType(dtype, argument, floatDTypes);
    const [rows, found, width] = shape;
    if (shape.length === 3 && rows === total && width === dim && fits(found)) return found;
    return fail('ERR_SHAPE', argument, expected, showShape(shape));
  }
  if (!isFloat32Array(value)) fail('ERR_TYPE', argument, 'a Tensor or a Float32Array', show(value));
  checkAttached(value, argument);
  const found = value.length / (total * dim);
  if (!fits(found)) fail('ERR_SHAPE', argument, expected, `${value.length} numbers`);
  return found;
}

const rotaryKeys: ReadonlySet<string> = new Set([
  'cos',
  'sin',
  'interleaved',
  'rotaryDim',
  'rotaryOffset',
]);

/**
 * The rows as they are sent, q and k turned where their tokens stand. Numbers alone that do not
 * turn are there at once; else rows are as they were at the call.
 */
export function sentRows(
  rows: readonly ContextRows[],
  rotary: RotaryTables | undefined,
  entries: readonly GrowingState[],
  shape: TurnedRows,
): readonly HostRows[] | Promise<readonly HostRows[]> {
  if (rotary) return Promise.all(turned(rows, rotary, entries, shape));
  if (!rows.some(isTensor)) return (rows as Float32Array[]).map(inFloat32);
  return Promise.all(rows.map(copied));
}

const inFloat32 = (data: Float32Array): HostRows => ({ dtype: 'float32', data });

async function copied(rows: ContextRows): Promise<HostRows> {
  return isTensor(rows) ? { dtype: rows.dtype, data: await rows.data() } : inFloat32(rows.slice());
}

function turned(
  [q, k, v]: readonly ContextRows[],
  rotary: RotaryTables,
  entries: readonly GrowingState[],
  { headDim, device }: TurnedRows,
): Promise<HostRows>[] {
  const path = 'options.rotary';
  checkOptions(rotary, rotaryKeys, path);
  const all = entries.flatMap(({ state, tokens }) =>
    Array.from({ length: tokens }, (_, i) => state.length + i),
  );
  const positions = { data: Int32Array.from(all), shape: [all.length] };
  const turn = async (rows: ContextRows): Promise<HostRows> => {
    const heads = isTensor(rows) ? rows.shape[1] : rows.length / (all.length * headDim);
    const x = isTensor(rows)
      ? rows.to(device)
      : tensor(rows, [all.length, heads, headDim], { dtype: 'float32', device });
    try {
      const { dtype } = x;
      return { dtype, data: await rotate(x, rotary, positions, path).take() };
    } finally {
      x.dispose();
    }
  };
  return [turn(q), turn(k), copied(v)];
}
