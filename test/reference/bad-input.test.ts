import { FlashAttentionError } from '../../lib/errors.js';
import {
  flashAttention1,
  flashAttention2,
  flashAttentionBackward,
  flashDecoding,
  memoryEfficientAttention,
  standardAttention,
  standardAttentionBackward,
} from '../../lib/reference/index.js';
import { randomInputs, shapeOf } from './random-problem.js';

const shape = shapeOf({ batch: 2, seqlenQ: 3, seqlenK: 4, heads: 4, kvHeads: 2 });
const problem = randomInputs(shape, 1);

function errorOf(run: () => unknown): FlashAttentionError {
  try {
    run();
  } catch (error) {
    if (error instanceof FlashAttentionError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const bad: [argument: string, code: string, change: Record<string, unknown>][] = [
  ['shape', 'ERR_TYPE', { shape: undefined }],
  ['shape.batch', 'ERR_SHAPE', { shape: { ...shape, batch: -1 } }],
  ['shape.seqlenQ', 'ERR_SHAPE', { shape: { ...shape, seqlenQ: 1.5 } }],
  ['shape.seqlenK', 'ERR_TYPE', { shape: { ...shape, seqlenK: undefined } }],
  ['shape.headDim', 'ERR_SHAPE', { shape: { ...shape, headDim: 0 } }],
  ['shape.headDimV', 'ERR_SHAPE', { shape: { ...shape, headDimV: NaN } }],
  ['shape.heads', 'ERR_SHAPE', { shape: { ...shape, kvHeads: 3 } }],
  ['q', 'ERR_TYPE', { q: undefined }],
  ['q', 'ERR_TYPE', { q: [1, 2, 3] }],
  ['k', 'ERR_DTYPE', { k: new Uint16Array(64) }],
  ['k', 'ERR_SHAPE', { k: new Float32Array(63) }],
  ['v', 'ERR_SHAPE', { v: problem.q }],
  ['scale', 'ERR_OPTION', { scale: NaN }],
  ['scale', 'ERR_TYPE', { scale: '1' }],
  ['softcap', 'ERR_OPTION', { softcap: -1 }],
  ['causal', 'ERR_TYPE', { causal: 1 }],
  ['window', 'ERR_TYPE', { window: 3 }],
  ['window', 'ERR_OPTION', { window: [1] }],
  ['window', 'ERR_OPTION', { window: [1, 0.5] }],
  ['window', 'ERR_OPTION', { window: [-Infinity, 0] }],
  ['sinkTokens', 'ERR_OPTION', { sinkTokens: -1 }],
  ['seqlensQ', 'ERR_SHAPE', { seqlensQ: [3] }],
  ['seqlensQ[1]', 'ERR_OPTION', { seqlensQ: [3, 4] }],
  ['seqlensK', 'ERR_TYPE', { seqlensK: 4 }],
  ['seqlensK[0]', 'ERR_OPTION', { seqlensK: [-1, 4] }],
  ['alibiSlopes', 'ERR_SHAPE', { alibiSlopes: [1, 2] }],
  ['mask', 'ERR_TYPE', { mask: true }],
  ['mask.shape', 'ERR_SHAPE', { mask: { data: new Uint8Array(3), shape: [3] } }],
  ['mask.shape', 'ERR_SHAPE', { mask: { data: new Uint8Array(4), shape: [1, 1, 1, 1, 4] } }],
  ['mask.data', 'ERR_SHAPE', { mask: { data: new Uint8Array(3), shape: [1, 4] } }],
  ['mask.data', 'ERR_DTYPE', { mask: { data: new Int32Array(4), shape: [4] } }],
  ['visible', 'ERR_TYPE', { visible: [true] }],
  ['sinks', 'ERR_SHAPE', { sinks: [1, 2] }],
  ['dropout', 'ERR_TYPE', { dropout: 0.1 }],
  ['dropout.p', 'ERR_OPTION', { dropout: { p: 1, seed: 0n } }],
  ['dropout.p', 'ERR_TYPE', { dropout: { p: '0', seed: 0n } }],
  ['dropout.seed', 'ERR_TYPE', { dropout: { p: 0, seed: 1 } }],
  ['dropout.seed', 'ERR_OPTION', { dropout: { p: 0, seed: -1n } }],
  ['dropout.offset', 'ERR_OPTION', { dropout: { p: 0, seed: 0n, offset: 1n << 64n } }],
  ['queryRows[1]', 'ERR_OPTION', { queryRows: [0, 3] }],
  ['casual', 'ERR_OPTION', { casual: true }],
];

it.each(bad)('names %s (%s) for %j', (argument, code, change) => {
  const wrong = { ...problem, ...change } as never;
  const dOut = new Float64Array(shape.batch * shape.seqlenQ * shape.heads * shape.headDimV);
  for (const run of [
    () => standardAttention(wrong),
    () => flashAttention1(wrong),
    () => flashAttention2(wrong),
    () => flashDecoding(wrong),
    () => memoryEfficientAttention(wrong),
    () => standardAttentionBackward(wrong, dOut),
    () => flashAttentionBackward(wrong, { dOut, out: dOut, lse: dOut }),
  ]) {
    const error = errorOf(run);
    expect({ code: error.code, argument: error.argument }).toEqual({ code, argument });
    expect(error.message).toContain(argument);
  }
});

it('names the option of an algorithm', () => {
  const runs: [string, string, () => unknown][] = [
    ['precision', 'ERR_OPTION', () => standardAttention(problem, { precision: 'int8' as never })],
    ['sramSize', 'ERR_OPTION', () => flashAttention1(problem, { sramSize: 0 })],
    ['blockQ', 'ERR_OPTION', () => flashAttention2(problem, { blockQ: 1.5 })],
    ['blockK', 'ERR_TYPE', () => flashAttention2(problem, { blockK: '8' as never })],
    ['numSplits', 'ERR_OPTION', () => flashDecoding(problem, { numSplits: -1 })],
    ['keyChunkSize', 'ERR_OPTION', () => memoryEfficientAttention(problem, { keyChunkSize: 0 })],
  ];
  for (const [argument, code, run] of runs) {
    expect(errorOf(run)).toMatchObject({ argument, code });
  }
});

it('names the inputs of the backward pass', () => {
  const { out, lse } = standardAttention(problem);
  const short = out.slice(1);
  for (const [argument, run] of [
    ['dOut', () => standardAttentionBackward(problem, short)],
    ['dOut', () => flashAttentionBackward(problem, { dOut: short, out, lse })],
    ['out', () => flashAttentionBackward(problem, { dOut: out, out: short, lse })],
    ['lse', () => flashAttentionBackward(problem, { dOut: out, out, lse: out })],
  ] as const) {
    expect(errorOf(run)).toMatchObject({ argument, code: 'ERR_SHAPE' });
  }
});

it('takes a Buffer as a bool mask', () => {
  const data = Uint8Array.of(1, 0, 1, 1);
  const withBuffer = { ...problem, mask: { data: Buffer.from(data), shape: [4] } };
  expect(standardAttention(withBuffer)).toEqual(
    standardAttention({ ...problem, mask: { data, shape: [4] } }),
  );
});
