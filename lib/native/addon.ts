/**
 * The raw addon, as TypeScript sees it. Nothing here is public: the classes and functions of this
 * package check and translate arguments, the native side checks everything again.
 */
import { loadAddon } from './binding.js';
import { binaryError } from './binary-error.js';
import type { DeviceInfo, MemoryUse } from './device-info.js';
import type { Plan } from './plan.js';

/**
 * Opaque: a view of native memory. Its contents never change once its task has run, but for those
 * of pages: see {@link NativeAddon.append}.
 */
export interface NativeTensor {
  readonly __nativeTensor: never;
}

/** What a call gave: under {@link NativeAddon.description} dtype and shape. */
export interface NativeResult extends NativeTensor {
  readonly [description: symbol]: readonly [dtype: number, ...shape: number[]];
}

/** Tables [positions, rotaryDim / 2], and which rows of them tokens take. */
export interface NativeRotary {
  cos: NativeTensor;
  sin: NativeTensor;
  positions: NativeTensor;
  interleaved: boolean;
  rotaryOffset: number;
}

/** What a call says of any q, k and v. */
export interface NativeModifiers {
  scale?: number;
  causal?: boolean;
  windowLeft?: number;
  windowRight?: number;
  sinkTokens?: number;
  softcap?: number;
  alibiSlopes?: NativeTensor;
  sinks?: NativeTensor;
  dropoutP?: number;
  dropoutSeed?: bigint;
  dropoutOffset?: bigint;
  /** Absent: automatic. */
  numSplits?: number;
}

/** Opaque: what a step's layers have in common. */
export interface NativeStep {
  readonly __nativeStep: never;
}

/** Opaque: decode steps at fixed addresses. */
export interface NativeDecodeGraph {
  readonly __nativeDecodeGraph: never;
}

/** Opaque: what a model's layers have in common. */
export interface NativeStepOptions {
  readonly __nativeStepOptions: never;
}

/** Causal whether they say so or not. */
export interface NativeStepOptionArgs extends NativeModifiers {
  rotary?: Omit<NativeRotary, 'positions'>;
}

/**
 * Numbers, copied, one part behind the other: slots [total], positions [total],
 * cuSeqlensQ [batch + 1], seqlensK [batch], pageTable [batch, pagesPerSequence], the tree mask
 * [total, treeWords] unless treeWords is 0, copies [copies, 3]: a page, the page that its first
 * rows have to be in before that is written to, and how many.
 */
export interface NativeStepTables {
  device: string;
  tables: Int32Array;
  batch: number;
  total: number;
  pagesPerSequence: number;
  treeWords: number;
  copies: number;
  /** Of the pages that the tables speak of. */
  numPages: number;
  pageSize: number;
}

/** Opaque: what tasks look at to see whether their call was aborted. */
export interface NativeAbortFlag {
  readonly __nativeAbortFlag: never;
}

export interface NativeInfo {
  readonly version: string;
  readonly napiVersion: number;
  readonly compiler: string;
  /** "release" | "debug", sanitizers included in the name. */
  readonly build: string;
  readonly cuda: boolean;
  readonly isa: string;
  readonly isaLevels: string[];
  readonly threads: number;
}

/** What the CPU's threads did. */
export interface NativeTrace {
  /** Of each thread: its number in the pool, from 1; 0 for one that starts loops. */
  readonly threads: number[];
  readonly loops: { readonly kind: string; readonly items: number }[];
  /** float64, five each: index of the thread, index of the loop, item, begin and end in ns. */
  readonly events: ArrayBuffer;
  readonly dropped: number;
  /** In ns. */
  readonly duration: number;
}

/**
 * Fields that are undefined are absent. Integers may be Infinity / -Infinity where "unbounded"
 * makes sense (window).
 */
export interface NativeAttentionArgs extends NativeModifiers {
  q: NativeTensor;
  k: NativeTensor;
  v: NativeTensor;
  /**
   * Batched q, k and v: 0 = [B, S, H, D] (bshd), 1 = [B, H, S, D] (bhsd). Packed ones, those that
   * cuSeqlens are given for, are [total, H, D]; paged keys [pages, pageSize, H, D].
   */
  layout: 0 | 1;
  returnLse: boolean;
  /** Nothing below is given, nor any modifier; they are not looked at. */
  plain?: boolean;
  seqlensK?: NativeTensor;
  /** int32 [B]: where query 0 of a sequence stands among its keys. Default: seqlenK - seqlenQ. */
  firstPositions?: NativeTensor;
  /** Right-aligned broadcastable to [B, H, Sq, Sk], rank 1..4. */
  mask?: NativeTensor;
  blockMaskTable?: NativeTensor;
  blockMaskBits?: NativeTensor;
  blockQ?: number;
  blockK?: number;
  /** Lengths that the block mask was made for. */
  blockMaskSeqlenQ?: number;
  blockMaskSeqlenK?: number;
  /**
   * float8_e4m3: float32 [1], [B, H] or [B, H, ceil(S / 128)], all three given. vScale: [1] or [B,
   * Hkv], and so kScale of pages, or [Hkv]. int8 or float8_e4m3 pages under floating q: kScale and
   * vScale [pages, pageSize, Hkv].
   */
  qScale?: NativeTensor;
  kScale?: NativeTensor;
  vScale?: NativeTensor;
  cuSeqlensQ?: NativeTensor;
  cuSeqlensK?: NativeTensor;
  maxSeqlenQ?: number;
  maxSeqlenK?: number;
  pageTable?: NativeTensor;
  /** int32 [totalQ, words], over pages with cuSeqlensQ: bit t is key t of the sequence's tree. */
  treeMask?: NativeTensor;
  /** int32 [totalQ], with treeMask: where the tokens of trees stand. */
  positions?: NativeTensor;
}

