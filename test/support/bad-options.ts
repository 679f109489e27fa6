import { BlockMask, type ErrorCode, type Tensor, tensor, zeros } from '../../lib/index.js';
import { kHandle } from '../../lib/native/show.js';
import { newTensor } from '../../lib/tensor/tensor.js';

export const q = zeros([2, 6, 4, 8]);
export const k = zeros([2, 5, 2, 8]);
export const v = zeros([2, 5, 2, 3]);
export const gone = zeros([2, 6, 4, 8]);
gone.dispose();

/** A tensor that claims to live elsewhere; checks must stop it before its memory is touched. */
export function elsewhere(t: Tensor): Tensor {
  return newTensor(t[kHandle] as never, t.dtype, 'cuda:1', [...t.shape]);
}

/** What people pass where a Tensor is due. */
export const notTensors: [string, unknown][] = [
  ['undefined', undefined],
  ['null', null],
  ['a number', 1],
  ['a string', 'q'],
  ['a plain array', [1, 2, 3]],
  ['a Float32Array', new Float32Array(8)],
  ['an object', { shape: [2, 6, 4, 8] }],
  ['a promise', Promise.resolve(q)],
];

export type BadOption = [options: unknown, code: ErrorCode, argument: string, message?: RegExp];

/** Options that every function takes, wrong. */
export const badCommon: BadOption[] = [
  [{ scale: '1' }, 'ERR_TYPE', 'options.scale', /a number but received '1'/],
  [{ scale: null }, 'ERR_TYPE', 'options.scale'],
  [{ scale: 1n }, 'ERR_TYPE', 'options.scale'],
  [{ scale: Number.NaN }, 'ERR_OPTION', 'options.scale', /finite float32 number but received NaN/],
  [{ scale: Infinity }, 'ERR_OPTION', 'options.scale'],
  [{ scale: 1e300 }, 'ERR_OPTION', 'options.scale', /float32/],
  [{ causal: 'yes' }, 'ERR_TYPE', 'options.causal', /a boolean but received 'yes'/],
  [{ causal: 1 }, 'ERR_TYPE', 'options.causal'],
  [{ causal: null }, 'ERR_TYPE', 'options.causal'],
  [{ window: 128 }, 'ERR_TYPE', 'options.window', /\[left, right\]/],
  [{ window: [128] }, 'ERR_TYPE', 'options.window'],
  [{ window: [1, 2, 3] }, 'ERR_TYPE', 'options.window'],
  [{ window: { left: 1, right: 0 } }, 'ERR_TYPE', 'options.window'],
  [{ window: [1.5, 0] }, 'ERR_OPTION', 'options.window[0]', /integer or Infinity/],
  [{ window: [0, Number.NaN] }, 'ERR_OPTION', 'options.window[1]'],
  [{ window: [0, -Infinity] }, 'ERR_OPTION', 'options.window[1]', /Infinity stands for no bound/],
  [{ window: ['8', 0] }, 'ERR_TYPE', 'options.window[0]'],
  [{ window: [undefined, 0] }, 'ERR_TYPE', 'options.window[0]'],
  [{ sinkTokens: -1 }, 'ERR_OPTION', 'options.sinkTokens'],
  [{ sinkTokens: 0.5 }, 'ERR_OPTION', 'options.sinkTokens'],
  [{ sinkTokens: Infinity }, 'ERR_OPTION', 'options.sinkTokens'],
  [{ sinkTokens: '4' }, 'ERR_TYPE', 'options.sinkTokens'],
  [{ softcap: -1 }, 'ERR_OPTION', 'options.softcap', /at least 0/],
  [{ softcap: Number.NaN }, 'ERR_OPTION', 'options.softcap'],
  [{ softcap: true }, 'ERR_TYPE', 'options.softcap'],
  [{ numSplits: 0 }, 'ERR_OPTION', 'options.numSplits'],
  [{ numSplits: 1.5 }, 'ERR_OPTION', 'options.numSplits'],
  [{ numSplits: 257 }, 'ERR_OPTION', 'options.numSplits', /1 to 256/],
  [{ numSplits: 'many' }, 'ERR_TYPE', 'options.numSplits', /'auto'/],
  [{ deterministic: 'yes' }, 'ERR_TYPE', 'options.deterministic'],
  [{ returnLse: 1 }, 'ERR_TYPE', 'options.returnLse'],
  [{ dropout: 0.1 }, 'ERR_TYPE', 'options.dropout'],
  [{ dropout: {} }, 'ERR_TYPE', 'options.dropout.p'],
  [{ dropout: { p: 0.1 } }, 'ERR_TYPE', 'options.dropout.seed'],
  [{ dropout: { p: 1, seed: 1n } }, 'ERR_OPTION', 'options.dropout.p', /below 1/],
  [{ dropout: { p: -0.1, seed: 1n } }, 'ERR_OPTION', 'options.dropout.p'],
  [{ dropout: { p: Number.NaN, seed: 1n } }, 'ERR_OPTION', 'options.dropout.p'],
  [{ dropout: { p: '0.1', seed: 1n } }, 'ERR_TYPE', 'options.dropout.p'],
  [{ dropout: { p: 0.1, seed: 42 } }, 'ERR_TYPE', 'options.dropout.seed', /Write 42n/],
  [{ dropout: { p: 0.1, seed: -1n } }, 'ERR_OPTION', 'options.dropout.seed'],
  [{ dropout: { p: 0.1, seed: 2n ** 64n } }, 'ERR_OPTION', 'options.dropout.seed'],
  [{ dropout: { p: 0.1, seed: 1n, offset: 3 } }, 'ERR_TYPE', 'options.dropout.offset'],
  [{ dropout: { p: 0.1, seed: 1n, rate: 1 } }, 'ERR_OPTION', 'options.dropout.rate'],
  [{ alibiSlopes: [0.5, 0.5] }, 'ERR_TYPE', 'options.alibiSlopes'],
  [{ alibiSlopes: zeros([3]) }, 'ERR_SHAPE', 'options.alibiSlopes'],
  [{ alibiSlopes: zeros([1, 4, 1]) }, 'ERR_SHAPE', 'options.alibiSlopes'],
  [{ alibiSlopes: zeros([4], { dtype: 'float16' }) }, 'ERR_DTYPE', 'options.alibiSlopes'],
  [{ alibiSlopes: gone }, 'ERR_DISPOSED', 'options.alibiSlopes'],
  [{ alibiSlopes: elsewhere(zeros([4])) }, 'ERR_DEVICE', 'options.alibiSlopes'],
  [{ sinks: new Float32Array(4) }, 'ERR_TYPE', 'options.sinks'],
  [{ sinks: zeros([3]) }, 'ERR_SHAPE', 'options.sinks', /\[4\], \[heads\], but received \[3\]/],
  [{ sinks: zeros([1, 4]) }, 'ERR_SHAPE', 'options.sinks'],
  [{ sinks: zeros([4], { dtype: 'int32' }) }, 'ERR_DTYPE', 'options.sinks'],
  [{ sinks: gone }, 'ERR_DISPOSED', 'options.sinks'],
  [{ sinks: elsewhere(zeros([4])) }, 'ERR_DEVICE', 'options.sinks'],
];

