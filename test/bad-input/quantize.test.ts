// quantize(), dequantize(), and float8 tensors where they do not belong.
import {
  dequantize,
  explain,
  flashAttention,
  flashAttentionBackward,
  flashAttentionPaged,
  flashAttentionVarlen,
  flashAttentionVarlenBackward,
  mergeAttentionStates,
  quantize,
  randn,
  scaledDotProductAttention,
  tensor,
  zeros,
} from '../../lib/index.js';
import { elsewhere, gone, notTensors, q } from '../support/bad-options.js';
import { onCpu, testOnCpu } from '../support/device.js';
import { expectThrow, thrownBy, wrong } from '../support/expect-error.js';

const dtype = 'float8_e4m3';
const x = zeros([2, 6, 4, 8]);
const float8 = zeros([2, 6, 4, 8], { dtype });

describe('quantize()', () => {
  test('tensors', () => {
    for (const [, bad] of notTensors)
      expectThrow(() => quantize(wrong(bad), dtype), 'ERR_TYPE', 'tensor');
    expectThrow(() => quantize(gone, dtype), 'ERR_DISPOSED', 'tensor');
    expectThrow(() => quantize(float8, dtype), 'ERR_DTYPE', 'tensor', /float32, float16, bfloat16/);
    expectThrow(
      () => quantize(zeros([2, 6, 4, 8], { dtype: 'int32' }), dtype),
      'ERR_DTYPE',
      'tensor',
    );
    expectThrow(() => quantize(zeros([6, 4, 8]), dtype), 'ERR_SHAPE', 'tensor', /\[batch, seqlen/);
    expectThrow(() => quantize(zeros([1, 1, 1, 577]), dtype), 'ERR_SHAPE', 'tensor', /1 to 576/);
    expectThrow(() => quantize(zeros([1, 1, 1, 0]), dtype), 'ERR_SHAPE', 'tensor', /1 to 576/);
  });

  test('dtypes', () => {
    expectThrow(() => quantize(x, wrong('float16')), 'ERR_DTYPE', 'dtype', /'float8_e4m3'/);
    expectThrow(() => quantize(x, wrong('fp8')), 'ERR_DTYPE', 'dtype', /to be 'float8_e4m3' but/);
    expectThrow(
      () => quantize(x, wrong(undefined)),
      'ERR_TYPE',
      'dtype',
      /^Expected dtype to be 'float8_e4m3' but received undefined\.$/,
    );
  });

  test.each<[unknown, string, string, RegExp?]>([
    [null, 'ERR_TYPE', 'options'],
    ['block', 'ERR_TYPE', 'options'],
    [
      { axis: 1 },
      'ERR_OPTION',
      'options.axis',
      /Known: per, hadamard, layout, cuSeqlens, maxSeqlen/,
    ],
    [{ per: 'token' }, 'ERR_OPTION', 'options.per', /'block', 'head' or 'tensor'/],
    [{ per: 128 }, 'ERR_TYPE', 'options.per'],
    [{ layout: 'sbhd' }, 'ERR_OPTION', 'options.layout'],
    [{ hadamard: true }, 'ERR_TYPE', 'options.hadamard'],
    [{ hadamard: {} }, 'ERR_TYPE', 'options.hadamard.seed'],
    [{ hadamard: { seed: 1 } }, 'ERR_TYPE', 'options.hadamard.seed', /Write 1n/],
    [{ hadamard: { seed: -1n } }, 'ERR_OPTION', 'options.hadamard.seed'],
    [{ hadamard: { sed: 1n } }, 'ERR_OPTION', 'options.hadamard.sed', /'seed'/],
  ])('options %p', (...[options, code, argument, message]) => {
    expectThrow(() => quantize(x, dtype, wrong(options)), code as 'ERR_TYPE', argument, message);
  });

  test('a rotation needs a power of two', () => {
    const rotate = (dim: number) => () =>
      quantize(zeros([1, 2, 1, dim]), dtype, { hadamard: { seed: 1n } });
    for (const dim of [3, 96, 192, 576])
      expectThrow(rotate(dim), 'ERR_SHAPE', 'options.hadamard', /power of two/);
  });
});

describe('quantize() of packed sequences', () => {
  const packed = zeros([6, 4, 8]);
  test.each<[unknown, string, string, RegExp?]>([
    [{ cuSeqlens: 6 }, 'ERR_TYPE', 'options.cuSeqlens'],
    [{ cuSeqlens: [0, 2.5] }, 'ERR_OPTION', 'options.cuSeqlens[1]'],
    [{ cuSeqlens: [0, -1] }, 'ERR_OPTION', 'options.cuSeqlens[1]'],
    [{ cuSeqlens: [] }, 'ERR_SHAPE', 'options.cuSeqlens', /at least the first 0/],
    [{ cuSeqlens: [1, 6] }, 'ERR_SHAPE', 'options.cuSeqlens', /cuSeqlens\[0\] to be 0/],
    [{ cuSeqlens: [0, 4, 3] }, 'ERR_SHAPE', 'options.cuSeqlens', /ascending .* 3 after 4/],
    [{ cuSeqlens: [0, 7] }, 'ERR_SHAPE', 'options.cuSeqlens', /at most the 6 packed tokens/],
    [{ cuSeqlens: zeros([2]), maxSeqlen: 6 }, 'ERR_DTYPE', 'options.cuSeqlens'],
    [
      { cuSeqlens: zeros([2, 1], { dtype: 'int32' }), maxSeqlen: 6 },
      'ERR_SHAPE',
      'options.cuSeqlens',
    ],
    [
      { cuSeqlens: zeros([2], { dtype: 'int32' }) },
      'ERR_OPTION',
      'options.maxSeqlen',
      /given with cuSeqlens that is a Tensor/,
    ],
    [{ cuSeqlens: gone, maxSeqlen: 6 }, 'ERR_DISPOSED', 'options.cuSeqlens'],
    [{ maxSeqlen: 6 }, 'ERR_OPTION', 'options.maxSeqlen', /absent without cuSeqlens/],
    [{ cuSeqlens: [0, 6], maxSeqlen: '6' }, 'ERR_TYPE', 'options.maxSeqlen'],
    [{ cuSeqlens: [0, 6], maxSeqlen: 5 }, 'ERR_OPTION', 'options.maxSeqlen', /longest sequence, 6/],
    [{ cuSeqlens: [0, 6], maxSeqlen: -1 }, 'ERR_OPTION', 'options.maxSeqlen'],
    [{ cuSeqlens: [0, 6], maxSeqlen: 2 ** 40 }, 'ERR_OPTION', 'options.maxSeqlen'],
    [{ cuSeqlens: [0, 6], layout: 'bhsd' }, 'ERR_OPTION', 'options.layout', /'bshd' with/],
  ])('options %p', (...[options, code, argument, message]) => {
    expectThrow(
      () => quantize(packed, dtype, wrong(options)),
      code as 'ERR_TYPE',
      argument,
      message,
    );
  });

  test('tensors', () => {
    expectThrow(
      () => quantize(x, dtype, { cuSeqlens: [0, 2] }),
      'ERR_SHAPE',
      'tensor',
      /\[total, heads, headDim\]/,
    );
    expectThrow(
      () =>
        quantize(packed, dtype, {
          cuSeqlens: elsewhere(zeros([2], { dtype: 'int32' })),
          maxSeqlen: 6,
        }),
      'ERR_DEVICE',
      'options.cuSeqlens',
    );
  });

  test.each<[string, object, string, string]>([
    ['no offsets', { cuSeqlens: undefined }, 'ERR_OPTION', 'quantized.maxSeqlen'],
    ['other offsets', { cuSeqlens: [0, 9] }, 'ERR_OPTION', 'quantized.maxSeqlen'],
    ['more sequences', { cuSeqlens: [0, 3, 6] }, 'ERR_SHAPE', 'quantized.scales'],
    ['a greater bound', { maxSeqlen: 129 }, 'ERR_SHAPE', 'quantized.scales'],
    ['another layout', { layout: 'bhsd' }, 'ERR_OPTION', 'quantized.layout'],
  ])('dequantize(): %s', (...[, change, code, argument]) => {
    const good = quantize(packed, dtype, { cuSeqlens: [0, 6] });
    expectThrow(() => dequantize(wrong({ ...good, ...change })), code as 'ERR_TYPE', argument);
  });
});

describe('dequantize()', () => {
  const good = quantize(x, dtype);
  test.each<[string, unknown, string, string, RegExp?]>([
    ['undefined', undefined, 'ERR_TYPE', 'quantized'],
    [
      'a tensor alone',
      float8,
      'ERR_TYPE',
      'quantized',
      /an object \{ values, scales, layout \} but received a float8_e4m3 Tensor of shape \[2, 6, 4, 8\]/,
    ],
    ['an array', [good.values, good.scales], 'ERR_TYPE', 'quantized', /an array of length 2/],
    ['a typed array', new Uint8Array(4), 'ERR_TYPE', 'quantized', /a Uint8Array of length 4/],
    [
      'no layout',
      { values: good.values, scales: good.scales },
      'ERR_TYPE',
      'quantized.layout',
      /'bshd' or 'bhsd' but received undefined/,
    ],
    ['no scales', { ...good, scales: undefined }, 'ERR_TYPE', 'quantized.scales'],
    ['values of another dtype', { ...good, values: x }, 'ERR_DTYPE', 'quantized.values'],
    [
      'scales of another dtype',
      { ...good, scales: good.scales.to('float16') },
      'ERR_DTYPE',
      'quantized.scales',
    ],
    [
      'scales of another shape',
      { ...good, scales: zeros([2, 4, 2]) },
      'ERR_SHAPE',
      'quantized.scales',
      /\[1\] or \[2, 4\] or \[2, 4, 1\]/,
    ],
    ['another rank', { ...good, values: zeros([8], { dtype }) }, 'ERR_SHAPE', 'quantized.values'],
    ['elsewhere', { ...good, scales: elsewhere(good.scales) }, 'ERR_DEVICE', 'quantized.scales'],
    ['layout', { ...good, layout: 'x' }, 'ERR_OPTION', 'quantized.layout'],
    ['hadamard', { ...good, hadamard: { seed: 1 } }, 'ERR_TYPE', 'quantized.hadamard.seed'],
    ['disposed', { ...good, values: gone }, 'ERR_DISPOSED', 'quantized.values'],
  ])('%s', (...[, quantized, code, argument, message]) => {
    expectThrow(() => dequantize(wrong(quantized)), code as 'ERR_TYPE', argument, message);
  });

  test('dtype', () => {
    for (const bad of ['int32', dtype, 'float64']) {
      expectThrow(
        () => dequantize(good, { dtype: wrong(bad) }),
        'ERR_DTYPE',
        'options.dtype',
        /one of 'float32', 'float16', 'bfloat16' but/,
      );
    }
    expectThrow(() => dequantize(good, { dtype: wrong(32) }), 'ERR_TYPE', 'options.dtype');
    expectThrow(() => dequantize(good, wrong({ type: 'float32' })), 'ERR_OPTION', 'options.type');
  });
});

describe('float8 where it does not belong', () => {
  test('making tensors', () => {
    expectThrow(() => randn([2], { seed: 1n, dtype }), 'ERR_DTYPE', 'options.dtype');
    expectThrow(() => tensor(new Uint8Array(2), [2]), 'ERR_DTYPE', 'options.dtype', /float8_e4m3/);
    expectThrow(() => tensor(new Uint16Array(2), [2], { dtype }), 'ERR_DTYPE', 'options.dtype');
    expectThrow(() => tensor(new BigInt64Array(2), [2], { dtype }), 'ERR_DTYPE', 'options.dtype');
    expectThrow(() => float8.to('int32'), 'ERR_DTYPE', 'deviceOrDType', /float8_e4m3, float32/);
  });

  test('other functions', () => {
    const packed = zeros([6, 4, 8], { dtype });
    const cuSeqlensQ = [0, 6];
    const lse = zeros([2, 4, 6]);
    const state = { q: float8, k: float8, v: float8, out: q, lse };
    expectThrow(
      () => flashAttentionVarlen(packed, packed, packed, { cuSeqlensQ, cuSeqlensK: cuSeqlensQ }),
      'ERR_OPTION',
      'options.scales',
    );
    const pageTable = zeros([2, 2], { dtype: 'int32' });
    expectThrow(
      () => flashAttentionPaged(float8, float8, float8, { pageTable, seqlensK: [1, 1] }),
      'ERR_OPTION',
      'options.scales',
    );
    const packedState = { q: packed, k: packed, v: packed, out: packed, lse: zeros([4, 6]) };
    expectThrow(
      () =>
        flashAttentionVarlenBackward(packed, packedState, { cuSeqlensQ, cuSeqlensK: cuSeqlensQ }),
      'ERR_DTYPE',
      'state.q',
    );
    expectThrow(() => scaledDotProductAttention(float8, float8, float8), 'ERR_DTYPE', 'query');
    expectThrow(() => flashAttentionBackward(q, state), 'ERR_DTYPE', 'state.q');
    expectThrow(() => mergeAttentionStates([{ out: float8, lse }]), 'ERR_DTYPE', 'states[0].out');
    expectThrow(() => flashAttention(x, x, x, { mask: float8 }), 'ERR_DTYPE', 'options.mask');
    const sinks = zeros([4], { dtype });
    expectThrow(() => flashAttention(x, x, x, { sinks }), 'ERR_DTYPE', 'options.sinks');
    expectThrow(() => flashAttention(x, float8, x), 'ERR_DTYPE', 'k');
  });
});

describe('flashAttention() on float8', () => {
  const [q8, k8] = [quantize(x, dtype), quantize(zeros([2, 150, 2, 8]), dtype)];
  const v8 = quantize(zeros([2, 150, 2, 16]), dtype, { per: 'head' });
  const scales = { q: q8.scales, k: k8.scales, v: v8.scales };
  const attend = (options: unknown) => () =>
    flashAttention(q8.values, k8.values, v8.values, wrong(options));

  test.each<[string, unknown, string, string, RegExp?]>([
    ['none', undefined, 'ERR_OPTION', 'options.scales', /quantize\(\)/],
    ['none among options', { causal: true }, 'ERR_OPTION', 'options.scales'],
    ['null', { scales: null }, 'ERR_TYPE', 'options.scales'],
    ['a tensor', { scales: q8.scales }, 'ERR_TYPE', 'options.scales'],
    ['one missing', { scales: { q: q8.scales, k: k8.scales } }, 'ERR_TYPE', 'options.scales.v'],
    [
      'an unknown key',
      { scales: { ...scales, out: q8.scales } },
      'ERR_OPTION',
      'options.scales.out',
    ],
    ['a number', { scales: { ...scales, q: 1 } }, 'ERR_TYPE', 'options.scales.q'],
    ['disposed', { scales: { ...scales, k: gone } }, 'ERR_DISPOSED', 'options.scales.k'],
    [
      'float16',
      { scales: { ...scales, k: k8.scales.to('float16') } },
      'ERR_DTYPE',
      'options.scales.k',
    ],
    [
      'of another tensor',
      { scales: { ...scales, k: q8.scales } },
      'ERR_SHAPE',
      'options.scales.k',
      /\[2, 2, 2\]/,
    ],
    [
      'v per block',
      { scales: { ...scales, v: zeros([2, 2, 2]) } },
      'ERR_SHAPE',
      'options.scales.v',
      /\[1\] or \[2, 2\] but .*Quantize v with per: 'head' or 'tensor'/,
    ],
    [
      'elsewhere',
      { scales: { ...scales, v: elsewhere(v8.scales) } },
      'ERR_DEVICE',
      'options.scales.v',
    ],
  ])('scales: %s', (...[, options, code, argument, message]) => {
    expectThrow(attend(options), code as 'ERR_TYPE', argument, message);
  });

  test('other names for scales', () => {
    for (const other of ['qScale', 'kScale', 'v_scale', 'scale_q', 'qDescale', 'descale_v']) {
      const options = { [other]: q8.scales };
      expectThrow(attend(options), 'ERR_OPTION', `options.${other}`, /Did you mean 'scales'\?/);
    }
  });

  test('scales without float8', () => {
    expectThrow(
      () => flashAttention(x, x, x, { scales }),
      'ERR_OPTION',
      'options.scales',
      /float32/,
    );
  });

  testOnCpu('a device without the kernel says what to do', () => {
    expect(onCpu).toBe(true);
    for (const run of [
      attend({ scales }),
      () => explain(q8.values, k8.values, v8.values, { scales }),
    ]) {
      expectThrow(run, 'ERR_DTYPE', 'q', /on a CPU but received float8_e4m3: dequantize\(\)/);
    }
    expect(thrownBy(attend({ scales, returnLse: true })).code).toBe('ERR_DTYPE');
  });
});
