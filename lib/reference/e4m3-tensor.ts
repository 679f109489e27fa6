// A tensor in float8 with its scales, as the reference sees it.

/** Consecutive tokens of a head that share a scale. */
export const BLOCK = 128;

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
}

/** A tensor in float8: element = e4m3 value * scale of its block. */
export interface E4m3Tensor extends QuantizeE4m3Options {
  readonly shape: E4m3Shape;
  /** e4m3 bits, [batch, seqlen, heads, dim] */
  readonly bits: Uint8Array;
  /** [batch, heads, ceil(seqlen / 128)], equal where they are shared. */
  readonly scales: Float32Array;
}
