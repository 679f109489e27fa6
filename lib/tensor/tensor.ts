import './symbol-dispose.js';

import { type NativeTensor, native } from '../native/addon.js';
import {
  type CallOptions,
  checkCallOptions,
  enqueued,
  enqueuedRead,
  shareSignal,
} from '../native/call-options.js';
import { type DeviceName, resolveDevice } from '../native/device.js';
import { call, fail, wait } from '../native/errors.js';
import { keepName, kHandle, show, showShape } from '../native/show.js';
import {
  type DType,
  dtypeNumber,
  dtypeSize,
  floating,
  isDType,
  isFloating,
  type TypedArray,
  typedArrayOver,
} from './dtype.js';
import {
  checkReshape,
  checkShape,
  contiguousStrides,
  isContiguous,
  reshapeStrides,
  sizeOf,
} from './shape.js';

const isDevice = /^(cpu|cuda|simt)/;

const kInspect = Symbol.for('nodejs.util.inspect.custom');

/** The constructor, for this package alone; others use {@link tensor} and its like. */
export let newTensor: <D extends DType>(
  handle: NativeTensor,
  dtype: D,
  device: DeviceName,
  shape: readonly number[],
  strides?: readonly number[],
) => Tensor<D>;

/** What the error of `postMessage(tensor)` and `structuredClone(tensor)` says. */
const kUncloneable = Symbol('a Tensor, which stays in its thread (send what data() gives),');

/**
 * A view of memory on a device: shape, strides and dtype over native, reference-counted storage.
 * Its contents never change. Made by {@link tensor}, {@link empty}, {@link zeros}, {@link randn}
 * and by every attention call; reading it back ({@link Tensor.data}, {@link Tensor.toFloat32}) is
 * what waits for the work that fills it.
 *
 * Memory goes back when the tensor is collected or, sooner, by {@link Tensor.dispose} or `using`.
 * Calls already enqueued keep what they need.
 *
 * A tensor belongs to its thread. `postMessage(tensor)` and `structuredClone(tensor)` throw a
 * `DataCloneError` that says so; send the array that {@link Tensor.data} gives, or transfer its
 * buffer.
 *
 * @typeParam D The dtype, where it is known to the compiler.
 */
export class Tensor<D extends DType = DType> {
  /** Lengths of the axes, 1 to 6 of them. */
  readonly shape: readonly number[];
  /** Steps between neighbours along each axis, in elements. */
  readonly strides: readonly number[];
  readonly dtype: D;
  readonly device: DeviceName;
  /**
   * Cloning reads own properties and refuses symbols, quoting their description.
   *
   * @internal
   */
  readonly uncloneable = kUncloneable;
  /** @internal Null once disposed. */
  [kHandle]: NativeTensor | null;

  static {
    keepName(Tensor, 'Tensor');
    newTensor = (...args) => new Tensor(...args);
  }

  private constructor(
    handle: NativeTensor,
    dtype: D,
    device: DeviceName,
    shape: readonly number[],
    strides?: readonly number[],
  ) {
    if (!Array.isArray(shape)) {
      fail('ERR_TYPE', 'Tensor', 'made by tensor(), empty(), zeros() or randn()', 'new Tensor()');
    }
    this.shape = Object.freeze(shape);
    this.strides = Object.freeze(strides ?? contiguousStrides(shape));
    this.dtype = dtype;
    this.device = device;
    this[kHandle] = handle;
  }

  /** True for tensors of both the ESM and the CommonJS copy of this package. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return isTensor(value);
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Bytes of the elements of this view, not of the storage behind it. */
  get byteLength(): number {
    return this.size * dtypeSize[this.dtype];
  }

  get disposed(): boolean {
    return this[kHandle] === null;
  }

  /**
   * The elements in row-major order of the shape, in the dtype's own storage type (see {@link
   * TypedArrays}): a copy, made when the work that fills this tensor has run ({@link Tensor.take}
   * needs none).
   *
   * @throws {@link FlashAttentionError} as a rejection: `ERR_DISPOSED`, or whatever went wrong in
   * the work that should have filled it.
   */
  async data(options?: CallOptions): Promise<TypedArray<D>> {
    const handle = liveHandle(this);
    const read = () => native().read(handle, dtypeNumber[this.dtype]);
    const buffer = await wait(() => enqueuedRead(checkCallOptions(options), handle, read));
    return typedArrayOver(this.dtype, buffer);
  }

