import { checkQuantize, checkQuantized, checkRotation } from './check-quantize.js';
import {
  blocksOf,
  type E4m3Shape,
  type E4m3Tensor,
  type QuantizeE4m3Options,
} from './e4m3-tensor.js';
import { e4m3Bits, e4m3FromBits } from './float.js';
import { philox4x32 } from './philox.js';
import type { Numbers } from './problem.js';

/** The largest e4m3 value. */
const LARGEST = 448;

/**
 * The random signs of a rotation: bit b of word w of Philox at counter (n, 0, 0, 1) belongs to
 * dimension 128 n + 32 w + b, and a set bit means -1.
 */
function rotationSigns(seed: bigint, dim: number): Float64Array {
  const low = (x: bigint) => Number(BigInt.asUintN(32, x));
  const key = [low(seed), low(seed >> 32n)] as const;
  return Float64Array.from({ length: dim }, (_, d) => {
    const word = philox4x32([d >> 7, 0, 0, 1], key)[(d >> 5) & 3];
    return (word >>> (d & 31)) & 1 ? -1 : 1;
  });
}

/** row = row * H / sqrt(n), with the Hadamard matrix H_2n = [[H_n, H_n], [H_n, -H_n]]. */
function hadamardTransform(row: Float64Array): void {
  for (let half = 1; half < row.length; half *= 2) {
    for (let c = 0; c < row.length; c++) {
      if (c & half) continue;
      const a = row[c];
      const b = row[c + half];
      row[c] = a + b;
      row[c + half] = a - b;
    }
  }
  const norm = Math.sqrt(row.length);
  for (let c = 0; c < row.length; c++) row[c] /= norm;
}

/**
 * Multiplies every row of length `dim` by the orthogonal matrix M = diag(signs) H / sqrt(dim), or
 * by its transpose, which takes that back.
 *
 * q M (k M)^T = q k^T, so attention does not notice when q and k are rotated alike. An outlier of a
 * row becomes a little in every element of it, and no longer sets the scale of all the others:
 * "incoherent processing", section 3.3 of Shah et al., "FlashAttention-3: Fast and Accurate
 * Attention with Asynchrony and Low-precision", 2024, arXiv 2407.08608; after Chee et al., "QuIP",
 * 2023, arXiv 2307.13304. In O(dim log dim) per row.
 *
 * @param dim a power of two
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the argument
 */
export function hadamardRotate(
  rows: Numbers,
  dim: number,
  seed: bigint,
  direction: 'forward' | 'back' = 'forward',
): Float64Array {
  checkRotation(rows, dim, seed, direction);
  const signs = rotationSigns(seed, dim);
  const rotated = Float64Array.from(rows);
  const flip = (row: Float64Array) => {
    for (let c = 0; c < dim; c++) row[c] *= signs[c];
  };
  for (let at = 0; at < rotated.length; at += dim) {
    const row = rotated.subarray(at, at + dim);
    if (direction === 'forward') flip(row);
    hadamardTransform(row);
    if (direction === 'back') flip(row);
  }
  return rotated;
}

/**
 * Rounds a tensor to float8, with a scale that maps the largest magnitude of what shares it to 448.
 * Infinities do not count for a scale; NaN stays NaN.
 *
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the argument
 */
export function quantizeE4m3(
  data: Numbers,
  shape: E4m3Shape,
  options: QuantizeE4m3Options = {},
): E4m3Tensor {
  checkQuantize(data, shape, options);
  const { per = 'block', hadamard, cuSeqlens } = options;
  const x = hadamard ? hadamardRotate(data, shape.dim, hadamard.seed) : data;
  const blocks = blocksOf(shape, cuSeqlens);

  const largest = new Float64Array(blocks.count);
  x.forEach((value, i) => {
    const [block, magnitude] = [blocks.at(i), Math.abs(value)];
    if (block >= 0 && magnitude < Infinity) largest[block] = Math.max(largest[block], magnitude);
  });
  const shared = { block: 1, head: blocks.perHead, tensor: largest.length }[per];
  const scales = new Float32Array(largest.length);
  for (let first = 0; first < scales.length; first += shared) {
    const most = largest.subarray(first, first + shared).reduce((a, b) => Math.max(a, b), 0);
    const scale = most > 0 ? Math.max(most / LARGEST, 2 ** -126) : 1;
    scales.fill(scale, first, first + shared);
  }
  const bits = Uint8Array.from(x, (value, i) => {
    const block = blocks.at(i);
    return block < 0 ? 0 : e4m3Bits(Math.fround(value / scales[block]));
  });
  return { shape, bits, scales, per, hadamard, cuSeqlens };
}

/**
 * What a float8 tensor stands for: value * scale, rotated back.
 *
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function dequantizeE4m3(quantized: E4m3Tensor): Float64Array {
  checkQuantized(quantized);
  const { shape, bits, scales, hadamard, cuSeqlens } = quantized;
  const blocks = blocksOf(shape, cuSeqlens);
  const x = Float64Array.from(bits, (byte, i) => {
    const block = blocks.at(i);
    return block < 0 ? 0 : e4m3FromBits(byte) * scales[block];
  });
  return hadamard ? hadamardRotate(x, shape.dim, hadamard.seed, 'back') : x;
}
