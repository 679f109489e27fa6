// What devices are and hold, as the native side tells it and callers see it.

/**
 * Where tensors live and work runs. `'cuda'` means `'cuda:0'`; a tensor's own `device` always has
 * the number.
 */
export type DeviceName = 'cpu' | 'cuda' | `cuda:${number}`;

/** One device, usable or not, as {@link devices} reports it. */
export interface DeviceInfo {
  /** `'cpu'`, `'cuda:0'`, … */
  readonly name: DeviceName;
  /** Whether tensors can be made there. */
  readonly available: boolean;
  /** Why not, when not available. */
  readonly reason?: string;
  /** The processor's own name. */
  readonly model?: string;
  /** Total memory in bytes. */
  readonly memory?: number;
  /** Instruction set level, such as `'x86-64-v3'` or `'sm_90'`. */
  readonly capability?: string;
  /** Threads the CPU device computes with. */
  readonly threads?: number;
  /** Kernels that can run there, by the names that {@link explain} gives them. */
  readonly kernels: readonly string[];
  /**
   * What this build has of them for a GPU: machine code, or PTX, which the driver compiles kernel
   * by kernel at first calls and keeps for the next process.
   */
  readonly kernelImage?: 'machine code' | 'PTX';
}

/** What the memory pool of a GPU has of its memory, in bytes, see {@link MemoryUse.pools}. */
export interface PoolUse {
  readonly device: DeviceName;
  /** Held by this process, whether in use or not. */
  readonly reserved: number;
  /** Of that in use: by tensors of all threads, and by calls under way. */
  readonly used: number;
  /**
   * How much may stay reserved and unused once what runs has been waited for: the environment
   * variable `FLASH_ATTENTION_CUDA_POOL_BYTES`, by default a sixteenth of the GPU's memory.
   */
  readonly limit: number;
}

/** What the tensors of this thread hold, see {@link memory}. */
export interface MemoryUse {
  /** Live tensor handles: views count, disposed and collected tensors do not. */
  readonly tensors: number;
  /** Storages behind them; one that several views share counts once. */
  readonly storages: number;
  /** Bytes of those storages. */
  readonly bytes: number;
  /**
   * Bytes that running calls of this process hold on the CPU beside tensors: partial results of
   * split keys, sums of gradients. They are given back when a call ends.
   */
  readonly scratch: number;
  /** The memory pool of each GPU that this process has used and that works; empty without one. */
  readonly pools: readonly PoolUse[];
}