  /**
   * Like {@link Tensor.data}, for a tensor that is not needed any more: it is disposed at once,
   * unless there is no memory for a copy. Where its elements are all there is in CPU memory that no
   * other tensor views, and that calls of one {@link Priority} have used, that memory becomes the
   * array's and nothing is copied: the fastest way to a result. Such an array cannot be transferred
   * to a worker, only cloned.
   *
   * @throws {@link FlashAttentionError} as {@link Tensor.data}.
   */
  async take(options?: CallOptions): Promise<TypedArray<D>> {
    const handle = liveHandle(this);
    const take = () => {
      const promise = native().take(handle);
      this[kHandle] = null;
      return promise;
    };
    const buffer = await wait(() => enqueuedRead(checkCallOptions(options), handle, take));
    return typedArrayOver(this.dtype, buffer);
  }

  /**
   * The elements in row-major order of the shape, converted to float32 (bool gives 0 and 1): a
   * copy, made when the work that fills this tensor has run.
   *
   * @throws {@link FlashAttentionError} as {@link Tensor.data}.
   */
  async toFloat32(options?: CallOptions): Promise<Float32Array> {
    const handle = liveHandle(this);
    const read = () => native().read(handle, dtypeNumber.float32);
    return new Float32Array(
      await wait(() => enqueuedRead(checkCallOptions(options), handle, read)),
    );
  }

  /**
   * A contiguous copy in another dtype, rounded to nearest even, or on another device. Integers and
   * booleans convert to floating dtypes, not back. float8_e4m3 has no infinity: what exceeds 448
   * becomes 448 ({@link quantize} finds a scale first).
   *
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_DTYPE`, `ERR_DEVICE`,
   * `ERR_DEVICE_UNAVAILABLE`, `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`.
   */
  to<T extends DType>(dtype: T, options?: CallOptions): Tensor<T>;
  /** A contiguous copy on another device. */
  to(device: DeviceName, options?: CallOptions): Tensor<D>;
  /** A contiguous copy in another dtype or on another device. */
  to(deviceOrDType: DeviceName | DType, options?: CallOptions): Tensor;
  to(deviceOrDType: DeviceName | DType, options?: CallOptions): Tensor {
    const handle = liveHandle(this);
    if (typeof deviceOrDType !== 'string') {
      fail('ERR_TYPE', 'deviceOrDType', 'a device name or a dtype', show(deviceOrDType));
    }
    const toDType = isDType(deviceOrDType);
    if (
      toDType
        ? !isFloating(deviceOrDType) && deviceOrDType !== this.dtype
        : !isDevice.test(deviceOrDType)
    ) {
      const expected = `a device or one of ${[...new Set([this.dtype, ...floating, 'float8_e4m3'])].join(', ')}`;
      fail('ERR_DTYPE', 'deviceOrDType', expected, show(deviceOrDType));
    }
    const dtype = toDType ? deviceOrDType : this.dtype;
    const device = toDType ? this.device : resolveDevice(deviceOrDType, 'deviceOrDType');
    const copy = enqueued(checkCallOptions(options), () =>
      call(() => native().convert(handle, device, dtypeNumber[dtype])),
    );
    return newTensor(copy, dtype, device, this.shape);
  }

  /**
   * This tensor with its elements in row-major order: a view when they are already, else a copy.
   *
   * @throws {@link FlashAttentionError} `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`.
   */
  contiguous(options?: CallOptions): Tensor<D> {
    checkCallOptions(options);
    return isContiguous(this.shape, this.strides)
      ? view(this, this.shape, contiguousStrides(this.shape), 0)
      : this.to(this.dtype, options);
  }

  /**
   * A view of the same elements in another shape; one axis may be -1 and is worked out.
   *
   * @throws {@link FlashAttentionError} `ERR_SHAPE` when the sizes differ, or when the strides
   * allow no view: then `tensor.contiguous().reshape(shape)` makes a copy. `ERR_TYPE`,
   * `ERR_DISPOSED`.
   */
  reshape(shape: readonly number[]): Tensor<D> {
    liveHandle(this);
    const target = checkReshape(shape, this.size, 'shape');
    const strides = reshapeStrides(this.shape, this.strides, target);
    if (!strides) {
      const received = `${showShape(target)} over ${showShape(this.shape)}`;
      const hint = `The strides are ${showShape(this.strides)}: use contiguous() first.`;
      fail('ERR_SHAPE', 'shape', 'one that a view without a copy can have', received, hint);
    }
    return view(this, target, strides, 0);
  }

  /**
   * A view with the axes in another order: `transpose(0, 2, 1, 3)` makes `[B, S, H, D]` into
   * `[B, H, S, D]`.
   *
   * @param axes Every axis once.
   * @throws {@link FlashAttentionError} `ERR_SHAPE`, `ERR_DISPOSED`.
   */
  transpose(...axes: number[]): Tensor<D> {
    liveHandle(this);
    const rank = this.shape.length;
    const sorted = [...axes].sort();
    if (axes.length !== rank || sorted.some((axis, i) => axis !== i)) {
      const hint = Array.isArray(axes[0]) ? `Write transpose(${axes[0].join(', ')}).` : '';
      fail('ERR_SHAPE', 'axes', `every axis from 0 to ${rank - 1} once`, show(axes), hint);
    }
    const shape = axes.map((axis) => this.shape[axis]);
    const strides = axes.map((axis) => this.strides[axis]);
    return view(this, shape, strides, 0);
  }

