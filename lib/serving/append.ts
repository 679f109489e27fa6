import { checkIntVector, intHandle } from '../attention/int-vector.js';
import type { IntVector } from '../attention/options.js';
import { release } from '../attention/problem.js';
import { handleOn, requireOptions } from '../attention/qkv.js';
import { type NativeRotary, type NativeTensor, native } from '../native/addon.js';
import { type CallOptions, enqueued } from '../native/call-options.js';
import { call } from '../native/errors.js';
import { checkOptions, checkSameDevice, checkTensor } from '../tensor/check.js';
import type { DType } from '../tensor/dtype.js';
import { liveHandle, newTensor, type Tensor } from '../tensor/tensor.js';
import { type RotaryTables, rotaryArgs, rotaryNames, tableKeys } from './rotary.js';

/** Options of {@link appendKv}. It goes to the queue of the call that made the pages. */
export interface AppendOptions extends Pick<CallOptions, 'signal'> {
  /** int32 `[total]`: token t goes to slot `page * pageSize + offset`. No slot twice. */
  slots: IntVector;
  /** Rotates k on its way: as {@link applyRotary} does, before k is converted. Default: not. */
  rotary?: RotaryTables & {
    /** int32 `[total]`: where the tokens stand. */
    positions: IntVector;
  };
  /**
   * With int8 or float8_e4m3 pages: what codes of k are to be multiplied by, float32. See
   * {@link appendKv}. `[numPages, pageSize, kvHeads]`: of each row, written in place like the
   * pages. `[kvHeads]` or `[1]`: static ones, which stay as they are.
   */
  kScales?: Tensor;
  /** Likewise for v, of as many axes. */
  vScales?: Tensor;
}

/** Pages after tokens were appended: views of the memory that they were given in. */
export interface AppendedPages<D extends DType = DType> {
  readonly kPages: Tensor<D>;
  readonly vPages: Tensor<D>;
  /** Of pages in 8 bits, where the call has written them. */
  readonly kScales?: Tensor;
  readonly vScales?: Tensor;
}

/** Pages of latents after tokens were appended. */
export type AppendedLatents<D extends DType = DType> = Pick<AppendedPages<D>, 'kPages'>;

const appendKeys: ReadonlySet<string> = new Set([
  'slots',
  'rotary',
  'kScales',
  'vScales',
  'signal',
]);

/**
 * Writes keys and values of new tokens into their slots of pages, in place: the one function of
 * this package that changes memory which tensors view. k is rotated on its way, if asked to, and
 * both are rounded to the pages' dtype. Enqueues the work and returns at once.
 *
 * Pages of int8 and float8_e4m3 hold codes: element = code * scale. Each row, a token's k or v of
 * one head, gets the scale max|x| / 127 (float8_e4m3: / 448), 2^-126 at least, and its elements are
 * x / scale, rounded to nearest even. A row of zeros has scale 0. A row with a NaN or an infinity
 * has scale NaN and codes 0, so that whoever sees the token gets NaN. Rows that are codes already,
 * of the pages' dtype, are copied; that call takes no scales, and those of the rows go by another
 * one, over scales with an axis of 1 behind them.
 *
 * With static scales, one per kv head or one for all, found beforehand (calibrated), codes are
 * x / scale likewise. What is beyond 127 or 448 times the scale becomes that, an infinity too. NaN
 * stays NaN in float8_e4m3; int8 has none, and it becomes 0. Scales are to be positive and finite:
 * that is not checked, and where they are not positive codes are 0.
 *
 * Calls enqueued before it read the pages as they were, whichever stream they are on; calls that
 * read the returned tensors find the tokens. The tensors given view the same memory and go on to
 * hold what the other slots do. They do not know whether the call succeeded: read the returned
 * ones, which fail with it. A call that is refused writes nothing; of one that is aborted or whose
 * k or v failed, the slots alone may hold anything.
 *
 * @param k `[total, kvHeads, headDim]`; float32, float16 or bfloat16; without scales the dtype of
 * pages in 8 bits.
 * @param v `[total, kvHeads, headDimV]`; likewise.
 * @param kPages `[numPages, pageSize, kvHeads, headDim]`; float32, float16, bfloat16, int8 or
 * float8_e4m3; rows side by side, no two in one place.
 * @param vPages `[numPages, pageSize, kvHeads, headDimV]`, dtype of kPages, apart from them: also
 * views of one tensor, such as `[numPages, 2, pageSize, …]`.
 * @param options See {@link AppendOptions}; `slots` is required.
 * @returns Tensors like kPages and vPages, and like the scales if there are some, to be disposed
 * like any other.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE` (also when a slot is not one of the
 * pages, or a position no row of the tables), `ERR_DTYPE`, `ERR_DEVICE`, `ERR_OPTION` (a slot
 * twice; inputs that are part of the pages), `ERR_DISPOSED`, `ERR_ABORTED`. What only the device
 * knows of `slots` and `positions` rejects the returned tensors.
 */
