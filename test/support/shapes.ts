/** The shapes of the grids of forward and backward tests. */
import { onSimt, widestHeadDim } from './device.js';

const seqlens: readonly (readonly [number, number])[] = [
  [1, 1],
  [1, 147],
  [3, 799],
  [64, 128],
  [113, 203],
  [128, 217],
  [200, 33],
  [256, 512],
  [1023, 1024],
  [2048, 2048],
];
/** Pairs of lengths; on the SIMT device of at most so many scores. */
export const seqlensUpTo = (mostOnSimt: number) =>
  seqlens.filter(([q, k]) => !onSimt || q * k <= mostOnSimt);

export const headDims = [8, 16, 32, 40, 64, 80, 96, 111, 128, 160, 192, 224, 256];
export const oddHeadDims = [
  1, 2, 3, 5, 7, 9, 15, 17, 31, 33, 63, 65, 127, 129, 255, 257, 300, 384, 512, 575, 576,
].filter((headDim) => headDim <= widestHeadDim);
