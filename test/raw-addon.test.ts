/**
 * The raw addon checks everything again that the TypeScript layer checks: whoever calls it directly
 * gets errors that name the argument, never a wrong memory access.
 */
import { createRequire } from 'node:module';
import type { NativeAddon, NativeAttentionArgs, NativeTensor } from '../lib/native/addon.js';
import { runChild } from './support/child.js';

const addon: NativeAddon = createRequire(import.meta.url)('../binding.cjs').load();

const [float32, float16, int32, bool] = [0, 1, 3, 4];

const random = (shape: number[], dtype = float32) => addon.randn('cpu', dtype, shape, 1n);
const ints = (values: number[], shape = [values.length]) =>
  addon.fromData('cpu', int32, shape, Int32Array.from(values), int32);
const floats = async (tensor: NativeTensor) => [...new Float32Array(await addon.read(tensor, 0))];

/** A valid call: batch 2, 4 queries, 6 keys, 4 heads over 2, head dims 8 and 3. */
const q = random([2, 4, 4, 8]);
const k = random([2, 6, 2, 8]);
const v = random([2, 6, 2, 3]);
const dense: NativeAttentionArgs = { q, k, v, layout: 0, returnLse: true };
const packed = { ...dense, q: random([9, 4, 8]), k: random([7, 2, 8]), v: random([7, 2, 3]) };

function attend(args: Partial<Record<keyof NativeAttentionArgs, unknown>>) {
  return addon.attention({ ...dense, ...args } as NativeAttentionArgs);
}

const anything = (value: unknown) => value as never;

