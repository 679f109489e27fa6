import { type NativeRotary, native } from '../native/addon.js';
import type { DeviceName } from '../native/device.js';
import { type CallOptions, callKeys, enqueued } from '../native/call-options.js';
import { call, fail } from '../native/errors.js';
import {
  checkPageTable,
  checkIntVector,
  type IntData,
  intHandle,
} from '../attention/int-vector.js';
import type { IntRow, IntVector } from '../attention/options.js';
import { release } from '../attention/problem.js';
import { handleOn, requireOptions } from '../attention/qkv.js';
import { resultTensor } from '../attention/result.js';
import { checkBoolean, checkInteger, checkOptions, checkTensor } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';

/** What a model's rotary position embedding is. */
export interface RotaryTables {
  /**
   * `[positions, rotaryDim / 2]`; float32, float16 or bfloat16: the cosine of the angle that pair i
   * of a row turns by at a position. Of any length: positions have to be rows of it.
   */
  cos: Tensor;
  /** The sines, of the shape and dtype of `cos`. */
  sin: Tensor;
  /**
   * Which elements are pair i: `2i` and `2i + 1` (GPT-J, and RoFormer itself), or else `i` and
   * `i + rotaryDim / 2` (GPT-NeoX, Llama as Hugging Face stores it); counted from `rotaryOffset`
   * on. Default false.
   */
  interleaved?: boolean;
  /**
   * Elements of a row that turn; the others stay. Even, 2 to headDim, and twice the width of the
   * tables: it says what they are to be, and changes nothing. Default: that.
   */
  rotaryDim?: number;
  /**
   * Elements of a row before the first one that turns: 512 of latents whose last 64 turn (MLA).
   * Default 0.
   */
  rotaryOffset?: number;
}

/** Options of {@link applyRotary}. */
export interface RotaryOptions extends RotaryTables, CallOptions {
  /**
   * Where the rows stand, 0 to the tables' length - 1: int32 `[total]`, or `[batch, seqlen]` (a row
   * of numbers per sequence) for x of 4 axes. Default: 0, 1, 2, … of each sequence.
   */
  positions?: IntVector | readonly IntRow[];
}

/** Keys of tables and of where rows stand. */
export const tableKeys: ReadonlySet<string> = new Set([
  'cos',
  'sin',
  'interleaved',
  'rotaryDim',
  'rotaryOffset',
  'positions',
]);
const rotaryKeys: ReadonlySet<string> = new Set([...tableKeys, ...callKeys]);

/**
 * Rotary position embedding (RoFormer, Su et al. 2021): each pair of elements of a row turns by the
 * angle of its position, `(a, b)` to `(a cos - b sin, b cos + a sin)`, computed in float64 and
 * rounded to the dtype of x: the bits are the same on every device. Enqueues the work and returns
 * at once.
 *
 * @param x `[total, heads, headDim]` or `[batch, seqlen, heads, headDim]`, any strides; float32,
 * float16 or bfloat16.
 * @param options See {@link RotaryOptions}; `cos` and `sin` are required, on the device of x.
 * @returns A new tensor of the shape and dtype of x.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE` (also when a position is no row of
 * the tables), `ERR_DTYPE`, `ERR_DEVICE`, `ERR_OPTION`, `ERR_DISPOSED`, `ERR_ABORTED`,
 * `ERR_OUT_OF_MEMORY`.
 */
export function applyRotary<D extends DType>(x: Tensor<D>, options: RotaryOptions): Tensor<D> {
  const { device, shape } = checkTensor(x, 'x');
  const given = requireOptions(checkOptions(options, rotaryKeys), 'cos and sin');
  return rotate(x, given, checkPositions(given.positions, shape, device), 'options');
}

/** The same at checked positions; `path` is what the caller calls what holds the tables. */
export function rotate<D extends DType>(
  x: Tensor<D>,
  given: RotaryTables & CallOptions,
  positions: IntData,
  path: string,
): Tensor<D> {
  const { device } = x;
  const temporaries: Tensor[] = [];
  try {
    const rotary = rotaryArgs(given, positions, path, { device, temporaries, options: given });
    const handle = handleOn(device, x, 'x');
    const run = () => call(() => native().rotate(handle, rotary), rotaryNames(path));
    return resultTensor<D>(enqueued(given, run), device);
  } finally {
    release(temporaries);
  }
}

function checkPositions(
  value: RotaryOptions['positions'],
  shape: readonly number[],
  device: DeviceName,
): IntData {
  if (shape.length !== 4) {
    const implied = () => Int32Array.from({ length: shape[0] }, (_, i) => i);
    return checkIntVector((value ?? implied()) as IntVector, device, 'options.positions');
  }
  const [batch, seqlen] = shape;
  if (value !== undefined) return checkPageTable(value as Tensor, device, 'options.positions');
  return {
    data: Int32Array.from({ length: batch * seqlen }, (_, n) => n % seqlen),
    shape: [batch, seqlen],
  };
}

/** What a call is for, and what was made for it. */
interface RotaryCall {
  readonly device: DeviceName;
  readonly temporaries: Tensor[];
  readonly options: CallOptions;
}

/** Checks and translates tables; `path` is what the caller calls what holds them. */
export function tableArgs(
  { cos, sin, interleaved = false, rotaryDim, rotaryOffset = 0 }: RotaryTables,
  path: string,
  device: DeviceName,
): Omit<NativeRotary, 'positions'> {
  const args = {
    cos: handleOn(device, cos, `${path}.cos`),
    sin: handleOn(device, sin, `${path}.sin`),
    interleaved: checkBoolean(interleaved, `${path}.interleaved`),
    rotaryOffset: checkInteger(rotaryOffset, 0, Number.MAX_SAFE_INTEGER, `${path}.rotaryOffset`),
  };
  if (rotaryDim !== undefined) {
    checkInteger(rotaryDim, 2, Number.MAX_SAFE_INTEGER, `${path}.rotaryDim`);
    const width = 2 * cos.shape[1];
    if (cos.shape.length === 2 && rotaryDim !== width) {
      const expected = `${width}, twice the width of ${path}.cos,`;
      fail('ERR_OPTION', `${path}.rotaryDim`, expected, `${rotaryDim}`);
    }
  }
  return args;
}

/** The same with positions. */
export function rotaryArgs(
  tables: RotaryTables,
  positions: IntData,
  path: string,
  { device, temporaries, options }: RotaryCall,
): NativeRotary {
  const args = tableArgs(tables, path, device);
  return { ...args, positions: intHandle(positions, device, temporaries, options) };
}

/** The caller's names of what the native side calls cos, sin and positions. */
export function rotaryNames(path: string): Record<string, string> {
  const names = ['cos', 'sin', 'positions', 'interleaved', 'rotaryOffset'];
  return Object.fromEntries(names.map((name) => [name, `${path}.${name}`]));
}
