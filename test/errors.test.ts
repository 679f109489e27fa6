import { createContext, runInContext } from 'node:vm';
import { inspect } from 'node:util';
import {
  type AttentionOptions,
  BlockMask,
  type ErrorCode,
  explain,
  FlashAttentionError,
  flashAttention,
  flashAttentionKvPacked,
  flashAttentionPaged,
  flashAttentionQkvPacked,
  flashAttentionVarlen,
  memory,
  mergeAttentionStates,
  scaledDotProductAttention,
  synchronize,
  Tensor,
  tensor,
  zeros,
} from '../lib/index.js';
import { call, fromNative } from '../lib/errors.js';
import { kHandle } from '../lib/show.js';
import { errorOf, expectThrow, thrownBy, wrong } from './support/expect-error.js';
import { settledMemory } from './support/gc.js';

describe('FlashAttentionError', () => {
  test('is an Error with code, argument and cause', () => {
    const cause = new Error('below');
    const error = new FlashAttentionError('ERR_SHAPE', 'text', { argument: 'k', cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'FlashAttentionError', code: 'ERR_SHAPE', argument: 'k' });
    expect(error.cause).toBe(cause);
    expect(error.stack).toMatch(/^FlashAttentionError: text\n.*errors\.test/s);
    expect(inspect(error)).toContain("code: 'ERR_SHAPE'");
    expect('argument' in new FlashAttentionError('ERR_SHAPE', 'text')).toBe(false);
  });

  test('is recognised across copies of the package and across realms', () => {
    const foreign = runInContext(
      `const error = new Error('x');
       error[Symbol.for('flash-attention.FlashAttentionError')] = true;
       error`,
      createContext(),
    );
    expect(foreign).not.toBeInstanceOf(Error);
    expect(foreign).toBeInstanceOf(FlashAttentionError);
    for (const other of [new Error('x'), {}, null, undefined, 'ERR_SHAPE']) {
      expect(other instanceof FlashAttentionError).toBe(false);
    }
  });

  test('wraps what native code throws', () => {
    const native = Object.assign(new Error('low'), { code: 'ERR_SHAPE', argument: 'seqlensK' });
    const error = thrownBy(() =>
      call(() => {
        throw native;
      }),
    );
    expect(error).toMatchObject({
      code: 'ERR_SHAPE',
      argument: 'options.seqlensK',
      message: 'low',
    });
    expect(error.cause).toBe(native);
    expect(fromNative({ code: 'ERR_DTYPE', argument: 'k', message: 'm' }).argument).toBe('k');
    expect(fromNative({ code: 'ERR_OPTION', argument: 'dropout.p', message: 'm' }).argument).toBe(
      'options.dropout.p',
    );
    expect(fromNative({ code: 'E_ODD', message: 'odd' })).toMatchObject({
      code: 'ERR_INTERNAL',
      message: 'odd',
    });
    expect(fromNative('text')).toMatchObject({ code: 'ERR_INTERNAL', message: 'text' });
    expect(fromNative(undefined).code).toBe('ERR_INTERNAL');
    expect(fromNative(error)).toBe(error);
  });
});

const q = zeros([2, 6, 4, 8]);
const k = zeros([2, 5, 2, 8]);
const v = zeros([2, 5, 2, 3]);
const gone = zeros([2, 6, 4, 8]);
gone.dispose();

/** A tensor that claims to live elsewhere; checks must stop it before its memory is touched. */
function elsewhere(t: Tensor): Tensor {
  return new Tensor(t[kHandle] as never, t.dtype, 'cuda:1', [...t.shape]);
}

/** What people pass where a Tensor is due. */
const notTensors: [string, unknown][] = [
  ['undefined', undefined],
  ['null', null],
  ['a number', 1],
  ['a string', 'q'],
  ['a plain array', [1, 2, 3]],
  ['a Float32Array', new Float32Array(8)],
  ['an object', { shape: [2, 6, 4, 8] }],
  ['a promise', Promise.resolve(q)],
];