describe('tensors', () => {
  test.each<[string, () => unknown, string, string]>([
    ['device of another kind', () => addon.empty(anything(1), 0, [1]), 'ERR_TYPE', 'device'],
    ['unknown device', () => addon.empty('gpu', 0, [1]), 'ERR_DEVICE', 'device'],
    ['absent device', () => addon.empty('cuda:0', 0, [1]), 'ERR_DEVICE_UNAVAILABLE', 'device'],
    ['unknown dtype', () => addon.empty('cpu', 7, [1]), 'ERR_DTYPE', 'dtype'],
    ['dtype by name', () => addon.empty('cpu', anything('float32'), [1]), 'ERR_TYPE', 'dtype'],
    ['no axes', () => addon.empty('cpu', 0, []), 'ERR_SHAPE', 'shape'],
    ['seven axes', () => addon.empty('cpu', 0, [1, 1, 1, 1, 1, 1, 1]), 'ERR_SHAPE', 'shape'],
    ['negative length', () => addon.empty('cpu', 0, [2, -1]), 'ERR_SHAPE', 'shape'],
    ['NaN length', () => addon.empty('cpu', 0, [NaN]), 'ERR_SHAPE', 'shape'],
    ['fractional length', () => addon.empty('cpu', 0, [1.5]), 'ERR_SHAPE', 'shape'],
    ['length as text', () => addon.empty('cpu', 0, anything(['1'])), 'ERR_TYPE', 'shape'],
    ['overflow', () => addon.empty('cpu', 0, [2 ** 40, 2 ** 40]), 'ERR_OUT_OF_MEMORY', 'shape'],
    [
      'overflow behind a 0',
      () => addon.empty('cpu', 0, [0, 2 ** 40, 2 ** 40]),
      'ERR_OUT_OF_MEMORY',
      'shape',
    ],
    ['random integers', () => addon.randn('cpu', int32, [1], 1n), 'ERR_DTYPE', 'dtype'],
    ['seed as number', () => addon.randn('cpu', 0, [1], anything(1)), 'ERR_TYPE', 'seed'],
    ['negative seed', () => addon.randn('cpu', 0, [1], -1n), 'ERR_OPTION', 'seed'],
    ['no data', () => addon.fromData('cpu', 0, [1], anything([1]), 0), 'ERR_TYPE', 'data'],
    [
      'data of another type',
      () => addon.fromData('cpu', 0, [1], new Float64Array(1), 0),
      'ERR_TYPE',
      'data',
    ],
    [
      'data of another length',
      () => addon.fromData('cpu', 0, [3], new Float32Array(2), 0),
      'ERR_SHAPE',
      'data',
    ],
    ['no tensor', () => addon.describe(anything({})), 'ERR_TYPE', 'tensor'],
    ['proxy of a tensor', () => addon.describe(new Proxy(q, {})), 'ERR_TYPE', 'tensor'],
    ['heir of a tensor', () => addon.describe(Object.create(q)), 'ERR_TYPE', 'tensor'],
    ['read as another dtype', () => addon.read(q, float16), 'ERR_DTYPE', 'dtype'],
  ])('%s is refused', (_, call, code, argument) => {
    expect(call).toThrow(expect.objectContaining({ code, argument }));
  });

  test.each<[string, number[], number[], number, string]>([
    ['one element too far', [2], [1], 255, 'shape'],
    ['offset beyond the end', [1], [1], 256, 'shape'],
    ['stride beyond the end', [2, 2], [255, 1], 0, 'shape'],
    ['overflowing stride', [3], [2 ** 53], 0, 'strides'],
    ['overflowing sum', [2, 2, 2], [2 ** 52, 2 ** 52, 2 ** 52], 0, 'strides'],
    ['negative stride', [2], [-1], 1, 'strides'],
    ['more strides than axes', [2], [1, 1], 0, 'strides'],
    ['too many bytes', [2 ** 52], [0], 0, 'shape'],
  ])('a view with %s is refused', (_, shape, strides, offset, argument) => {
    expect(() => addon.view(q, shape, strides, offset)).toThrow(
      expect.objectContaining({ code: 'ERR_SHAPE', argument }),
    );
  });

  test('views share memory, start anywhere, repeat elements and may be empty', async () => {
    const base = addon.fromData('cpu', 0, [2, 3], Float32Array.of(0, 1, 2, 3, 4, 5), 0);
    const column = addon.view(base, [2], [3], 1);
    expect(await floats(column)).toEqual([1, 4]);
    expect(await floats(addon.view(column, [2, 2], [0, 3], 0))).toEqual([1, 4, 1, 4]);
    expect(await floats(addon.view(column, [2], [1], 3))).toEqual([4, 5]);
    expect(await floats(addon.view(base, [0, 5], [9, 1], 99))).toEqual([]);
    expect(addon.describe(column)).toEqual({
      dtype: 0,
      device: 'cpu',
      shape: [2],
      strides: [3],
      byteLength: 8,
    });
  });

  test('a result that cannot be held rejects the read', async () => {
    const endless = addon.view(q, [2 ** 50], [0], 0);
    await expect(addon.read(endless, 0)).rejects.toMatchObject({ code: 'ERR_OUT_OF_MEMORY' });
    const refused = expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' });
    expect(() => addon.take(endless)).toThrow(refused);
    expect(() => addon.take(endless)).toThrow(refused); // it has not been disposed
  });

  test('memory that the machine does not have is refused', () => {
    expect(() => addon.empty('cpu', 0, [2 ** 50])).toThrow(
      expect.objectContaining({
        code: 'ERR_OUT_OF_MEMORY',
        message: expect.stringContaining(`${2 ** 52} bytes`),
      }),
    );
  });

  test('disposing twice is fine, using it afterwards is not', () => {
    const tensor = addon.empty('cpu', 0, [1]);
    addon.dispose(tensor);
    addon.dispose(tensor);
    expect(() => addon.describe(tensor)).toThrow(
      expect.objectContaining({ code: 'ERR_DISPOSED', argument: 'tensor' }),
    );
  });
});

