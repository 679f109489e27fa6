/** Every option alone and some together, for forward and backward tests of one shape. */
import { BlockMask } from '../../lib/index.js';
import { lowestFloat32, normals, type SharedOptions } from './numerics.js';
import { uniform } from './random.js';

export const shape = {
  batch: 2,
  seqlenQ: 133,
  seqlenK: 201,
  heads: 4,
  kvHeads: 2,
  headDim: 40,
  headDimV: 24,
};
const { batch, seqlenQ, seqlenK, heads } = shape;

function bits(count: number, seed: number, density = 0.7): Uint8Array {
  const random = uniform(seed);
  return Uint8Array.from({ length: count }, () => (random() < density ? 1 : 0));
}

function biases(count: number, seed: number): Float32Array {
  const random = uniform(seed);
  return normals(count, seed + 1).map((x) => (random() < 0.1 ? -Infinity : x));
}

function lowestWhereHidden(count: number, seed: number): Float32Array {
  return Float32Array.from(bits(count, seed), (bit) => (bit ? 0 : lowestFloat32));
}

/** Keys from `begin` up to each sequence's end get `inside`, the others `outside`. */
function padding(
  outside: number,
  begin: number,
  ends: readonly number[],
  inside: (j: number) => number = () => 0,
): Float32Array {
  return Float32Array.from({ length: ends.length * seqlenK }, (_, at) => {
    const j = at % seqlenK;
    return begin <= j && j < ends[Math.floor(at / seqlenK)] ? inside(j) : outside;
  });
}

const dropout = { p: 0.17, seed: 0x1234_5678_9abc_def0n, offset: 0x1_0000_0007n };
export const options: Record<string, SharedOptions> = {
  causal: { causal: true },
  window: { window: [17, 5] },
  'window, left only': { window: [40, Infinity] },
  'window, right only': { window: [Infinity, 3] },
  'window, negative left': { window: [-4, 20] },
  'window, negative right': { window: [30, -6] },
  'window that shows nothing': { window: [-10, 5] },
  'causal window': { causal: true, window: [64, 64] },
  'sink tokens': { causal: true, window: [20, 0], sinkTokens: 4 },
  'more sink tokens than keys': { causal: true, window: [3, 0], sinkTokens: 1000 },
  seqlensK: { seqlensK: [201, 77] },
  'seqlensK, causal, one empty': { causal: true, seqlensK: [0, 150] },
  softcap: { softcap: 1.5 },
  'softcap, causal': { softcap: 30, causal: true },
  alibi: { alibiSlopes: [0.5, 0.25, 0.125, 0.0625] },
  'alibi by batch, causal': { causal: true, alibiSlopes: [0.5, 0.25, 0.1, 0, 1, 2, 3, -0.5] },
  'bool mask': {
    mask: {
      data: bits(batch * heads * seqlenQ * seqlenK, 1),
      shape: [batch, heads, seqlenQ, seqlenK],
    },
  },
  'bool mask by key': { mask: { data: bits(seqlenK, 2), shape: [seqlenK] } },
  'bool mask by batch and key': {
    mask: { data: bits(batch * seqlenK, 3), shape: [batch, 1, 1, seqlenK] },
  },
  'bool mask by query': { mask: { data: bits(seqlenQ, 4), shape: [seqlenQ, 1] } },
  'bool mask of nothing': { mask: { data: new Uint8Array(1), shape: [1, 1] } },
  'float mask': {
    mask: { data: biases(heads * seqlenQ * seqlenK, 5), shape: [1, heads, seqlenQ, seqlenK] },
  },
  'float mask by key, causal': {
    causal: true,
    mask: { data: biases(batch * seqlenK, 6), shape: [batch, 1, 1, seqlenK] },
  },
  'float mask of the lowest float': {
    mask: { data: lowestWhereHidden(seqlenQ * seqlenK, 7), shape: [seqlenQ, seqlenK] },
  },
  'padding by the lowest float': {
    mask: { data: padding(lowestFloat32, 0, [201, 75]), shape: [batch, 1, 1, seqlenK] },
  },
  'padding by -10000, causal': {
    causal: true,
    mask: { data: padding(-10000, 0, [180, 128]), shape: [batch, 1, 1, seqlenK] },
  },
  // Early rows see padding alone.
  'padding on the left, causal': {
    causal: true,
    mask: { data: padding(lowestFloat32, 149, [201, 201]), shape: [batch, 1, 1, seqlenK] },
  },
  'padding on both sides by -Infinity, sinks': {
    sinks: [0, -2, 3, 0.5],
    mask: { data: padding(-Infinity, 37, [150, 40]), shape: [batch, 1, 1, seqlenK] },
  },
  'padding beside biases': {
    mask: {
      data: padding(lowestFloat32, 0, [130, 9], (j) => (j % 5) - 2),
      shape: [batch, 1, 1, seqlenK],
    },
  },
  sinks: { sinks: [0, -2, 3, 0.5] },
  'sinks, causal window': { causal: true, window: [8, 0], sinks: [5, -30, 1, 0] },
  'sinks where nothing is seen': { window: [-10, 5], sinks: [1, 2, 3, 4] },
  dropout: { dropout },
  'dropout, causal': { causal: true, dropout: { p: 0.5, seed: 7n } },
  'dropout of nothing': { dropout: { p: 0, seed: 1n } },
  'one split': { numSplits: 1 },
  'two splits, causal': { numSplits: 2, causal: true },
  'more splits than tiles, sinks': { numSplits: 7, sinks: [0, -2, 3, 0.5] },
  'negative scale': { scale: -0.3 },
  'layout bhsd': { layout: 'bhsd', causal: true },
  everything: {
    causal: true,
    window: [70, 30],
    sinkTokens: 3,
    softcap: 8,
    alibiSlopes: [0.05, 0.025, 0.01, 0],
    seqlensK: [180, 201],
    sinks: [0, -2, 3, 0.5],
    dropout,
    mask: { data: biases(heads * seqlenQ * seqlenK, 8), shape: [heads, seqlenQ, seqlenK] },
    layout: 'bhsd',
    numSplits: 2,
  },
};

/** Made by each test, which disposes them. */
export const blockMasks: Record<string, () => BlockMask> = {
  slidingWindow: () =>
    BlockMask.slidingWindow({ seqlenQ, seqlenK, left: 21, right: 4, blockSize: 16 }),
  document: () =>
    BlockMask.document({
      idsQ: Array.from({ length: seqlenQ }, (_, i) => Math.floor((i + 68) / 50)),
      idsK: Array.from({ length: seqlenK }, (_, j) => Math.floor(j / 50)),
    }),
  'fromPredicate, blocks of 7': () =>
    BlockMask.fromPredicate({
      seqlenQ,
      seqlenK,
      blockSize: 7,
      predicate: (i, j) => (i * 31 + j * 17) % 5 < 2,
    }),
  'fromPredicate, blocks of 100': () =>
    BlockMask.fromPredicate({
      seqlenQ,
      seqlenK,
      blockSize: 100,
      predicate: (i, j) => (i * 7 + j * 3) % 11 !== 0,
    }),
};
