// Sequence lengths, offsets and page numbers: int32 tensors, or plain numbers copied to one.

import type { NativeTensor } from '../native/addon.js';
import type { CallOptions } from '../native/call-options.js';
import type { DeviceName } from '../native/device.js';
import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkInteger, checkSameDevice, checkTensor } from '../tensor/check.js';
import { tensor } from '../tensor/make.js';
import { checkAttached } from '../tensor/tensor-data.js';
import { isTensor, liveHandle, type Tensor } from '../tensor/tensor.js';
import type { IntVector, PageTable } from './options.js';

const maxInt32 = 2 ** 31 - 1;

/** What becomes an int32 tensor: it is one, or its elements and shape. */
export type IntData = Tensor | { readonly data: Int32Array; readonly shape: readonly number[] };

/** The elements of a typed array or an array, all of them integers from `min` to `max`. */
export function checkIntegers(
  value: unknown,
  argument: string,
  min: number,
  max: number | ((index: number) => number),
  expected = 'an Int32Array, a Uint32Array or an array of integers',
): readonly number[] {
  if (!Array.isArray(value) && !isIntArray(value))
    fail('ERR_TYPE', argument, expected, show(value));
  if (ArrayBuffer.isView(value)) checkAttached(value, argument);
  const numbers = value as readonly number[];
  for (let i = 0; i < numbers.length; i++) {
    checkInteger(numbers[i], min, typeof max === 'number' ? max : max(i), `${argument}[${i}]`);
  }
  return numbers;
}

/** A vector of non-negative integers. */
export function checkIntVector(value: IntVector, device: DeviceName, argument: string): IntData {
  if (isTensor(value)) return checkIntTensor(value, device, argument);
  const expected = 'an int32 Tensor, an Int32Array, a Uint32Array or an array of integers';
  const numbers = checkIntegers(value, argument, 0, maxInt32, expected);
  return { data: Int32Array.from(numbers), shape: [numbers.length] };
}

/** One length per sequence; of a batch of one, also the length alone. */
export function checkSeqlens(
  value: IntVector | number,
  batch: number,
  device: DeviceName,
  argument: string,
): IntData {
  const alone = typeof value === 'number' && batch === 1;
  return checkIntVector(alone ? [value] : (value as IntVector), device, argument);
}

/** A row of page numbers per sequence. Those that are never looked at may be anything. */
export function checkPageTable(value: PageTable, device: DeviceName, argument: string): IntData {
  if (isTensor(value)) return checkIntTensor(value, device, argument);
  const rows = value as readonly (readonly number[])[];
  const isRow = (row: unknown) => Array.isArray(row) || isIntArray(row);
  if (!Array.isArray(value) || !rows.every(isRow)) {
    fail('ERR_TYPE', argument, 'an int32 Tensor or an array of rows of integers', show(value));
  }
  const columns = rows.length > 0 ? rows[0].length : 0;
  const data = new Int32Array(rows.length * columns);
  rows.forEach((row, b) => {
    if (ArrayBuffer.isView(row)) checkAttached(row, `${argument}[${b}]`);
    if (row.length !== columns) {
      const expected = `${columns} long, like the first row,`;
      fail('ERR_SHAPE', `${argument}[${b}]`, expected, `${row.length}`);
    }
    row.forEach((page, i) => {
      data[b * columns + i] = checkInteger(page, -maxInt32, maxInt32, `${argument}[${b}][${i}]`);
    });
  });
  return { data, shape: [rows.length, columns] };
}

function checkIntTensor(value: Tensor, device: DeviceName, argument: string): Tensor {
  checkSameDevice(checkTensor(value, argument), device, argument);
  return value;
}

function isIntArray(value: unknown): boolean {
  return (
    ArrayBuffer.isView(value) &&
    ['Int32Array', 'Uint32Array'].includes(
      (value as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? '',
    )
  );
}

/** The handle of checked integers; the call copies plain ones into a temporary tensor. */
export function intHandle(
  value: IntData,
  device: DeviceName,
  temporaries: Tensor[],
  { priority }: CallOptions,
): NativeTensor {
  if (isTensor(value)) return liveHandle(value);
  const made = tensor(value.data, value.shape, { dtype: 'int32', device, priority });
  temporaries.push(made);
  return liveHandle(made);
}