describe('attention', () => {
  test.each<[string, Partial<Record<keyof NativeAttentionArgs, unknown>>, string, string]>([
    ['layout', { layout: 2 }, 'ERR_OPTION', 'layout'],
    ['returnLse', { returnLse: 1 }, 'ERR_TYPE', 'returnLse'],
    ['q', { q: undefined }, 'ERR_TYPE', 'q'],
    ['rank of q', { q: random([4, 4, 8]) }, 'ERR_SHAPE', 'q'],
    ['dtype of k', { k: random([2, 6, 2, 8], float16) }, 'ERR_DTYPE', 'k'],
    ['scale', { scale: Infinity }, 'ERR_OPTION', 'scale'],
    ['scale beyond float32', { scale: 1e39 }, 'ERR_OPTION', 'scale'],
    ['causal', { causal: 'yes' }, 'ERR_TYPE', 'causal'],
    ['windowLeft', { windowLeft: 1.5 }, 'ERR_OPTION', 'windowLeft'],
    ['windowRight', { windowRight: NaN }, 'ERR_OPTION', 'windowRight'],
    ['sinkTokens', { sinkTokens: -1 }, 'ERR_OPTION', 'sinkTokens'],
    ['softcap', { softcap: '1' }, 'ERR_TYPE', 'softcap'],
    ['dropoutSeed', { dropoutSeed: 2n ** 64n }, 'ERR_OPTION', 'dropoutSeed'],
    ['numSplits', { numSplits: 0.5 }, 'ERR_OPTION', 'numSplits'],
    ['rank of mask', { mask: random([1, 1, 1, 4, 6]) }, 'ERR_SHAPE', 'mask'],
    ['shape of mask', { mask: random([3, 6]) }, 'ERR_SHAPE', 'mask'],
    ['dtype of seqlensK', { seqlensK: random([2]) }, 'ERR_DTYPE', 'seqlensK'],
    ['contents of seqlensK', { seqlensK: ints([6, 7]) }, 'ERR_SHAPE', 'seqlensK'],
    ['blockQ', { blockMaskTable: ints([1], [1, 1, 1, 1]), blockK: 6 }, 'ERR_TYPE', 'blockQ'],
    ['cuSeqlensK alone', { ...packed, cuSeqlensK: ints([0, 7]) }, 'ERR_OPTION', 'cuSeqlensQ'],
    ['maxSeqlenQ alone', { maxSeqlenQ: 4 }, 'ERR_OPTION', 'maxSeqlenQ'],
    ['pageTable of one axis', { pageTable: ints([0]) }, 'ERR_SHAPE', 'pageTable'],
  ])('wrong %s is refused', (_, args, code, argument) => {
    expect(() => attend(args)).toThrow(expect.objectContaining({ code, argument }));
    expect(() => addon.plan({ ...dense, ...args } as NativeAttentionArgs)).toThrow(
      expect.objectContaining({ code, argument }),
    );
  });

  test('results have the layout of q', () => {
    const shapes = (args: Partial<Record<keyof NativeAttentionArgs, unknown>>) =>
      attend(args).map((tensor) => addon.describe(tensor as NativeTensor).shape);
    expect(shapes({})).toEqual([
      [2, 4, 4, 3],
      [2, 4, 4],
    ]);
    const bhsd = { q: random([2, 4, 5, 8]), k: random([2, 2, 6, 8]), v: random([2, 2, 6, 3]) };
    expect(shapes({ ...bhsd, layout: 1 })).toEqual([
      [2, 4, 5, 3],
      [2, 4, 5],
    ]);
    const varlen = { ...packed, cuSeqlensQ: ints([0, 9]), cuSeqlensK: ints([0, 7]) };
    expect(shapes(varlen)).toEqual([
      [9, 4, 3],
      [4, 9],
    ]);
    expect(attend({ returnLse: false })[1]).toBeNull();
  });

  test('masks are aligned to the right and repeated', async () => {
    const keys = addon.fromData('cpu', bool, [6], Uint8Array.of(1, 1, 1, 0, 0, 0), bool);
    const [masked] = attend({ mask: keys });
    const [shorter] = attend({ seqlensK: ints([3, 3]) });
    expect(await floats(masked)).toEqual(await floats(shorter));
  });

  test('contents that are unknown at the call fail the result, and what is made of it', async () => {
    random([2 ** 22]); // keeps the stream busy, so that the copy below has not run at the call
    const [out] = attend({ seqlensK: addon.convert(ints([6, 7]), 'cpu', int32) });
    const copy = addon.convert(out, 'cpu', float16);
    const failure = { code: 'ERR_SHAPE', argument: 'seqlensK' };
    await expect(addon.read(out, 0)).rejects.toMatchObject(failure);
    await expect(addon.read(copy, 0)).rejects.toMatchObject(failure);
    await expect(addon.take(copy)).rejects.toMatchObject(failure);
    await expect(addon.synchronize('cpu')).resolves.toBeUndefined();
    expect(() => addon.plan({ ...dense, seqlensK: ints([6, 7]) })).toThrow(
      expect.objectContaining(failure),
    );
  });

  test('maxSeqlens below the true ones are refused', () => {
    const offsets = { cuSeqlensQ: ints([0, 4, 9]), cuSeqlensK: ints([0, 7, 7]) };
    expect(() => attend({ ...packed, ...offsets, maxSeqlenQ: 5, maxSeqlenK: 7 })).not.toThrow();
    expect(() => attend({ ...packed, ...offsets, maxSeqlenQ: 4 })).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION', argument: 'maxSeqlenQ' }),
    );
  });
});