/** Options that concern dense and paged calls alone. */
export const badDense: BadOption[] = [
  [{ layout: 'sbhd' }, 'ERR_OPTION', 'options.layout', /'bshd' or 'bhsd'/],
  [{ layout: 1 }, 'ERR_TYPE', 'options.layout'],
  [{ mask: [[true]] }, 'ERR_TYPE', 'options.mask'],
  [
    { mask: zeros([6, 4], { dtype: 'bool' }) },
    'ERR_SHAPE',
    'options.mask',
    /broadcastable to \[2, 4, 6, 5\]/,
  ],
  [{ mask: zeros([5, 5]) }, 'ERR_SHAPE', 'options.mask'],
  [{ mask: zeros([3, 1, 6, 5]) }, 'ERR_SHAPE', 'options.mask'],
  [{ mask: zeros([2, 2, 6, 5]) }, 'ERR_SHAPE', 'options.mask'],
  [{ mask: zeros([1, 1, 1, 6, 5]) }, 'ERR_SHAPE', 'options.mask'],
  [{ mask: zeros([6, 5], { dtype: 'int32' }) }, 'ERR_DTYPE', 'options.mask'],
  [{ mask: gone }, 'ERR_DISPOSED', 'options.mask'],
  [{ mask: elsewhere(zeros([6, 1])) }, 'ERR_DEVICE', 'options.mask'],
  [{ blockMask: [[true]] }, 'ERR_TYPE', 'options.blockMask', /a BlockMask/],
  [{ blockMask: zeros([6, 5], { dtype: 'bool' }) }, 'ERR_TYPE', 'options.blockMask'],
  [{ blockMask: BlockMask.document([1, 2, 3]) }, 'ERR_SHAPE', 'options.blockMask', /6 queries/],
];

export const badSeqlens: BadOption[] = [
  [{ seqlensK: 5 }, 'ERR_TYPE', 'options.seqlensK'],
  [{ seqlensK: zeros([2]) }, 'ERR_DTYPE', 'options.seqlensK'],
  [{ seqlensK: zeros([2, 1], { dtype: 'int32' }) }, 'ERR_SHAPE', 'options.seqlensK'],
  [{ seqlensK: zeros([3], { dtype: 'int32' }) }, 'ERR_SHAPE', 'options.seqlensK'],
  [{ seqlensK: [5] }, 'ERR_SHAPE', 'options.seqlensK'],
  [{ seqlensK: [5, -1] }, 'ERR_OPTION', 'options.seqlensK[1]'],
  [{ seqlensK: [5, 2.5] }, 'ERR_OPTION', 'options.seqlensK[1]'],
  [{ seqlensK: Float32Array.of(5, 5) }, 'ERR_TYPE', 'options.seqlensK'],
  [{ seqlensK: [5, 6] }, 'ERR_SHAPE', 'options.seqlensK', /6/],
  [{ seqlensK: tensor(Int32Array.of(5, 6), [2]) }, 'ERR_SHAPE', 'options.seqlensK', /6/],
  [{ seqlensK: tensor(Int32Array.of(-1, 5), [2]) }, 'ERR_SHAPE', 'options.seqlensK', /-1/],
  [{ seqlensK: zeros([2], { dtype: 'int32' }).slice([0, 1]) }, 'ERR_SHAPE', 'options.seqlensK'],
  [{ seqlensK: elsewhere(zeros([2], { dtype: 'int32' })) }, 'ERR_DEVICE', 'options.seqlensK'],
];

export const badObjects: BadOption[] = [
  [null, 'ERR_TYPE', 'options'],
  [true, 'ERR_TYPE', 'options'],
  ['causal', 'ERR_TYPE', 'options'],
  [0.125, 'ERR_TYPE', 'options'],
  [[], 'ERR_TYPE', 'options'],
  [q, 'ERR_TYPE', 'options'],
  [new Float32Array(2), 'ERR_TYPE', 'options', /a plain object but received a Float32Array/],
  [new Map([['causal', true]]), 'ERR_TYPE', 'options', /class Map/],
  [Promise.resolve({ causal: true }), 'ERR_TYPE', 'options', /class Promise/],
  [() => ({}), 'ERR_TYPE', 'options'],
];
