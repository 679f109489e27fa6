import * as library from '../../lib/index.js';
import { FlashAttentionError } from '../../lib/native/errors.js';
import * as reference from '../../lib/reference/index.js';
import {
  dequantizeE4m3,
  flashAttention1,
  flashAttention2,
  flashAttentionBackward,
  flashDecoding,
  hadamardRotate,
  memoryEfficientAttention,
  quantizedAttention,
  quantizeE4m3,
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
  ['dropout.rate', 'ERR_OPTION', { dropout: { p: 0, seed: 0n, rate: 0 } }],
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
    () => quantizedAttention(wrong),
    () => standardAttentionBackward(wrong, dOut),
    () => flashAttentionBackward(wrong, { dOut, out: dOut, lse: dOut }),
  ]) {
    const error = errorOf(run);
    expect({ code: error.code, argument: error.argument }).toEqual({ code, argument });
    expect(error.message).toContain(argument.split('.').at(-1));
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
    ['blockK', 'ERR_OPTION', () => quantizedAttention(problem, { blockK: 0 })],
    ['blockK', 'ERR_OPTION', () => quantizedAttention(problem, { blockK: NaN })],
    ['store', 'ERR_OPTION', () => standardAttention(problem, { store: 1 } as object)],
    ['sram', 'ERR_OPTION', () => flashAttention1(problem, { sram: 1 } as object)],
    ['blokQ', 'ERR_OPTION', () => flashAttention2(problem, { blokQ: 1 } as object)],
    ['splits', 'ERR_OPTION', () => flashDecoding(problem, { splits: 1 } as object)],
    ['chunk', 'ERR_OPTION', () => memoryEfficientAttention(problem, { chunk: 1 } as object)],
    ['blokK', 'ERR_OPTION', () => quantizedAttention(problem, { blokK: 1 } as object)],
    ['quantizeP', 'ERR_TYPE', () => quantizedAttention(problem, { quantizeP: 'no' as never })],
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

const badQuantization: [argument: string, code: string, options: unknown][] = [
  ['per', 'ERR_OPTION', { per: 'x' }],
  ['per', 'ERR_OPTION', { per: 'token' }],
  ['per', 'ERR_TYPE', { per: 1 }],
  ['hadamard', 'ERR_TYPE', { hadamard: true }],
  ['hadamard', 'ERR_TYPE', { hadamard: null }],
  ['hadamard.seed', 'ERR_TYPE', { hadamard: {} }],
  ['hadamard.seed', 'ERR_TYPE', { hadamard: { seed: 1 } }],
  ['hadamard.seed', 'ERR_OPTION', { hadamard: { seed: -1n } }],
  ['hadamard.seed', 'ERR_OPTION', { hadamard: { seed: 1n << 64n } }],
];

const rows = { batch: 1, seqlen: 2, heads: 3, dim: 4 };
const data = new Float32Array(24);

it.each(badQuantization)('names %s (%s) of a quantisation', (argument, code, options) => {
  const wrong = options as never;
  for (const run of [
    () => quantizedAttention(problem, wrong),
    () => quantizeE4m3(data, rows, wrong),
    () => dequantizeE4m3({ ...quantizeE4m3(data, rows), ...(options as object) }),
  ]) {
    expect(errorOf(run)).toMatchObject({ argument, code });
  }
});

it('names what quantizeE4m3 and dequantizeE4m3 are given', () => {
  const good = quantizeE4m3(data, rows);
  const quantize = (...args: unknown[]) => quantizeE4m3(...(args as [never, never]));
  const dequantize = (change: object) => dequantizeE4m3({ ...good, ...change });
  const hadamard = { seed: 1n };
  const runs: [string, string, () => unknown][] = [
    ['shape', 'ERR_TYPE', () => quantize()],
    ['shape', 'ERR_TYPE', () => quantize(data, [1, 2, 3, 4])],
    ['shape.batch', 'ERR_SHAPE', () => quantize(data, { ...rows, batch: 0.5, seqlen: 4 })],
    ['shape.seqlen', 'ERR_SHAPE', () => quantize(data, { ...rows, seqlen: -2 })],
    ['shape.heads', 'ERR_TYPE', () => quantize(data, { ...rows, heads: '3' })],
    ['shape.dim', 'ERR_SHAPE', () => quantize(data, { ...rows, dim: 0 })],
    ['data', 'ERR_TYPE', () => quantize([1, 2], rows)],
    ['data', 'ERR_DTYPE', () => quantize(new Uint8Array(24), rows)],
    ['data', 'ERR_SHAPE', () => quantize(data.slice(1), rows)],
    ['options', 'ERR_TYPE', () => quantize(data, rows, null)],
    ['hadamard', 'ERR_SHAPE', () => quantize(data, { ...rows, heads: 4, dim: 3 }, { hadamard })],
    ['quantized', 'ERR_TYPE', () => dequantizeE4m3(undefined as never)],
    ['shape', 'ERR_TYPE', () => dequantize({ shape: undefined })],
    ['bits', 'ERR_TYPE', () => dequantize({ bits: data })],
    ['bits', 'ERR_SHAPE', () => dequantize({ bits: new Uint8Array(23) })],
    ['scales', 'ERR_TYPE', () => dequantize({ scales: [1, 1, 1] })],
    ['scales', 'ERR_SHAPE', () => dequantize({ scales: new Float32Array(1) })],
  ];
  for (const [argument, code, run] of runs) {
    expect(errorOf(run)).toMatchObject({ argument, code });
  }
});

it('names what hadamardRotate is given', () => {
  const rotate = (...args: unknown[]) => hadamardRotate(...(args as [never, never, never]));
  const runs: [string, string, () => unknown][] = [
    ['rows', 'ERR_TYPE', () => rotate([1, 2, 3, 4], 4, 1n)],
    ['rows', 'ERR_TYPE', () => rotate(undefined, 4, 1n)],
    ['dim', 'ERR_TYPE', () => rotate(data, '4', 1n)],
    ['dim', 'ERR_SHAPE', () => rotate(data, 0.5, 1n)],
    ['dim', 'ERR_SHAPE', () => rotate(data, 3, 1n)],
    ['dim', 'ERR_SHAPE', () => rotate(data, 16, 1n)],
    ['seed', 'ERR_TYPE', () => rotate(data, 4, 1)],
    ['seed', 'ERR_OPTION', () => rotate(data, 4, -1n)],
    ['direction', 'ERR_OPTION', () => rotate(data, 4, 1n, 'up')],
    ['direction', 'ERR_TYPE', () => rotate(data, 4, 1n, true)],
  ];
  for (const [argument, code, run] of runs) {
    expect(errorOf(run)).toMatchObject({ argument, code });
  }
});

/** Takes any number, or no argument at all. */
const takesAnything = (name: string) => /Bits$|^roundTo/.test(name);

const functionsOf = (exported: object) =>
  Object.entries(exported).filter(
    (entry): entry is [string, (...args: unknown[]) => unknown] =>
      typeof entry[1] === 'function' && /^[a-z]/.test(entry[0]) && !takesAnything(entry[0]),
  );

it.each([...functionsOf(reference), ...functionsOf(library)])(
  '%s explains arguments that are missing or of the wrong type',
  async (_, run) => {
    for (const args of [[], [undefined], [null], [1], [{}], ['x'], [null, null, null]]) {
      try {
        await run(...args);
      } catch (error) {
        expect(error).toBeInstanceOf(FlashAttentionError);
      }
    }
  },
);