describe('attentionBackward', () => {
  const [out, lse] = attend({});
  const backward = { ...dense, dOut: out, out, lse, deterministic: false };
  const disposed = random([2, 4, 4, 3]);
  addon.dispose(disposed);
  const differentiate = (args: Record<string, unknown>) =>
    addon.attentionBackward({ ...backward, ...args } as never);

  test.each<[string, Record<string, unknown>, string, string]>([
    ['dOut', { dOut: undefined }, 'ERR_TYPE', 'dOut'],
    ['shape of dOut', { dOut: q }, 'ERR_SHAPE', 'dOut'],
    ['dtype of dOut', { dOut: random([2, 4, 4, 3], float16) }, 'ERR_DTYPE', 'dOut'],
    ['out', { out: 1 }, 'ERR_TYPE', 'out'],
    ['shape of out', { out: v }, 'ERR_SHAPE', 'out'],
    ['lse', { lse: null }, 'ERR_TYPE', 'lse'],
    ['shape of lse', { lse: random([2, 4, 5]) }, 'ERR_SHAPE', 'lse'],
    ['deterministic', { deterministic: 1 }, 'ERR_TYPE', 'deterministic'],
    ['rank of dOut', { dOut: random([2, 4, 12]) }, 'ERR_SHAPE', 'dOut'],
    ['dtype of out', { out: random([2, 4, 4, 3], float16) }, 'ERR_DTYPE', 'out'],
    ['rank of out', { out: random([96]) }, 'ERR_SHAPE', 'out'],
    ['dtype of lse', { lse: random([2, 4, 4], float16) }, 'ERR_DTYPE', 'lse'],
    ['rank of lse', { lse: random([8, 4]) }, 'ERR_SHAPE', 'lse'],
    ['disposed dOut', { dOut: disposed }, 'ERR_DISPOSED', 'dOut'],
    ['disposed lse', { lse: disposed }, 'ERR_DISPOSED', 'lse'],
    ['disposed q', { q: disposed }, 'ERR_DISPOSED', 'q'],
    ['q', { q: {} }, 'ERR_TYPE', 'q'],
    ['layout', { layout: 2 }, 'ERR_OPTION', 'layout'],
    ['layout of the rest', { layout: 1 }, 'ERR_SHAPE', 'q'],
    ['head dim of k', { k: random([2, 6, 2, 9]) }, 'ERR_SHAPE', 'k'],
    ['seqlen of v', { v: random([2, 7, 2, 3]) }, 'ERR_SHAPE', 'v'],
    ['head dim of v', { v: random([2, 6, 2, 4]) }, 'ERR_SHAPE', 'out'],
    ['scale', { scale: NaN }, 'ERR_OPTION', 'scale'],
    ['dropoutP', { dropoutP: 1, dropoutSeed: 1n }, 'ERR_OPTION', 'dropout.p'],
    ['sinks', { sinks: random([3]) }, 'ERR_SHAPE', 'sinks'],
    ['mask', { mask: random([3, 6]) }, 'ERR_SHAPE', 'mask'],
    ['pageTable alone', { pageTable: ints([0, 1], [2, 1]) }, 'ERR_OPTION', 'seqlensK'],
    ['contents of seqlensK', { seqlensK: ints([6, 7]) }, 'ERR_SHAPE', 'seqlensK'],
  ])('wrong %s is refused', (_, args, code, argument) => {
    expect(() => differentiate(args)).toThrow(expect.objectContaining({ code, argument }));
  });

  test.each([undefined, null, 1, 'args', []])('arguments %p are refused', (args) => {
    expect(() => addon.attentionBackward(args as never)).toThrow(
      expect.objectContaining({ code: 'ERR_TYPE' }),
    );
  });

  test('contents that are unknown at the call fail every gradient', async () => {
    random([2 ** 22]); // keeps the stream busy, so that the copy below has not run at the call
    const gradients = differentiate({
      seqlensK: addon.convert(ints([6, 7]), 'cpu', int32),
      sinks: random([4]),
    });
    for (const gradient of gradients) {
      await expect(addon.read(gradient as NativeTensor, 0)).rejects.toMatchObject({
        code: 'ERR_SHAPE',
        argument: 'seqlensK',
      });
    }
    await expect(addon.synchronize('cpu')).resolves.toBeUndefined();
  });

  test('pages are refused', () => {
    const paged = { pageTable: ints([0, 1], [2, 1]), seqlensK: ints([6, 6]) };
    expect(() => differentiate(paged)).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION', argument: 'pageTable' }),
    );
  });

  test('variable lengths: lse is [heads, totalQ]', () => {
    const offsets = { cuSeqlensQ: ints([0, 9]), cuSeqlensK: ints([0, 7]) };
    const [packedOut, packedLse] = attend({ ...packed, ...offsets });
    const given = { ...packed, ...offsets, dOut: packedOut, out: packedOut, lse: packedLse };
    expect(() => differentiate(given)).not.toThrow();
    for (const bad of [random([9, 4]), random([1, 4, 9]), random([4, 8])]) {
      expect(() => differentiate({ ...given, lse: bad })).toThrow(
        expect.objectContaining({ code: 'ERR_SHAPE', argument: 'lse' }),
      );
    }
    expect(() => differentiate({ ...given, cuSeqlensK: ints([0, 8]) })).toThrow(
      expect.objectContaining({ code: 'ERR_SHAPE', argument: 'cuSeqlensK' }),
    );
  });

  test('gradients have the shapes of what they belong to', () => {
    const gradients = differentiate({ sinks: random([4]) });
    expect(gradients.map((tensor) => addon.describe(tensor as NativeTensor).shape)).toEqual([
      [2, 4, 4, 8],
      [2, 6, 2, 8],
      [2, 6, 2, 3],
      [4],
    ]);
    expect(differentiate({})[3]).toBeNull();
  });
});

