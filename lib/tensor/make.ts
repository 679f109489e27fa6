import { native } from '../native/addon.js';
import { type CallOptions, callKeys, enqueued } from '../native/call-options.js';
import { type DeviceName, deviceOption } from '../native/device.js';
import { call, fail } from '../native/errors.js';
import { checkOptions, checkUint64 } from './check.js';
import { checkDType, type DType, dtypeNumber, floating } from './dtype.js';
import { checkShape } from './shape.js';
import { newTensor, type Tensor } from './tensor.js';
import { type DTypeOfData, hostData, type TensorData } from './tensor-data.js';

/** Where and of what a new tensor is made. */
export interface TensorOptions extends CallOptions {
  /** Default float32; for {@link tensor} the one that the data's class says. */
  dtype?: DType;
  /** Default {@link defaultDevice}. */
  device?: DeviceName;
}

/** Options of {@link randn}. */
export interface RandnOptions extends TensorOptions {
  /** 0n to 2n ** 64n - 1n. The same seed gives the same values on every device. */
  seed: bigint;
}

const tensorKeys: ReadonlySet<string> = new Set(['dtype', 'device', ...callKeys]);
const randnKeys: ReadonlySet<string> = new Set(['seed', 'dtype', 'device', ...callKeys]);

/** Options that leave the dtype to the default. */
type WithoutDType<Options extends TensorOptions> = Options & { dtype?: undefined };

/** Options that say a dtype. */
type WithDType<D extends DType, Options extends TensorOptions> = Options & { dtype: D };

/**
 * A tensor with the elements of `data`, copied before the call returns: later writes to `data`,
 * resizing or transferring it can do no harm.
 *
 * | data | default dtype | other dtypes |
 * |---|---|---|
 * | numbers, `Float64Array`, `Float32Array` | float32 | float16, bfloat16, float8_e4m3 (rounded to nearest even); int32, int8, bool (exact or an error) |
 * | booleans | bool | |
 * | `Float16Array` | float16 | float32, bfloat16, float8_e4m3 |
 * | `Uint16Array` (raw bits) | none: say which | float16, bfloat16 |
 * | `Int32Array` | int32 | float32, float16, bfloat16, float8_e4m3, int8, bool |
 * | `BigInt64Array` | int32 (range checked) | |
 * | `Uint8Array` (0 and 1) | none: say `bool` | bool, int32, float32, float16, bfloat16 |
 * | `Uint8Array` (raw bits) | none: say `float8_e4m3` | |
 * | `Int8Array` | int8 | float32, float16, bfloat16, float8_e4m3, int32, bool |
 *
 * @param data Row-major elements; plain arrays may be nested as `shape` is.
 * @param shape 1 to 6 axes; an axis may be 0 long.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE` (number of elements), `ERR_DTYPE`,
 * `ERR_OPTION` (a value its dtype cannot hold), `ERR_DEVICE`, `ERR_DEVICE_UNAVAILABLE`,
 * `ERR_OUT_OF_MEMORY`.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]], [2, 2]); // Tensor<'float32'>
 * const y = tensor(bits, [2, 64], { dtype: 'bfloat16' }); // a Uint16Array, Tensor<'bfloat16'>
 */
export function tensor<D extends DType>(
  data: TensorData,
  shape: readonly number[],
  options: WithDType<D, TensorOptions>,
): Tensor<D>;
/** A tensor of the dtype that the class of `data` says; see the form with `options.dtype`. */
export function tensor<Data extends TensorData>(
  data: Data,
  shape: readonly number[],
  options?: WithoutDType<TensorOptions>,
): Tensor<DTypeOfData<Data>>;
/** A tensor of a dtype that the compiler does not know; see the form with `options.dtype`. */
export function tensor(data: TensorData, shape: readonly number[], options?: TensorOptions): Tensor;
export function tensor(
  data: TensorData,
  shape: readonly number[],
  options?: TensorOptions,
): Tensor {
  const lengths = checkShape(shape, 'shape');
  const given = checkOptions(options, tensorKeys);
  const wanted = given?.dtype;
  const host = hostData(
    data,
    lengths,
    wanted === undefined ? undefined : checkDType(wanted, 'options.dtype'),
  );
  const device = deviceOption(given?.device);
  const handle = enqueued(given, () =>
    call(() =>
      native().fromData(
        device,
        dtypeNumber[host.dtype],
        lengths,
        host.array,
        dtypeNumber[host.arrayDType],
      ),
    ),
  );
  return newTensor(handle, host.dtype, device, lengths);
}

