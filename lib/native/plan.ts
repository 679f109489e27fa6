/** How a call would run and what it would cost. */
export interface Plan {
  /** The device of q. */
  readonly device: string;
  /**
   * The kernel chosen, such as `'cpu.forward'`, `'sm90.forward.featured'` or
   * `'sm90.forward.float8'`.
   */
  readonly kernel: string;
  /** Instruction set it is compiled for, such as `'x86-64-v3'` or `'sm_90a'`. */
  readonly isa: string;
  /**
   * The kernel that would compute the gradients, such as `'cpu.backward'`; empty for a call that
   * has none.
   */
  readonly backwardKernel: string;
  /** Threads that share out the work; on a GPU those of one block. */
  readonly threads: number;
  /** Query rows of one register tile; on a GPU of one block. */
  readonly tileQ: number;
  /** Keys of one tile. */
  readonly tileK: number;
  /** Register tiles that share one pass over the keys: a block. */
  readonly panels: number;
  /** Rows of a block, of all packed heads: the last of its tiles may have fewer than tileQ. */
  readonly blockRows: number;
  /**
   * Tiles of keys, and of values, that are on chip at a time: more than one when copies run ahead.
   */
  readonly stages: number;
  /** Query heads of a kv head whose rows share a tile, so that its keys are read once for all. */
  readonly packedHeads: number;
  /** Key ranges worked on side by side and merged. */
  readonly numSplits: number;
  /**
   * What several sequences of few queries begin with in the same pages, and is read once for all of
   * them: how many they are, and how many keys. Only with automatic splits, on the CPU.
   */
  readonly sharedPrefixes: readonly { readonly sequences: number; readonly keys: number }[];
  /** Units of work the threads share out; on a GPU the blocks of the grid. */
  readonly workItems: number;
  /**
   * Launches of a GPU's kernels that share out the sequences by their numbers of queries and run at
   * the same time. `kernel` is that of the longest; the merge of splits is left out. 0 on the CPU.
   */
  readonly launches: number;
  /** Tiles over all heads in which every pair is visible: computed without a mask. */
  readonly tilesFull: number;
  /** Tiles in which some pairs are visible: computed with masks. */
  readonly tilesPartial: number;
  /** Tiles in which no pair is visible: never touched. */
  readonly tilesSkipped: number;
  /** 2 (headDim + headDimV) per visible (query, key) pair. */
  readonly flops: number;
  /**
   * FLOPs of the tiles that are computed, hidden pairs and padding among them; 0 where the device
   * does not count them.
   */
  readonly executedFlops: number;
  /** Bytes the kernel reads and writes. */
  readonly bytes: number;
  /** Bytes that standard attention would read and write, scores and weights included. */
  readonly standardBytes: number;
  /** Bytes of scores and weights that standard attention would store. */
  readonly standardMemory: number;
  /** Shared memory of one block, in bytes; 0 on the CPU. */
  readonly sharedBytes: number;
  /** Scratch memory of the call, in bytes. */
  readonly scratchBytes: number;
  /** Scratch memory of the gradients, in bytes; 0 for a call that has none. */
  readonly backwardScratchBytes: number;
  /**
   * Index tensors that are still being computed, as the caller wrote them, such as
   * `'options.seqlensK'`. Counts are those of the longest sequences that the shapes allow. Empty
   * when all is known.
   */
  readonly assumed: readonly string[];
}