describe('mergeStates', () => {
  const out = random([2, 4, 3, 8]);
  const lse = random([2, 3, 4]);

  test.each<[string, () => unknown, string, string]>([
    ['no states', () => addon.mergeStates([], [], 0), 'ERR_SHAPE', 'outs'],
    ['no array', () => addon.mergeStates(anything(out), [lse], 0), 'ERR_TYPE', 'outs'],
    ['fewer lses', () => addon.mergeStates([out, out], [lse], 0), 'ERR_SHAPE', 'lses'],
    ['another layout', () => addon.mergeStates([out], [lse], 1), 'ERR_SHAPE', 'lses'],
    ['another shape', () => addon.mergeStates([out, q], [lse, lse], 0), 'ERR_SHAPE', 'outs'],
    ['integers', () => addon.mergeStates([ints([1], [1, 1, 1, 1])], [lse], 0), 'ERR_DTYPE', 'outs'],
    [
      'lses in float16',
      () => addon.mergeStates([out], [random([2, 3, 4], 1)], 0),
      'ERR_DTYPE',
      'lses',
    ],
  ])('%s: refused', (_, call, code, argument) => {
    expect(call).toThrow(expect.objectContaining({ code, argument }));
  });

  test('merging one state gives it back', async () => {
    const [merged, mergedLse] = addon.mergeStates([out], [lse], 0);
    expect(await floats(merged)).toEqual(await floats(out));
    expect(await floats(mergedLse)).toEqual(await floats(lse));
  });
});