describe('q, k and v', () => {
  const calls: [string, string[], (args: unknown[]) => unknown][] = [
    [
      'flashAttention',
      ['q', 'k', 'v'],
      ([a, b, c]) => flashAttention(wrong(a), wrong(b), wrong(c)),
    ],
    ['explain', ['q', 'k', 'v'], ([a, b, c]) => explain(wrong(a), wrong(b), wrong(c))],
    [
      'scaledDotProductAttention',
      ['query', 'key', 'value'],
      ([a, b, c]) => scaledDotProductAttention(wrong(a), wrong(b), wrong(c)),
    ],
    [
      'flashAttentionPaged',
      ['q', 'kPages', 'vPages'],
      ([a, b, c]) =>
        flashAttentionPaged(wrong(a), wrong(b), wrong(c), { pageTable: q, seqlensK: q }),
    ],
    [
      'flashAttentionVarlen',
      ['q', 'k', 'v'],
      ([a, b, c]) =>
        flashAttentionVarlen(wrong(a), wrong(b), wrong(c), { cuSeqlensQ: [0], cuSeqlensK: [0] }),
    ],
  ];
  const good = (name: string) =>
    name === 'flashAttentionVarlen'
      ? [zeros([6, 4, 8]), zeros([6, 4, 8]), zeros([6, 4, 8])]
      : [zeros([2, 6, 4, 8]), zeros([2, 6, 4, 8]), zeros([2, 6, 4, 8])];

  test.each(calls.map((row) => ({ name: row[0], row })))(
    '$name: not a tensor, disposed, elsewhere, wrong dtype, wrong rank',
    ({ row }) => {
      const [name, names, run] = row;
      names.forEach((argument, i) => {
        const withBad = (bad: unknown) => () => {
          const args: unknown[] = good(name);
          args[i] = bad;
          return run(args);
        };
        for (const [, bad] of notTensors) expectThrow(withBad(bad), 'ERR_TYPE', argument);
        expect(thrownBy(withBad([1])).message).toContain('tensor(data, shape)');
        expectThrow(withBad(gone), 'ERR_DISPOSED', argument);
        const same = good(name)[i];
        if (i > 0) expectThrow(withBad(elsewhere(same)), 'ERR_DEVICE', argument, /cpu.*cuda:1/);
        expectThrow(withBad(same.to('bfloat16')), 'ERR_DTYPE', i === 0 ? names[1] : argument);
        expectThrow(withBad(tensor(new Int32Array(same.size), same.shape)), 'ERR_DTYPE', argument);
        expectThrow(withBad(zeros(same.shape, { dtype: 'bool' })), 'ERR_DTYPE', argument);
        expectThrow(withBad(same.reshape([-1])), 'ERR_SHAPE', argument, /rank/);
        expectThrow(withBad(same.reshape([1, ...same.shape])), 'ERR_SHAPE', argument);
      });
    },
  );

  test.each<[string, number[], number[], number[], string, RegExp]>([
    ['batch of k', [2, 6, 4, 8], [3, 5, 2, 8], [3, 5, 2, 8], 'k', /\[2, seqlenK, kvHeads, 8\]/],
    ['batch of v', [2, 6, 4, 8], [2, 5, 2, 8], [1, 5, 2, 8], 'v', /\[2, 5, 2, headDimV\]/],
    ['head dim of k', [2, 6, 4, 8], [2, 5, 2, 4], [2, 5, 2, 8], 'k', /\[2, 5, 2, 4\]/],
    ['seqlen of v', [2, 6, 4, 8], [2, 5, 2, 8], [2, 6, 2, 8], 'v', /\[2, 6, 2, 8\]/],
    ['heads of v', [2, 6, 4, 8], [2, 5, 2, 8], [2, 5, 4, 8], 'v', /headDimV/],
    ['heads no multiple', [2, 6, 4, 8], [2, 5, 3, 8], [2, 5, 3, 8], 'q', /multiple of the 3 heads/],
    ['more kv heads', [2, 6, 2, 8], [2, 5, 4, 8], [2, 5, 4, 8], 'q', /multiple of the 4 heads/],
    ['no heads', [2, 6, 0, 8], [2, 5, 2, 8], [2, 5, 2, 8], 'q', /multiple/],
    ['no kv heads', [2, 6, 4, 8], [2, 5, 0, 8], [2, 5, 0, 8], 'k', /at least one head/],
    ['head dim 0', [2, 6, 4, 0], [2, 5, 2, 0], [2, 5, 2, 8], 'q', /1 to 576/],
    ['head dim 577', [1, 1, 1, 577], [1, 1, 1, 577], [1, 1, 1, 8], 'q', /1 to 576/],
    ['head dim 577 of v', [1, 1, 1, 8], [1, 1, 1, 8], [1, 1, 1, 577], 'v', /1 to 576/],
  ])('shapes: %s', (_, shapeQ, shapeK, shapeV, argument, message) => {
    const run = (layout: 'bshd' | 'bhsd') => () => {
      const make = ([b, s, h, d]: number[]) =>
        zeros(layout === 'bshd' ? [b, s, h, d] : [b, h, s, d]);
      flashAttention(make(shapeQ), make(shapeK), make(shapeV), { layout });
    };
    expectThrow(run('bshd'), 'ERR_SHAPE', argument, message);
    expectThrow(run('bhsd'), 'ERR_SHAPE', argument);
  });
});