/**
 * A tensor whose elements are not set: whatever the memory held.
 *
 * @param shape 1 to 6 axes; an axis may be 0 long.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`, `ERR_DTYPE`, `ERR_DEVICE`,
 * `ERR_DEVICE_UNAVAILABLE`, `ERR_OUT_OF_MEMORY`.
 */
export function empty<D extends DType>(
  shape: readonly number[],
  options: WithDType<D, TensorOptions>,
): Tensor<D>;
/** {@link empty} in float32. */
export function empty(
  shape: readonly number[],
  options?: WithoutDType<TensorOptions>,
): Tensor<'float32'>;
/** {@link empty} in a dtype that the compiler does not know. */
export function empty(shape: readonly number[], options?: TensorOptions): Tensor;
export function empty(shape: readonly number[], options?: TensorOptions): Tensor {
  return filled('empty', shape, options);
}

/**
 * A tensor of zeros (false for bool).
 *
 * @param shape 1 to 6 axes; an axis may be 0 long.
 * @throws {@link FlashAttentionError} as {@link empty}.
 */
export function zeros<D extends DType>(
  shape: readonly number[],
  options: WithDType<D, TensorOptions>,
): Tensor<D>;
/** {@link zeros} in float32. */
export function zeros(
  shape: readonly number[],
  options?: WithoutDType<TensorOptions>,
): Tensor<'float32'>;
/** {@link zeros} in a dtype that the compiler does not know. */
export function zeros(shape: readonly number[], options?: TensorOptions): Tensor;
export function zeros(shape: readonly number[], options?: TensorOptions): Tensor {
  return filled('zeros', shape, options);
}

function filled(
  kind: 'empty' | 'zeros',
  shape: readonly number[],
  options?: TensorOptions,
): Tensor {
  const lengths = checkShape(shape, 'shape');
  const given = checkOptions(options, tensorKeys);
  const { dtype, device } = place(given);
  const handle = enqueued(given, () =>
    call(() => native()[kind](device, dtypeNumber[dtype], lengths)),
  );
  return newTensor(handle, dtype, device, lengths);
}

/**
 * A tensor of standard normal values by Box-Muller over Philox4x32-10, a function of seed and
 * element index alone.
 *
 * @param shape 1 to 6 axes; an axis may be 0 long.
 * @param options `seed` is required; dtype float32 (default), float16 or bfloat16.
 * @throws {@link FlashAttentionError} as {@link empty}.
 */
export function randn<D extends DType>(
  shape: readonly number[],
  options: WithDType<D, RandnOptions>,
): Tensor<D>;
/** {@link randn} in float32. */
export function randn(
  shape: readonly number[],
  options: WithoutDType<RandnOptions>,
): Tensor<'float32'>;
/** {@link randn} in a dtype that the compiler does not know. */
export function randn(shape: readonly number[], options: RandnOptions): Tensor;
export function randn(shape: readonly number[], options: RandnOptions): Tensor {
  const lengths = checkShape(shape, 'shape');
  const given = checkOptions(options, randnKeys);
  const seed = checkUint64(given?.seed, 'options.seed');
  const { dtype, device } = place(given);
  if (!floating.includes(dtype)) {
    fail('ERR_DTYPE', 'options.dtype', 'float32, float16 or bfloat16', dtype);
  }
  const handle = enqueued(given, () =>
    call(() => native().randn(device, dtypeNumber[dtype], lengths, seed)),
  );
  return newTensor(handle, dtype, device, lengths);
}

function place(options: TensorOptions | undefined): { dtype: DType; device: DeviceName } {
  const dtype = options?.dtype;
  return {
    dtype: dtype === undefined ? 'float32' : checkDType(dtype, 'options.dtype'),
    device: deviceOption(options?.device),
  };
}