/**
 * `causal`, masks and all as in the forward call. `returnLse` and `numSplits` are not looked at.
 */
export interface NativeBackwardArgs extends NativeAttentionArgs {
  /** Like out. */
  dOut: NativeTensor;
  out: NativeTensor;
  /** float32 [B, H, Sq]; varlen [H, totalQ]. */
  lse: NativeTensor;
  deterministic: boolean;
}

/** A plan as the addon, which serves one device, gives it. */
export type NativePlan = Omit<Plan, 'device'>;

export interface NativeDescription {
  readonly dtype: number;
  readonly device: string;
  readonly shape: number[];
  readonly strides: number[];
  readonly byteLength: number;
}

/**
 * Every function throws an Error with `code` and `argument` properties when an argument is wrong.
 * dtype numbers are those of csrc/core/dtype.h: 0 float32, 1 float16, 2 bfloat16, 3 int32, 4 bool,
 * 5 float8_e4m3, 6 int8.
 */
export interface NativeAddon {
  /** The key of what a {@link NativeResult} tells of itself. */
  readonly description: symbol;
  info(): NativeInfo;
  devices(): DeviceInfo[];
  memory(): MemoryUse;
  empty(device: string, dtype: number, shape: number[]): NativeTensor;
  zeros(device: string, dtype: number, shape: number[]): NativeTensor;
  randn(device: string, dtype: number, shape: number[], seed: bigint): NativeTensor;
  /**
   * Copies before it returns. `data`: Float32Array (0), Uint16Array (1, 2), Int32Array (3),
   * Uint8Array (4, 5), Int8Array (6), of `dataDtype`; converted to `dtype`.
   */
  fromData(
    device: string,
    dtype: number,
    shape: number[],
    data: ArrayBufferView,
    dataDtype: number,
  ): NativeTensor;
  /** Strides and offset in elements, the offset relative to the first element of `tensor`. */
  view(tensor: NativeTensor, shape: number[], strides: number[], offset: number): NativeTensor;
  /** Contiguous copy in another dtype or on another device. */
  convert(tensor: NativeTensor, device: string, dtype: number): NativeTensor;
  /** The tensors one behind the other along an axis, contiguous. */
  concat(tensors: NativeTensor[], axis: number): NativeResult;
  describe(tensor: NativeTensor): NativeDescription;
  /** Contiguous row-major contents as `dtype` (the tensor's own, or 0). */
  read(tensor: NativeTensor, dtype: number): Promise<ArrayBuffer>;
  /** The same in the tensor's own dtype, of a tensor that is disposed by it. */
  take(tensor: NativeTensor): Promise<ArrayBuffer>;
  /** Idempotent. */
  dispose(tensor: NativeTensor): void;
  attention(args: NativeAttentionArgs): [out: NativeResult, lse: NativeResult | null];
  attentionBackward(
    args: NativeBackwardArgs,
  ): [dq: NativeResult, dk: NativeResult, dv: NativeResult, dSinks: NativeResult | null];
  plan(args: NativeAttentionArgs): NativePlan;
  /** outs [B, S, H, D] (layout 0) or [B, H, S, D] (1), lses [B, H, S] float32. */
  mergeStates(
    outs: NativeTensor[],
    lses: NativeTensor[],
    layout: 0 | 1,
  ): [out: NativeResult, lse: NativeResult];
  /**
   * x [B, S, H, D] (layout 0) or [B, H, S, D] (1), weights [B, S, H, K] (or B, H, S, K) or [H, K],
   * state [B, K - 1, H, D] (or B, H, K - 1, D). On the CPU alone.
   */
  dynamicConv(
    x: NativeTensor,
    weights: NativeTensor,
    state: NativeTensor | undefined,
    layout: 0 | 1,
    returnState: boolean,
  ): [out: NativeResult, state: NativeResult | null];
  /**
   * Writes to the memory of the pages in place. What it gives views that memory and fails when this
   * does; the tensors given do not. k, v [total, H, D]: token t goes to row slots[t] % pageSize of
   * page slots[t] / pageSize, k rotated first. In the order of the stream that the pages were made
   * on, and behind what other streams read of them so far. int8 and float8_e4m3 pages have scales,
   * [pages, pageSize, H] float32, which are written likewise, or [H] or [1], which are read and
   * not given back; without them k and v are of the pages' dtype. Without v and vPages values are
   * a part of their keys.
   */
  append(
    k: NativeTensor,
    v: NativeTensor | undefined,
    kPages: NativeTensor,
    vPages: NativeTensor | undefined,
    slots: NativeTensor,
    rotary: NativeRotary | undefined,
    kScales: NativeTensor | undefined,
    vScales: NativeTensor | undefined,
  ): [
    kPages: NativeResult,
    vPages: NativeResult | null,
    kScales: NativeResult | null,
    vScales: NativeResult | null,
  ];
  /** Judges the tables once, for all layers. */
  newStep(args: NativeStepTables): NativeStep;
  /** Gives back what a step holds. Idempotent. */
  endStep(step: NativeStep): void;
  /** Of a device. Tensors that are disposed later make a call with them fail. */
  stepOptions(device: string, args: NativeStepOptionArgs): NativeStepOptions;
  /**
   * As {@link append} of k and v, whose slots are the step's, then attention of q over the pages,
   * in one task; k and q are rotated where `options` say so, at the step's positions or those
   * given. q, k and v are tensors or Float32Arrays; no v where vPages is a view of the first dims
   * of kPages. With `sync` returns when it has run, what it computed, as float32.
   */
  stepAttention<Sync extends boolean>(
    step: NativeStep,
    kPages: NativeTensor,
    vPages: NativeTensor,
    kScales: NativeTensor | undefined,
    vScales: NativeTensor | undefined,
    q: NativeTensor | Float32Array,
    k: NativeTensor | Float32Array,
    v: NativeTensor | Float32Array | undefined,
    options: NativeStepOptions,
    positions: NativeTensor | undefined,
    returnLse: boolean,
    sync: Sync,
  ): Sync extends true
    ? [out: Float32Array<ArrayBuffer>, lse: Float32Array<ArrayBuffer> | null]
    : [out: NativeTensor, lse: NativeTensor | null];
  /** `layers` are [kPages, vPages, kScales, vScales]; the device captures graphs. */
  newDecodeGraph(args: {
    layers: readonly (readonly (NativeTensor | undefined)[])[];
    options: NativeStepOptions;
    heads: number;
    dtype: number;
    batch: number;
    tokens: number;
    tree: boolean;
    returnLse: boolean;
    pagesPerSequence: number;
  }): NativeDecodeGraph;
  /** Of each layer of `rows`, which are [q, k, v]; the next replay of it writes over them. */
  replayDecode(
    graph: NativeDecodeGraph,
    step: NativeStep,
    firstLayer: number,
    rows: readonly (readonly (NativeTensor | Float32Array | undefined)[])[],
  ): [out: NativeTensor, lse: NativeTensor | null][];
  /** Gives back what a graph holds. Idempotent. */
  endDecodeGraph(graph: NativeDecodeGraph): void;
  /** [total, H, D] with positions [total] or [1, total]; [B, S, H, D] with positions [B, S]. */
  rotate(x: NativeTensor, rotary: NativeRotary): NativeResult;
  /**
   * [B, S, H, D] (layout 0) or [B, H, S, D] (1); [total, H, D] with cuSeqlens and maxSeqlen. per: a
   * scale per 0 tensor, 1 head, 2 head and 128 tokens. seed: of a rotation.
   */
  quantize(
    tensor: NativeTensor,
    layout: 0 | 1,
    per: number,
    seed: bigint | undefined,
    cuSeqlens?: NativeTensor,
    maxSeqlen?: number,
  ): [values: NativeResult, scales: NativeResult];
  dequantize(
    values: NativeTensor,
    scales: NativeTensor,
    layout: 0 | 1,
    seed: bigint | undefined,
    dtype: number,
    cuSeqlens?: NativeTensor,
    maxSeqlen?: number,
  ): NativeResult;
  synchronize(device: string): Promise<void>;
  /**
   * One float64: milliseconds that the device spent on what was enqueued since the lap before; 0
   * for the first.
   */
  lap(device: string): Promise<ArrayBuffer>;
  /**
   * Loops that begin from now on, in the whole process, are traced, with so many events of each
   * thread. One trace at a time.
   */
  startTrace(capacity: number): void;
  /** Ends the trace that this environment has begun. */
  stopTrace(): NativeTrace;
  newAbortFlag(): NativeAbortFlag;
  /** Tasks that were to stop on `flag` stop. */
  abort(flag: NativeAbortFlag): void;
  /** Tasks enqueued from now on stop on `flag`; undefined: on none. */
  stopOn(flag: NativeAbortFlag | undefined): void;
  /** Calls from now on go to the queues of this priority: 0 normal, 1 high. */
  prioritize(priority: 0 | 1): void;
}

let addon: NativeAddon | undefined;

/** The addon, loaded on first use: importing the package touches no binary and cannot fail. */
export function native(): NativeAddon {
  addon ??= load();
  return addon;
}

function load(): NativeAddon {
  try {
    return loadAddon() as NativeAddon;
  } catch (error) {
    throw binaryError(error);
  }
}