type BadOption = [options: unknown, code: ErrorCode, argument: string, message?: RegExp];

/** Options that every function takes, wrong. */
const badCommon: BadOption[] = [
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
const badDense: BadOption[] = [
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

const badSeqlens: BadOption[] = [
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

const badObjects: BadOption[] = [
  [null, 'ERR_TYPE', 'options'],
  [true, 'ERR_TYPE', 'options'],
  ['causal', 'ERR_TYPE', 'options'],
  [0.125, 'ERR_TYPE', 'options'],
  [[], 'ERR_TYPE', 'options'],
  [q, 'ERR_TYPE', 'options'],
  [() => ({}), 'ERR_TYPE', 'options'],
];

const unknownKeys: [string, string?][] = [
  ['casual', 'causal'],
  ['is_causal', 'causal'],
  ['isCausal', 'causal'],
  ['softmax_scale', 'scale'],
  ['window_size', 'window'],
  ['attn_mask', 'mask'],
  ['attnMask', 'mask'],
  ['return_lse', 'returnLse'],
  ['returnLSE', 'returnLse'],
  ['dropoutP', 'dropout'],
  ['alibi_slopes', 'alibiSlopes'],
  ['soft_cap', 'softcap'],
  ['num_splits', 'numSplits'],
  ['block_mask', 'blockMask'],
  ['zzz', undefined],
];

describe('options of dense attention', () => {
  const table = [...badCommon, ...badDense, ...badSeqlens, ...badObjects];
  test.each(
    table.map((row, i) => ({ i, name: `${row[2]} ${inspect(row[0], { depth: 1 })}`, row })),
  )('$i: $name', ({ row }) => {
    const [options, code, argument, message] = row;
    expectThrow(() => flashAttention(q, k, v, wrong(options)), code, argument, message);
    expectThrow(() => explain(q, k, v, wrong(options)), code, argument, message);
  });

  test.each(unknownKeys)('unknown key %s', (key, meant) => {
    const message = meant ? new RegExp(`Did you mean '${meant}'\\?`) : /Known: scale, causal/;
    expectThrow(
      () => flashAttention(q, k, v, wrong({ [key]: 1 })),
      'ERR_OPTION',
      `options.${key}`,
      message,
    );
  });

  test('undefined stands for the default everywhere', async () => {
    const nothing: AttentionOptions = {};
    for (const key of [
      'scale',
      'causal',
      'window',
      'sinkTokens',
      'softcap',
      'alibiSlopes',
      'sinks',
      'dropout',
      'numSplits',
      'returnLse',
      'layout',
      'seqlensK',
      'mask',
      'blockMask',
    ]) {
      (nothing as Record<string, unknown>)[key] = undefined;
    }
    expect((await (flashAttention(q, k, v, nothing) as Tensor).data()).length).toBe(2 * 6 * 4 * 3);
    expect((flashAttention(q, k, v, undefined) as Tensor).shape).toEqual([2, 6, 4, 3]);
  });

  test('a failed call leaves nothing behind', async () => {
    const before = await settledMemory();
    for (const options of [{ seqlensK: [5, 6] }, { scale: 1e300 }, { seqlensK: [1, 1], mask: q }]) {
      thrownBy(() => flashAttention(q, k, v, wrong(options)));
    }
    expect(memory()).toEqual(before);
  });
});

describe('packed', () => {
  const qkv = zeros([2, 6, 3, 4, 8]);
  const kv = zeros([2, 5, 2, 2, 8]);

  test('the packed tensor', () => {
    for (const [, bad] of notTensors) {
      expectThrow(() => flashAttentionQkvPacked(wrong(bad)), 'ERR_TYPE', 'qkv');
      expectThrow(() => flashAttentionKvPacked(q, wrong(bad)), 'ERR_TYPE', 'kv');
      expectThrow(() => flashAttentionKvPacked(wrong(bad), kv), 'ERR_TYPE', 'q');
    }
    expectThrow(() => flashAttentionQkvPacked(gone), 'ERR_DISPOSED', 'qkv');
    expectThrow(
      () => flashAttentionQkvPacked(q),
      'ERR_SHAPE',
      'qkv',
      /\[batch, seqlen, 3, heads, headDim\]/,
    );
    expectThrow(() => flashAttentionQkvPacked(kv), 'ERR_SHAPE', 'qkv');
    expectThrow(
      () => flashAttentionQkvPacked(qkv, { layout: 'bhsd' }),
      'ERR_SHAPE',
      'qkv',
      /\[batch, 3, heads/,
    );
    expectThrow(
      () => flashAttentionKvPacked(q, qkv),
      'ERR_SHAPE',
      'kv',
      /\[batch, seqlen, 2, heads, headDim\]/,
    );
    expectThrow(() => flashAttentionKvPacked(q, zeros([1, 5, 2, 2, 8])), 'ERR_SHAPE', 'kv');
    expectThrow(() => flashAttentionKvPacked(q, zeros([2, 5, 2, 2, 7])), 'ERR_SHAPE', 'kv');
    expectThrow(() => flashAttentionKvPacked(q, zeros([2, 5, 2, 3, 8])), 'ERR_SHAPE', 'q');
    expectThrow(() => flashAttentionKvPacked(q, kv.to('float16')), 'ERR_DTYPE', 'kv');
    expectThrow(
      () => flashAttentionQkvPacked(zeros([2, 6, 3, 4, 8], { dtype: 'int32' })),
      'ERR_DTYPE',
      'qkv',
    );
  });

  test.each([...badCommon, ...badSeqlens, ...badObjects].map((row, i) => ({ i, row })))(
    'options $i',
    ({ row }) => {
      const [options, code, argument, message] = row;
      expectThrow(() => flashAttentionKvPacked(q, kv, wrong(options)), code, argument, message);
      // Six keys where the table says five: only what does not depend on it.
      if (!/6/.test(message?.source ?? '')) {
        expectThrow(() => flashAttentionQkvPacked(qkv, wrong(options)), code, argument, message);
      }
    },
  );

  test('errors free the views', async () => {
    const before = await settledMemory();
    thrownBy(() => flashAttentionQkvPacked(qkv, wrong({ scale: 'x' })));
    thrownBy(() => flashAttentionKvPacked(q, kv, wrong({ mask: gone })));
    expect(memory()).toEqual(before);
  });
});

describe('varlen', () => {
  const [vq, vk, vv] = [zeros([6, 4, 8]), zeros([5, 2, 8]), zeros([5, 2, 3])];
  const lengths = { cuSeqlensQ: [0, 2, 6], cuSeqlensK: [0, 5, 5] };
  const int32 = (...values: number[]) => tensor(Int32Array.from(values), [values.length]);
  const table: BadOption[] = [
    ...badCommon.map(
      ([options, ...rest]): BadOption => [{ ...lengths, ...(options as object) }, ...rest],
    ),
    ...badObjects,
    [undefined, 'ERR_TYPE', 'options', /cuSeqlensQ/],
    [{}, 'ERR_TYPE', 'options.cuSeqlensQ'],
    [{ cuSeqlensQ: [0, 6] }, 'ERR_TYPE', 'options.cuSeqlensK'],
    [{ ...lengths, layout: 'bshd' }, 'ERR_OPTION', 'options.layout'],
    [{ ...lengths, mask: q }, 'ERR_OPTION', 'options.mask'],
    [{ ...lengths, blockMask: q }, 'ERR_OPTION', 'options.blockMask'],
    [{ ...lengths, seqlensK: [1] }, 'ERR_OPTION', 'options.seqlensK'],
    [{ ...lengths, cu_seqlens_q: [1] }, 'ERR_OPTION', 'options.cu_seqlens_q', /mean 'cuSeqlensQ'/],
    [{ ...lengths, cuSeqlensQ: 6 }, 'ERR_TYPE', 'options.cuSeqlensQ'],
    [{ ...lengths, cuSeqlensQ: [] }, 'ERR_SHAPE', 'options.cuSeqlensQ'],
    [{ ...lengths, cuSeqlensK: [0, 5] }, 'ERR_SHAPE', 'options.cuSeqlensK'],
    [{ ...lengths, cuSeqlensQ: zeros([3]) }, 'ERR_DTYPE', 'options.cuSeqlensQ'],
    [
      { ...lengths, cuSeqlensQ: zeros([3, 1], { dtype: 'int32' }) },
      'ERR_SHAPE',
      'options.cuSeqlensQ',
    ],
    [{ ...lengths, cuSeqlensQ: elsewhere(int32(0, 2, 6)) }, 'ERR_DEVICE', 'options.cuSeqlensQ'],
    [{ ...lengths, cuSeqlensQ: gone }, 'ERR_DISPOSED', 'options.cuSeqlensQ'],
    [{ ...lengths, cuSeqlensQ: [0, 2, 7] }, 'ERR_SHAPE', 'options.cuSeqlensQ', /7/],
    [{ ...lengths, cuSeqlensQ: [1, 2, 6] }, 'ERR_SHAPE', 'options.cuSeqlensQ'],
    [{ ...lengths, cuSeqlensQ: [0, 4, 2] }, 'ERR_SHAPE', 'options.cuSeqlensQ', /ascending/],
    [{ ...lengths, cuSeqlensQ: [0, -2, 6] }, 'ERR_OPTION', 'options.cuSeqlensQ[1]'],
    [{ ...lengths, cuSeqlensQ: [0, 2.5, 6] }, 'ERR_OPTION', 'options.cuSeqlensQ[1]'],
    [{ ...lengths, cuSeqlensK: int32(0, 6, 5) }, 'ERR_SHAPE', 'options.cuSeqlensK'],
    [{ ...lengths, cuSeqlensK: int32(0, 5, 2 ** 31 - 1) }, 'ERR_SHAPE', 'options.cuSeqlensK'],
    [{ ...lengths, maxSeqlenQ: 3 }, 'ERR_OPTION', 'options.maxSeqlenQ', /4/],
    [{ ...lengths, maxSeqlenK: 4 }, 'ERR_OPTION', 'options.maxSeqlenK', /5/],
    [{ ...lengths, maxSeqlenQ: -1 }, 'ERR_OPTION', 'options.maxSeqlenQ'],
    [{ ...lengths, maxSeqlenQ: 4.5 }, 'ERR_OPTION', 'options.maxSeqlenQ'],
    [{ ...lengths, maxSeqlenQ: '4' }, 'ERR_TYPE', 'options.maxSeqlenQ'],
    [{ ...lengths, maxSeqlenK: 2 ** 31 }, 'ERR_OPTION', 'options.maxSeqlenK'],
  ];
  test.each(table.map((row, i) => ({ i, name: row[2], row })))('$i: $name', ({ row }) => {
    const [options, code, argument, message] = row;
    expectThrow(() => flashAttentionVarlen(vq, vk, vv, wrong(options)), code, argument, message);
    const told = options as object | null | undefined;
    if (typeof told === 'object' && told && 'cuSeqlensQ' in told) {
      expectThrow(() => explain(vq, vk, vv, wrong(options)), code, argument, message);
    }
  });

  test('errors free the temporaries', async () => {
    const before = await settledMemory();
    for (const bad of [{ cuSeqlensK: [0, 6, 5] }, { maxSeqlenQ: 1 }, { numSplits: 'x' }]) {
      thrownBy(() => flashAttentionVarlen(vq, vk, vv, wrong({ ...lengths, ...bad })));
    }
    expect(memory()).toEqual(before);
  });

  test('shapes', () => {
    expectThrow(() => flashAttentionVarlen(q, vk, vv, lengths), 'ERR_SHAPE', 'q', /rank 3/);
    expectThrow(() => flashAttentionVarlen(vq, zeros([5, 2, 7]), vv, lengths), 'ERR_SHAPE', 'k');
    expectThrow(() => flashAttentionVarlen(vq, vk, zeros([4, 2, 8]), lengths), 'ERR_SHAPE', 'v');
    expectThrow(
      () => flashAttentionVarlen(vq, zeros([5, 3, 8]), zeros([5, 3, 8]), lengths),
      'ERR_SHAPE',
      'q',
    );
  });
});

describe('paged', () => {
  const [kPages, vPages] = [zeros([4, 3, 2, 8]), zeros([4, 3, 2, 5])];
  const table32 = (values: number[][]) =>
    tensor(Int32Array.from(values.flat()), [values.length, values[0].length]);
  const pages = {
    pageTable: table32([
      [0, 1],
      [2, 3],
    ]),
    seqlensK: [5, 6],
  };
  const options: BadOption[] = [
    ...badCommon.map(([bad, ...rest]): BadOption => [{ ...pages, ...(bad as object) }, ...rest]),
    ...badDense
      .filter(([, code]) => code !== 'ERR_SHAPE')
      .map(([bad, ...rest]): BadOption => [{ ...pages, ...(bad as object) }, ...rest]),
    ...badObjects,
    [undefined, 'ERR_TYPE', 'options', /pageTable/],
    [{}, 'ERR_TYPE', 'options.pageTable'],
    [{ pageTable: pages.pageTable }, 'ERR_TYPE', 'options.seqlensK'],
    [
      {
        ...pages,
        pageTable: [
          [0, 1],
          [2, 3],
        ],
      },
      'ERR_TYPE',
      'options.pageTable',
    ],
    [{ ...pages, pageTable: zeros([2, 2]) }, 'ERR_DTYPE', 'options.pageTable'],
    [
      { ...pages, pageTable: table32([[0, 1]]) },
      'ERR_SHAPE',
      'options.pageTable',
      /\[2, pagesPerSequence\]/,
    ],
    [{ ...pages, pageTable: zeros([4], { dtype: 'int32' }) }, 'ERR_SHAPE', 'options.pageTable'],
    [
      {
        ...pages,
        pageTable: table32([
          [0, 4],
          [2, 3],
        ]),
      },
      'ERR_SHAPE',
      'options.pageTable',
      /4/,
    ],
    [
      {
        ...pages,
        pageTable: table32([
          [0, 1],
          [-1, 3],
        ]),
      },
      'ERR_SHAPE',
      'options.pageTable',
      /-1/,
    ],
    [{ ...pages, pageTable: elsewhere(pages.pageTable) }, 'ERR_DEVICE', 'options.pageTable'],
    [{ ...pages, pageTable: gone }, 'ERR_DISPOSED', 'options.pageTable'],
    [{ ...pages, seqlensK: [5, 7] }, 'ERR_SHAPE', 'options.seqlensK', /7/],
    [{ ...pages, seqlensK: [5] }, 'ERR_SHAPE', 'options.seqlensK'],
    [{ ...pages, block_table: 1 }, 'ERR_OPTION', 'options.block_table', /mean 'pageTable'/],
    [{ ...pages, mask: zeros([6, 5]) }, 'ERR_SHAPE', 'options.mask', /\[2, 4, 6, 6\]/],
  ];
  test.each(options.map((row, i) => ({ i, name: row[2], row })))('$i: $name', ({ row }) => {
    const [bad, code, argument, message] = row;
    expectThrow(() => flashAttentionPaged(q, kPages, vPages, wrong(bad)), code, argument, message);
    const told = bad as object | null | undefined;
    if (typeof told === 'object' && told && 'pageTable' in told) {
      expectThrow(() => explain(q, kPages, vPages, wrong(bad)), code, argument, message);
    }
  });

  test('shapes', () => {
    expectThrow(
      () => flashAttentionPaged(q, zeros([4, 3, 2, 7]), vPages, pages),
      'ERR_SHAPE',
      'kPages',
    );
    expectThrow(
      () => flashAttentionPaged(q, zeros([4, 0, 2, 8]), zeros([4, 0, 2, 8]), pages),
      'ERR_SHAPE',
      'kPages',
    );
    expectThrow(
      () => flashAttentionPaged(q, kPages, zeros([3, 3, 2, 8]), pages),
      'ERR_SHAPE',
      'vPages',
    );
    expectThrow(
      () => flashAttentionPaged(q, kPages, zeros([4, 2, 2, 8]), pages),
      'ERR_SHAPE',
      'vPages',
    );
    expectThrow(
      () => flashAttentionPaged(q, zeros([4, 3, 3, 8]), zeros([4, 3, 3, 8]), pages),
      'ERR_SHAPE',
      'q',
    );
  });

  test('entries past the keys in use are never looked at', async () => {
    const pageTable = table32([
      [0, 99],
      [2, -7],
    ]);
    const out = flashAttentionPaged(q, kPages, vPages, { pageTable, seqlensK: [3, 0] });
    expect((await out.toFloat32()).length).toBe(2 * 6 * 4 * 5);
  });
});

describe('mergeAttentionStates', () => {
  const out = zeros([2, 6, 4, 8]);
  const lse = zeros([2, 4, 6]);
  const rows: [unknown, ErrorCode, string, unknown?][] = [
    [undefined, 'ERR_TYPE', 'states'],
    [{ out, lse }, 'ERR_TYPE', 'states'],
    [[], 'ERR_SHAPE', 'states'],
    [[undefined], 'ERR_TYPE', 'states[0].out'],
    [[out], 'ERR_TYPE', 'states[0].out'],
    [[{ out }], 'ERR_TYPE', 'states[0].lse'],
    [[{ out, lse }, null], 'ERR_TYPE', 'states[1].out'],
    [[{ out: new Float32Array(8), lse }], 'ERR_TYPE', 'states[0].out'],
    [[{ out: lse, lse }], 'ERR_SHAPE', 'states[0].out'],
    [[{ out: zeros([2, 6, 4, 8], { dtype: 'int32' }), lse }], 'ERR_DTYPE', 'states[0].out'],
    [[{ out, lse: zeros([2, 6, 4]) }], 'ERR_SHAPE', 'states[0].lse'],
    [[{ out, lse: lse.to('float16') }], 'ERR_DTYPE', 'states[0].lse'],
    [
      [
        { out, lse },
        { out: zeros([2, 6, 4, 4]), lse },
      ],
      'ERR_SHAPE',
      'states[1].out',
    ],
    [
      [
        { out, lse },
        { out: out.to('bfloat16'), lse },
      ],
      'ERR_DTYPE',
      'states[1].out',
    ],
    [
      [
        { out, lse },
        { out, lse: zeros([2, 4, 5]) },
      ],
      'ERR_SHAPE',
      'states[1].lse',
    ],
    [
      [
        { out, lse },
        { out: gone, lse },
      ],
      'ERR_DISPOSED',
      'states[1].out',
    ],
    [
      [
        { out, lse },
        { out: elsewhere(out), lse },
      ],
      'ERR_DEVICE',
      'states[1].out',
    ],
    [[{ out, lse: elsewhere(lse) }], 'ERR_DEVICE', 'states[0].lse'],
    [[{ out, lse }], 'ERR_OPTION', 'options.layout', { layout: 'x' }],
    [[{ out, lse }], 'ERR_SHAPE', 'states[0].lse', { layout: 'bhsd' }],
    [[{ out, lse }], 'ERR_OPTION', 'options.causal', { causal: true }],
    [[{ out, lse }], 'ERR_TYPE', 'options', 'bshd'],
  ];
  test.each(rows.map((row, i) => ({ i, row })))('$i', ({ row }) => {
    const [states, code, argument, options] = row;
    expectThrow(() => mergeAttentionStates(wrong(states), wrong(options)), code, argument);
  });
});

describe('scaledDotProductAttention', () => {
  const [query, key, value] = [zeros([2, 4, 6, 8]), zeros([2, 4, 5, 8]), zeros([2, 4, 5, 8])];
  const rows: BadOption[] = [
    ...badObjects,
    [{ attnMask: zeros([5, 6]) }, 'ERR_SHAPE', 'options.attnMask'],
    [{ attnMask: zeros([6, 5], { dtype: 'int32' }) }, 'ERR_DTYPE', 'options.attnMask'],
    [{ attnMask: null }, 'ERR_TYPE', 'options.attnMask'],
    [{ attnMask: elsewhere(zeros([6, 5])) }, 'ERR_DEVICE', 'options.attnMask'],
    [{ attnMask: zeros([6, 5]), isCausal: true }, 'ERR_OPTION', 'options.isCausal', /both/],
    [{ isCausal: 1 }, 'ERR_TYPE', 'options.isCausal'],
    [{ enableGqa: 'yes' }, 'ERR_TYPE', 'options.enableGqa'],
    [{ dropoutP: 1 }, 'ERR_OPTION', 'options.dropoutP'],
    [{ dropoutP: '0.5' }, 'ERR_TYPE', 'options.dropoutP'],
    [{ dropoutP: 0.5 }, 'ERR_TYPE', 'options.dropoutSeed'],
    [{ dropoutP: 0.5, dropoutSeed: 1 }, 'ERR_TYPE', 'options.dropoutSeed'],
    [{ dropoutSeed: 1 }, 'ERR_TYPE', 'options.dropoutSeed'],
    [{ scale: 'auto' }, 'ERR_TYPE', 'options.scale'],
    [{ mask: zeros([6, 5]) }, 'ERR_OPTION', 'options.mask', /mean 'attnMask'/],
    [{ causal: true }, 'ERR_OPTION', 'options.causal', /mean 'isCausal'/],
    [{ is_causal: true }, 'ERR_OPTION', 'options.is_causal', /mean 'isCausal'/],
    [{ enable_gqa: true }, 'ERR_OPTION', 'options.enable_gqa', /mean 'enableGqa'/],
  ];
  test.each(rows.map((row, i) => ({ i, name: row[2], row })))('$i: $name', ({ row }) => {
    const [options, code, argument, message] = row;
    expectThrow(
      () => scaledDotProductAttention(query, key, value, wrong(options)),
      code,
      argument,
      message,
    );
  });

  test('fewer heads of key and value need enableGqa', () => {
    const few = zeros([2, 2, 5, 8]);
    expectThrow(() => scaledDotProductAttention(query, few, few), 'ERR_SHAPE', 'key', /enableGqa/);
    expect(scaledDotProductAttention(query, few, few, { enableGqa: true }).shape).toEqual([
      2, 4, 6, 8,
    ]);
  });
});

describe('errors of execution', () => {
  /** The same values, but not known when the call that uses them is made. */
  async function slowly(values: Int32Array): Promise<{ later: Tensor; busy: Tensor }> {
    const big = zeros([1, 2048, 8, 64]);
    const busy = flashAttention(big, big, big);
    return { busy, later: tensor(values, [values.length]).to('int32') };
  }

  test('reject the wait of what depends on them, and of nothing else', async () => {
    const { later, busy } = await slowly(Int32Array.of(5, 6));
    const { out, lse } = flashAttention(q, k, v, { seqlensK: later, returnLse: true });
    const onTop = out.to('bfloat16').transpose(3, 2, 1, 0);
    const bystander = flashAttention(q, k, v);
    for (const use of [() => out.data(), () => lse.toFloat32(), () => onTop.data()]) {
      const error = await errorOf(use);
      expect(error).toMatchObject({ code: 'ERR_SHAPE', argument: 'options.seqlensK' });
      expect(error.stack).toContain('errors.test');
    }
    await synchronize();
    expect((await bystander.data()).length).toBe(bystander.size);
    busy.dispose();
  });

  test('correct values found late are as good as early ones', async () => {
    const { later } = await slowly(Int32Array.of(5, 2));
    const late = flashAttention(q, k, v, { seqlensK: later });
    const early = flashAttention(q, k, v, { seqlensK: [5, 2] });
    expect(await late.data()).toEqual(await early.data());
  });
});