  /**
   * A view of part of the tensor: one `[start, end)` per axis, `null` for all of it; axes left out
   * are taken whole. The rank stays.
   *
   * @example
   * keys.slice(null, [0, 128]) // the first 128 of axis 1
   * @throws {@link FlashAttentionError} `ERR_SHAPE`, `ERR_TYPE`, `ERR_DISPOSED`.
   */
  slice(...ranges: (readonly [start: number, end: number] | null)[]): Tensor<D> {
    liveHandle(this);
    if (ranges.length > this.shape.length) {
      fail('ERR_SHAPE', 'ranges', `at most ${this.shape.length} ranges`, `${ranges.length}`);
    }
    const shape = [...this.shape];
    let offset = 0;
    ranges.forEach((range, axis) => {
      if (range === null) return;
      const length = this.shape[axis];
      const [start, end] = checkRange(range, length, `ranges[${axis}]`);
      shape[axis] = end - start;
      offset += start * this.strides[axis];
    });
    // An empty view may start past the end of the storage; it has no element that could tell.
    return view(this, shape, this.strides, sizeOf(shape) === 0 ? 0 : offset);
  }

  /**
   * A view in which axes of length 1 are repeated to the lengths of `shape`, without a copy: one
   * set of keys shared by a batch, one mask by all heads. New axes may come in front, as in NumPy's
   * `broadcast_to`. The repeated axes have stride 0; {@link Tensor.contiguous} makes the copies.
   *
   * @example
   * const shared = k.expand([batch, ...k.shape.slice(1)]); // k is [1, seqlenK, heads, headDim]
   * @throws {@link FlashAttentionError} `ERR_SHAPE` when another axis would change, `ERR_TYPE`,
   * `ERR_DISPOSED`.
   */
  expand(shape: readonly number[]): Tensor<D> {
    liveHandle(this);
    const target = checkShape(shape, 'shape');
    const added = target.length - this.shape.length;
    if (added < 0) {
      fail('ERR_SHAPE', 'shape', `at least ${this.shape.length} axes`, showShape(target));
    }
    const strides = target.map((length, axis) => {
      const own = this.shape[axis - added];
      if (own === length) return this.strides[axis - added];
      if (own === undefined || own === 1) return 0;
      return fail('ERR_SHAPE', `shape[${axis}]`, `${own}, like the tensor's axis,`, `${length}`);
    });
    return view(this, target, strides, 0);
  }

  /**
   * Gives up this view's hold on the memory. Idempotent; other views and enqueued calls keep
   * theirs.
   */
  dispose(): void {
    const handle = this[kHandle];
    if (handle === null) return;
    this[kHandle] = null;
    call(() => native().dispose(handle));
  }

  /** `using t = tensor(…)` disposes `t` at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal */
  [kInspect](): string {
    return this.toString();
  }

  /** `Tensor(float32 [2, 3] on cpu)`: what it is, not what it holds. */
  toString(): string {
    const state = this.disposed ? ', disposed' : '';
    return `Tensor(${this.dtype} ${showShape(this.shape)} on ${this.device}${state})`;
  }
}

export function isTensor(value: unknown): value is Tensor {
  return typeof value === 'object' && value !== null && kHandle in value;
}

/** The native handle of a tensor that is not disposed. */
export function liveHandle(tensor: Tensor, argument = 'tensor'): NativeTensor {
  return (
    tensor[kHandle] ?? fail('ERR_DISPOSED', argument, 'a live Tensor', 'one that was disposed')
  );
}

/** A view with its own handle. `offset` in elements from the first element of `tensor`. */
export function view<D extends DType>(
  tensor: Tensor<D>,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): Tensor<D> {
  const handle = liveHandle(tensor);
  const made = call(() => native().view(handle, [...shape], [...strides], offset));
  shareSignal(handle, made);
  return newTensor(made, tensor.dtype, tensor.device, shape, strides);
}

function checkRange(range: unknown, length: number, argument: string): [number, number] {
  if (!Array.isArray(range) || range.length !== 2) {
    fail('ERR_TYPE', argument, '[start, end] or null', show(range));
  }
  const [start, end] = range as [number, number];
  const inside = Number.isInteger(start) && Number.isInteger(end) && start >= 0 && end <= length;
  if (!inside || start > end) {
    fail('ERR_SHAPE', argument, `integers with 0 <= start <= end <= ${length}`, show(range));
  }
  return [start, end];
}
