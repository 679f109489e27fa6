// A tensor in float8 with its scales, as the reference sees it.

/** Consecutive tokens of a head that share a scale. */
const tokensPerBlock = 128;

/** Sizes of a [batch, seqlen, heads, dim] array. */
export interface E4m3Shape {
  readonly batch: number;
  readonly seqlen: number;
  readonly heads: number;
  readonly dim: number;
}

export interface QuantizeE4m3Options {
  /** What shares a scale: 128 tokens of a head (default), all tokens of a head, or everything. */
  readonly per?: 'block' | 'head' | 'tensor';
  /** Rotates rows first: see `hadamardRotate`. */
  readonly hadamard?: { readonly seed: bigint };
  /**
   * The tokens of a batch of 1 are sequences, one after the other: sequence b is tokens
   * `cuSeqlens[b]` to `cuSeqlens[b + 1]`. Each begins a block. Tokens past the last become 0.
   */
  readonly cuSeqlens?: ArrayLike<number>;
}

/** A tensor in float8: element = e4m3 value * scale of its block. */
export interface E4m3Tensor extends QuantizeE4m3Options {
  readonly shape: E4m3Shape;
  /** e4m3 bits, [batch, seqlen, heads, dim] */
  readonly bits: Uint8Array;
  /**
   * `[batch, heads, ceil(seqlen / 128)]`, equal where they are shared; of packed sequences their
   * number and the length of the longest.
   */
  readonly scales: Float32Array;
}

/** Where the scales of a tensor lie. */
export interface Blocks {
  /** Of a head of a sequence. */
  readonly perHead: number;
  /** Of all heads and sequences. */
  readonly count: number;
  /** The index of an element's block in [batch, heads, blocks]; -1: it is of no sequence. */
  readonly at: (index: number) => number;
}

/** Blocks begin with their sequence. A tensor without offsets is one of sequences of one length. */
export function blocksOf(shape: E4m3Shape, cuSeqlens?: ArrayLike<number>): Blocks {
  const { batch, seqlen, heads, dim } = shape;
  const first = Array.from(cuSeqlens ?? Array.from({ length: batch + 1 }, (_, b) => b * seqlen));
  const longest = Math.max(0, ...first.slice(1).map((end, b) => end - first[b]));
  const perHead = Math.ceil(longest / tokensPerBlock);
  const sequences = new Int32Array(batch * seqlen).fill(-1);
  first.slice(1).forEach((end, b) => {
    sequences.fill(b, first[b], end);
  });
  const at = (index: number) => {
    const row = Math.floor(index / dim);
    const token = Math.floor(row / heads);
    const b = sequences[token];
    if (b < 0) return -1;
    return (b * heads + (row % heads)) * perHead + Math.floor((token - first[b]) / tokensPerBlock);
  };
  return { perHead, count: (first.length - 1) * heads * perHead, at };
}