describe('float8', () => {
  const float8 = 5;
  const like = (shape: number[]) => addon.zeros('cpu', float8, shape);
  const plain = random([2, 200, 4, 8]);
  const [values, scales] = addon.quantize(plain, 0, 2, undefined);
  const back =
    (...args: unknown[]) =>
    () =>
      addon.dequantize(...(args as Parameters<NativeAddon['dequantize']>));
  const packed = (offsets: NativeTensor | undefined, longest: number | undefined) => () =>
    addon.quantize(random([6, 4, 8]), 0, 2, undefined, offsets, longest);

  test.each<[string, () => unknown, string, string]>([
    ['layout', () => addon.quantize(plain, anything(2), 2, undefined), 'ERR_OPTION', 'layout'],
    ['per', () => addon.quantize(plain, 0, 3, undefined), 'ERR_OPTION', 'per'],
    ['seed', () => addon.quantize(plain, 0, 2, anything(1)), 'ERR_TYPE', 'hadamard.seed'],
    ['rank', () => addon.quantize(random([8]), 0, 2, undefined), 'ERR_SHAPE', 'tensor'],
    ['dtype', () => addon.quantize(values, 0, 2, undefined), 'ERR_DTYPE', 'tensor'],
    ['no power of two', () => addon.quantize(v, 0, 2, 1n), 'ERR_SHAPE', 'hadamard'],
    [
      'head dim 577',
      () => addon.quantize(random([1, 1, 1, 577]), 0, 2, undefined),
      'ERR_SHAPE',
      'tensor',
    ],
    [
      'head dim 0',
      () => addon.quantize(random([1, 1, 1, 0]), 0, 2, undefined),
      'ERR_SHAPE',
      'tensor',
    ],
    ['values of another dtype', back(plain, scales, 0, undefined, 0), 'ERR_DTYPE', 'values'],
    ['scales of another dtype', back(values, ints([1]), 0, undefined, 0), 'ERR_DTYPE', 'scales'],
    [
      'scales of another shape',
      back(values, random([2, 4, 1]), 0, undefined, 0),
      'ERR_SHAPE',
      'scales',
    ],
    ['scales of another layout', back(values, scales, 1, undefined, 0), 'ERR_SHAPE', 'scales'],
    [
      'too few scales per head',
      back(values, random([2, 3]), 0, undefined, 0),
      'ERR_SHAPE',
      'scales',
    ],
    ['two scales', back(values, random([2]), 0, undefined, 0), 'ERR_SHAPE', 'scales'],
    ['to integers', back(values, scales, 0, undefined, int32), 'ERR_DTYPE', 'tensor'],
    ['to float8', back(values, scales, 0, undefined, float8), 'ERR_DTYPE', 'tensor'],
    ['offsets that are none', packed(anything([0, 6]), 6), 'ERR_TYPE', 'cuSeqlens'],
    ['offsets of another dtype', packed(random([2]), 6), 'ERR_DTYPE', 'cuSeqlens'],
    ['offsets without axes', packed(ints([0, 6], [1, 2]), 6), 'ERR_SHAPE', 'cuSeqlens'],
    ['no offsets', packed(ints([], [0]), 6), 'ERR_SHAPE', 'cuSeqlens'],
    ['offsets beyond the tokens', packed(ints([0, 7]), 7), 'ERR_SHAPE', 'cuSeqlens'],
    ['offsets that descend', packed(ints([0, 4, 3]), 6), 'ERR_SHAPE', 'cuSeqlens'],
    ['a sequence beyond the bound', packed(ints([0, 6]), 5), 'ERR_OPTION', 'maxSeqlen'],
    ['a bound that is none', packed(ints([0, 6]), anything('6')), 'ERR_TYPE', 'maxSeqlen'],
    ['offsets without a bound', packed(ints([0, 6]), undefined), 'ERR_TYPE', 'maxSeqlen'],
    ['a bound without offsets', packed(undefined, 6), 'ERR_OPTION', 'maxSeqlen'],
    [
      'offsets in another layout',
      () => addon.quantize(random([6, 4, 8]), 1, 2, undefined, ints([0, 6]), 6),
      'ERR_OPTION',
      'layout',
    ],
    [
      'offsets, and a batch',
      () => addon.quantize(plain, 0, 2, undefined, ints([0, 6]), 6),
      'ERR_SHAPE',
      'tensor',
    ],
    [
      'scales of more sequences',
      () => addon.dequantize(like([6, 4, 8]), random([2, 4, 1]), 0, undefined, 0, ints([0, 6]), 6),
      'ERR_SHAPE',
      'scales',
    ],
  ])('%s: refused', (_, call, code, argument) => {
    expect(call).toThrow(expect.objectContaining({ code, argument }));
  });

  const [q8, k8, v8] = [like([2, 4, 4, 8]), like([2, 150, 2, 8]), like([2, 150, 2, 8])];
  const one = random([1]);
  const scaled = {
    q: q8,
    k: k8,
    v: v8,
    qScale: one,
    kScale: random([2, 2, 2]),
    vScale: random([2, 2]),
  };
  const packed8 = {
    q: like([9, 4, 8]),
    k: like([7, 2, 8]),
    v: like([7, 2, 8]),
    cuSeqlensQ: ints([0, 9]),
    cuSeqlensK: ints([0, 7]),
  };
  const pages8 = { pageTable: ints([0, 1], [2, 1]), seqlensK: ints([1, 1]) };

  test.each<[string, object, string, string]>([
    ['no scale of q', { qScale: undefined }, 'ERR_OPTION', 'scales.q'],
    ['no scale of v', { vScale: undefined }, 'ERR_OPTION', 'scales.v'],
    ['too few blocks', { kScale: random([2, 2, 1]) }, 'ERR_SHAPE', 'scales.k'],
    ['too few heads', { qScale: random([2, 2]) }, 'ERR_SHAPE', 'scales.q'],
    ['v per block', { vScale: random([2, 2, 2]) }, 'ERR_SHAPE', 'scales.v'],
    ['integers', { vScale: ints([1]) }, 'ERR_DTYPE', 'scales.v'],
    ['keys of another dtype', { k: random([2, 150, 2, 8]) }, 'ERR_DTYPE', 'k'],
    ['packed, scales of a batch', packed8, 'ERR_SHAPE', 'scales.k'],
    [
      'packed, on this device',
      { ...packed8, kScale: random([1, 2, 1]), vScale: random([1, 2]) },
      'ERR_DTYPE',
      'q',
    ],
    ['pages, a scale per block', pages8, 'ERR_SHAPE', 'scales.k'],
    ['pages, too few heads', { ...pages8, kScale: random([3]) }, 'ERR_SHAPE', 'scales.k'],
    ['pages, v per token', { ...pages8, kScale: one, vScale: v8 }, 'ERR_DTYPE', 'scales.v'],
    [
      'pages, on this device',
      { ...pages8, kScale: random([2]), vScale: random([2, 2]) },
      'ERR_DTYPE',
      'q',
    ],
    ['this device', {}, 'ERR_DTYPE', 'q'],
    ['scales without float8', { q, k, v }, 'ERR_OPTION', 'scales'],
  ])('attention, %s: refused', (_, args, code, argument) => {
    expect(() => attend({ ...scaled, ...args })).toThrow(
      expect.objectContaining({ code, argument }),
    );
  });

  test('no gradients', () => {
    const args = { ...scaled, dOut: q, out: q, lse: random([2, 4, 4]), deterministic: false };
    expect(() =>
      addon.attentionBackward({ ...dense, ...args, out: addon.zeros('cpu', 2, [2, 4, 4, 8]) }),
    ).toThrow(expect.objectContaining({ code: 'ERR_DTYPE', argument: 'q' }));
  });
});

describe('settings', () => {
  test('a wrong FLASH_ATTENTION_NUM_THREADS is an error of the first call, not of a task', async () => {
    const env = { FLASH_ATTENTION_NUM_THREADS: 'many' };
    const child = await runChild('settings.cjs', [], { env });
    expect(child).toMatchObject({ status: 0, signal: null, stderr: '' });
    const { cpu, info, error } = JSON.parse(child.stdout);
    expect(cpu).toMatchObject({ available: false, reason: expect.stringContaining("'many'") });
    expect(info).toMatchObject({ threads: 0 });
    expect(error).toEqual({ code: 'ERR_OPTION', argument: 'FLASH_ATTENTION_NUM_THREADS' });
  });

  test('FLASH_ATTENTION_NUM_THREADS sets the number of threads', async () => {
    const child = await runChild('settings.cjs', [], { env: { FLASH_ATTENTION_NUM_THREADS: '3' } });
    const { cpu, info, error } = JSON.parse(child.stdout);
    expect([cpu.threads, info.threads, error]).toEqual([3, 3, null]);
  });
});
