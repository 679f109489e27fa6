import '../tensor/symbol-dispose.js';

import { checkInteger } from '../native/check-value.js';
import type { DeviceName } from '../native/device.js';
import { fail } from '../native/errors.js';
import { keepName } from '../native/show.js';
import { tensor } from '../tensor/make.js';
import type { Tensor } from '../tensor/tensor.js';
import { type BigBirdOptions, bigBirdGrid } from './big-bird.js';
import { countBits, wordsPerRow } from './bits.js';
import { type Blocks, type BlocksOptions, blocksGrid } from './blocks.js';
import {
  type DocumentIds,
  type DocumentOptions,
  type DocumentPair,
  documentGrid,
} from './document.js';
import type { BlockSize, Geometry } from './geometry.js';
import { BlockGrid, blockExtent, isVisible, kFirstBitmap, kFull, kSkip } from './grid.js';
import { type LongformerOptions, longformerGrid } from './longformer.js';
import { picture } from './picture.js';
import { type PredicateOptions, predicateGrid } from './predicate.js';
import { type SlidingWindowOptions, slidingWindowGrid } from './window.js';

const kBrand = Symbol.for('flash-attention.BlockMask');
const kInspect = Symbol.for('nodejs.util.inspect.custom');

/** What the error of `postMessage(mask)` and `structuredClone(mask)` says. */
const kUncloneable = Symbol('a BlockMask, which stays in its thread (make one there),');

/**
 * Which queries see which keys, exact to the token and stored by blocks: a block is skipped, full,
 * or partial with a bitmap. Attention never touches skipped blocks, so time falls with {@link
 * density}. Equal bitmaps are stored once; a window over 131072 tokens takes a few megabytes.
 *
 * Combines with `causal`, `window` and `mask` of the call: a pair must pass all of them. Lives in
 * JavaScript memory and is copied to a device once, on the first call that uses it there. It
 * belongs to its thread: `postMessage(mask)` and `structuredClone(mask)` throw a `DataCloneError`.
 */
export class BlockMask {
  readonly seqlenQ: number;
  readonly seqlenK: number;
  /** Queries of a block. */
  readonly blockQ: number;
  /** Keys of a block. */
  readonly blockK: number;
  /** 1 (all sequences alike) or the batch. */
  readonly batch: number;
  /** 1 (all heads alike) or the number of query heads. */
  readonly heads: number;

  private readonly geometry: Geometry;
  private readonly words: number;
  private table: Int32Array;
  private bits: Int32Array;
  private readonly onDevice = new Map<string, { table: Tensor; bits: Tensor }>();
  private isDisposed = false;
  /**
   * As of {@link Tensor}: a copy would be no mask any more.
   *
   * @internal
   */
  readonly uncloneable = kUncloneable;

  static {
    keepName(BlockMask, 'BlockMask');
    Object.defineProperty(BlockMask.prototype, kBrand, { value: true });
  }

  private constructor(grid: BlockGrid) {
    if (!(grid instanceof BlockGrid)) {
      const makers =
        'from(), slidingWindow(), longformer(), bigBird(), document() or fromPredicate()';
      fail('ERR_TYPE', 'BlockMask', `made by ${makers}`, 'new BlockMask()');
    }
    this.geometry = grid.geometry;
    this.seqlenQ = grid.geometry.seqlenQ;
    this.seqlenK = grid.geometry.seqlenK;
    this.blockQ = grid.geometry.blockQ;
    this.blockK = grid.geometry.blockK;
    this.batch = grid.batch;
    this.heads = grid.heads;
    this.words = wordsPerRow(this.blockK);
    this.table = grid.table;
    this.bits = grid.bits();
  }

  /** True for masks of both the ESM and the CommonJS copy of this package. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return isBlockMask(value);
  }

  /**
   * A mask from booleans per block.
   *
   * @param blocks Nested arrays `[rows][cols]`, `[heads][rows][cols]` or
   * `[batch][heads][rows][cols]`, or the same flat as `{ data, shape }`; true where the block is
   * attended.
   * @param blockSize Queries and keys of a block.
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`, `ERR_OPTION`.
   */
  static from(blocks: Blocks, blockSize: BlockSize, options?: BlocksOptions): BlockMask {
    return new BlockMask(blocksGrid(blocks, blockSize, options));
  }

  /**
   * Query i sees keys p - left to p + right, p = i + seqlenK - seqlenQ: what `options.window` says,
   * as a mask.
   *
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`.
   */
  static slidingWindow(options: SlidingWindowOptions): BlockMask {
    return new BlockMask(slidingWindowGrid(options));
  }

  /**
   * A local window, and global tokens that see all and are seen by all (Longformer, Beltagy et al.
   * 2020).
   *
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`.
   */
  static longformer(options: LongformerOptions): BlockMask {
    return new BlockMask(longformerGrid(options));
  }