export function appendKv<D extends DType>(
  k: Tensor,
  v: Tensor,
  kPages: Tensor<D>,
  vPages: Tensor<D>,
  options: AppendOptions,
): AppendedPages<D>;
/** {@link appendKv} of latents (MLA): their values are a part of them. Not in 8 bits. */
export function appendKv<D extends DType>(
  latents: Tensor,
  v: undefined,
  pages: Tensor<D>,
  vPages: undefined,
  options: Pick<AppendOptions, 'slots' | 'rotary' | 'signal'>,
): AppendedLatents<D>;
export function appendKv<D extends DType>(
  k: Tensor,
  v: Tensor | undefined,
  kPages: Tensor<D>,
  vPages: Tensor<D> | undefined,
  options: AppendOptions,
): AppendedLatents<D> & Partial<AppendedPages<D>> {
  const { device } = checkTensor(kPages, 'kPages');
  checkSameDevice(checkTensor(k, 'k'), device, 'k');
  if (v !== undefined || vPages !== undefined) {
    checkSameDevice(checkTensor(v, 'v'), device, 'v');
    checkSameDevice(checkTensor(vPages, 'vPages'), device, 'vPages');
  }
  const given = requireOptions(checkOptions(options, appendKeys), 'slots');
  const temporaries: Tensor[] = [];
  try {
    const slots = checkIntVector(given.slots, device, 'options.slots');
    let rotary: NativeRotary | undefined;
    if (given.rotary !== undefined) {
      const path = 'options.rotary';
      const tables = checkOptions(given.rotary, tableKeys, path) as typeof given.rotary;
      const positions = checkIntVector(tables.positions, device, `${path}.positions`);
      rotary = rotaryArgs(tables, positions, path, { device, temporaries, options: {} });
    }
    const [kRows, vRows] = [liveHandle(k), v && liveHandle(v)];
    const [kInto, vInto] = [liveHandle(kPages), vPages && liveHandle(vPages)];
    const at = intHandle(slots, device, temporaries, {});
    const { kScales, vScales } = given;
    const scales = [
      kScales && handleOn(device, kScales, 'options.kScales'),
      vScales && handleOn(device, vScales, 'options.vScales'),
    ] as const;
    const run = () =>
      call(() => native().append(kRows, vRows, kInto, vInto, at, rotary, ...scales), names);
    const [kAfter, vAfter, kScalesAfter, vScalesAfter] = enqueued(given, run);
    return {
      kPages: like(kPages, kAfter),
      ...(vPages && vAfter && { vPages: like(vPages, vAfter) }),
      ...(kScales && kScalesAfter && { kScales: like(kScales, kScalesAfter) }),
      ...(vScales && vScalesAfter && { vScales: like(vScales, vScalesAfter) }),
    };
  } finally {
    release(temporaries);
  }
}

const names = {
  slots: 'options.slots',
  rotary: 'options.rotary',
  ...rotaryNames('options.rotary'),
};

function like<D extends DType>(tensor: Tensor<D>, handle: NativeTensor): Tensor<D> {
  const { dtype, device, shape, strides } = tensor;
  return newTensor(handle, dtype, device, shape, strides);
}