  /**
   * Windows, global and random blocks (BigBird, Zaheer et al. 2020). Whole blocks only.
   *
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`.
   */
  static bigBird(options: BigBirdOptions): BlockMask {
    return new BlockMask(bigBirdGrid(options));
  }

  /**
   * Query i sees key j when both belong to the same document: several documents packed into one
   * sequence.
   *
   * @param ids The document of each token, one list or one per sequence of the batch; `{ idsQ, idsK
   * }` where queries and keys differ.
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`, `ERR_OPTION`.
   */
  static document(
    ids: DocumentIds | readonly DocumentIds[] | DocumentPair,
    options?: DocumentOptions,
  ): BlockMask {
    return new BlockMask(documentGrid(ids, options));
  }

  /**
   * A mask from a function of positions, asked once for each of the seqlenQ * seqlenK pairs.
   *
   * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`; what the predicate throws passes.
   */
  static fromPredicate(options: PredicateOptions): BlockMask {
    return new BlockMask(predicateGrid(options));
  }

  /** The fraction of pairs that are visible, 0 to 1. */
  get density(): number {
    this.checkLive();
    const { rows, cols, blockQ, blockK } = this.geometry;
    const size = blockQ * this.words;
    const whole = new Map<number, number>();
    let visible = 0;
    for (let i = 0; i < this.table.length; i++) {
      const cell = this.table[i];
      if (cell === kSkip) continue;
      const { queries, keys } = blockExtent(this.geometry, Math.floor(i / cols) % rows, i % cols);
      if (cell === kFull) {
        visible += queries * keys;
        continue;
      }
      const isWhole = queries === blockQ && keys === blockK;
      let count = isWhole ? whole.get(cell) : undefined;
      if (count === undefined) {
        count = countBits(this.bits, (cell - kFirstBitmap) * size, this.words, queries, keys);
        if (isWhole) whole.set(cell, count);
      }
      visible += count;
    }
    return visible / (this.batch * this.heads * this.seqlenQ * this.seqlenK);
  }

  /**
   * Whether query i sees key j.
   *
   * @throws {@link FlashAttentionError} `ERR_OPTION` for a position outside, `ERR_TYPE`,
   * `ERR_DISPOSED`.
   */
  visible(i: number, j: number, head = 0, batch = 0): boolean {
    this.checkLive();
    checkInteger(i, 0, this.seqlenQ - 1, 'i');
    checkInteger(j, 0, this.seqlenK - 1, 'j');
    const ofHead = this.heads === 1 ? 0 : checkInteger(head, 0, this.heads - 1, 'head');
    const ofBatch = this.batch === 1 ? 0 : checkInteger(batch, 0, this.batch - 1, 'batch');
    const plane = ofBatch * this.heads + ofHead;
    return isVisible(this.geometry, this.table, this.bits, plane, i, j);
  }

  /**
   * A picture of the first head's blocks: `#` full, `+` partial, `.` skipped; at most 64 characters
   * a side.
   */
  toString(): string {
    this.checkLive();
    return picture(this.table, this.geometry.rows, this.geometry.cols);
  }

  get disposed(): boolean {
    return this.isDisposed;
  }

  /** Gives the memory back, here and on devices. Idempotent; enqueued calls keep what they need. */
  dispose(): void {
    this.isDisposed = true;
    for (const { table, bits } of this.onDevice.values()) {
      table.dispose();
      bits.dispose();
    }
    this.onDevice.clear();
    this.table = new Int32Array(0);
    this.bits = new Int32Array(0);
  }

  /** `using mask = BlockMask.from(…)` disposes it at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal The mask on a device, copied there on first use. */
  upload(device: DeviceName): { table: Tensor; bits: Tensor } {
    this.checkLive();
    let made = this.onDevice.get(device);
    if (!made) {
      const { rows, cols, blockQ } = this.geometry;
      const bitmaps = this.bits.length / (blockQ * this.words);
      made = {
        table: tensor(this.table, [this.batch, this.heads, rows, cols], { device }),
        bits: tensor(this.bits, [bitmaps, blockQ, this.words], { device }),
      };
      this.onDevice.set(device, made);
    }
    return made;
  }

  /** @internal */
  [kInspect](): string {
    const size = `${this.seqlenQ} x ${this.seqlenK} in blocks of ${this.blockQ} x ${this.blockK}`;
    const planes = `batch ${this.batch}, heads ${this.heads}`;
    return `BlockMask(${size}, ${planes}${this.disposed ? ', disposed' : ''})`;
  }

  private checkLive(): void {
    if (this.isDisposed) {
      fail('ERR_DISPOSED', 'blockMask', 'a live BlockMask', 'one that was disposed');
    }
  }
}

export function isBlockMask(value: unknown): value is BlockMask {
  return typeof value === 'object' && value !== null && kBrand in value;
}
