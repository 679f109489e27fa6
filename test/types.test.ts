/**
 * What the compiler promises about the public API. `tsc` is what checks it; running the file shows
 * that the module has these exports and no others.
 */

import type {
  AttentionOptions,
  AttentionResult,
  DeviceInfo,
  DeviceName,
  DType,
  ErrorCode,
  IntVector,
  NestedArray,
  Plan,
  Tensor,
  TensorData,
  TypedArray,
} from '../lib/index.js';
import * as fa from '../lib/index.js';

/** Compiles only if A and B are the same type. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>): void => {};

declare const q: Tensor;
declare const options: AttentionOptions;
declare const flag: boolean;

/** Never run: only its types matter. */
function promises(): void {
  same<Tensor['dtype'], DType>(true);
  same<DType, 'float32' | 'float16' | 'bfloat16' | 'int32' | 'bool' | 'float8_e4m3' | 'int8'>(true);
  same<DeviceName, 'cpu' | 'cuda' | `cuda:${number}`>(true);
  same<Tensor['shape'], readonly number[]>(true);
  same<ReturnType<Tensor['data']>, Promise<TypedArray>>(true);
  same<ReturnType<Tensor['toFloat32']>, Promise<Float32Array>>(true);
  same<ReturnType<typeof fa.devices>, DeviceInfo[]>(true);
  same<ReturnType<typeof fa.explain>, Plan>(true);
  same<InstanceType<typeof fa.FlashAttentionError>['code'], ErrorCode>(true);

  // A dtype that is known gives the type of the elements, and passes through views.
  same<ReturnType<Tensor<'float32'>['data']>, Promise<Float32Array>>(true);
  same<ReturnType<Tensor<'float16'>['data']>, Promise<Uint16Array>>(true);
  same<ReturnType<Tensor<'bfloat16'>['take']>, Promise<Uint16Array>>(true);
  same<ReturnType<Tensor<'int32'>['take']>, Promise<Int32Array>>(true);
  same<ReturnType<Tensor<'bool'>['data']>, Promise<Uint8Array>>(true);
  same<ReturnType<Tensor<'float8_e4m3'>['data']>, Promise<Uint8Array>>(true);
  same<ReturnType<Tensor<'int8'>['data']>, Promise<Int8Array>>(true);
  const known = fa.tensor([1, 2], [1, 2]);
  same<typeof known, Tensor<'float32'>>(true);
  const views = known.slice([0, 1]).transpose(1, 0).reshape([2, 1]).expand([2, 3]).contiguous();
  same<typeof views, Tensor<'float32'>>(true);
  const moved = known.to('cpu');
  same<typeof moved, Tensor<'float32'>>(true);
  const rounded = known.to('bfloat16');
  same<typeof rounded, Tensor<'bfloat16'>>(true);
  const general: Tensor = rounded;
  same<ReturnType<typeof general.data>, Promise<TypedArray>>(true);

  const joined = fa.concat([rounded, rounded.slice([0, 1])], 0);
  same<typeof joined, Tensor<'bfloat16'>>(true);

  // What tensor() and its like infer.
  const flags = fa.tensor([[true], [false]], [2, 1]);
  same<typeof flags, Tensor<'bool'>>(true);
  const nothing = fa.tensor([], [0]);
  same<typeof nothing, Tensor<'float32'>>(true);
  const doubles = fa.tensor(new Float64Array(2), [2], { device: 'cpu' });
  same<typeof doubles, Tensor<'float32'>>(true);
  const integers = fa.tensor(new BigInt64Array(2), [2]);
  same<typeof integers, Tensor<'int32'>>(true);
  const bits = fa.tensor(new Uint16Array(2), [2], { dtype: 'float16' });
  same<typeof bits, Tensor<'float16'>>(true);
  const nested = fa.tensor([] as NestedArray, [0]);
  same<typeof nested, Tensor<'float32' | 'bool'>>(true);
  const whatever = fa.tensor([1] as TensorData, [1]);
  same<typeof whatever, Tensor>(true);
  const blank = fa.empty([2]);
  same<typeof blank, Tensor<'float32'>>(true);
  const halves = fa.zeros([2], { dtype: 'float16' });
  same<typeof halves, Tensor<'float16'>>(true);
  const normal = fa.randn([2], { seed: 1n, dtype: 'bfloat16' });
  same<typeof normal, Tensor<'bfloat16'>>(true);
  const perhaps = fa.zeros([2], { dtype: flag ? 'float16' : undefined });
  same<typeof perhaps, Tensor>(true);
  // @ts-expect-error: zeros are of float32
  const _wrong: Tensor<'int32'> = fa.zeros([2]);
  // @ts-expect-error: nor does the wish make another dtype
  const _other: Tensor<'int32'> = fa.tensor([1], [1]);

  // The result's type follows `returnLse`.
  const alone = fa.flashAttention(q, q, q);
  same<typeof alone, Tensor>(true);
  const plain = fa.flashAttention(q, q, q, options);
  same<typeof plain, Tensor>(true);
  const both = fa.flashAttention(q, q, q, { ...options, returnLse: true });
  same<typeof both, AttentionResult>(true);
  const off = fa.flashAttention(q, q, q, { causal: true, returnLse: false });
  same<typeof off, Tensor>(true);
  const either = fa.flashAttention(q, q, q, { returnLse: flag });
  same<typeof either, Tensor | AttentionResult>(true);
  const lengths = { cuSeqlensQ: [0, 1], cuSeqlensK: Int32Array.of(0, 1) };
  const varlen = fa.flashAttentionVarlen(q, q, q, { ...lengths, returnLse: true });
  same<typeof varlen, AttentionResult>(true);
  const packed = fa.flashAttentionQkvPacked(q);
  same<typeof packed, Tensor>(true);
  const kvPacked = fa.flashAttentionKvPacked(q, q, { returnLse: true });
  same<typeof kvPacked, AttentionResult>(true);
  const paged = fa.flashAttentionPaged(q, q, q, { pageTable: q, seqlensK: [1] });
  same<typeof paged, Tensor>(true);
  const merged = fa.mergeAttentionStates([both, { out: q, lse: q }]);
  same<typeof merged, AttentionResult>(true);
  same<
    ReturnType<typeof fa.dynamicConv<'float16'>>,
    Tensor<'float16'> | fa.DynamicConvResult<'float16'>
  >(true);
  const convolved = fa.dynamicConv(fa.zeros([1, 2, 1, 4], { dtype: 'float16' }), q);
  same<typeof convolved, Tensor<'float16'>>(true);
  const continued = fa.dynamicConv(convolved, q, { returnState: true });
  same<typeof continued.state, Tensor<'float16'>>(true);
  const sdpa = fa.scaledDotProductAttention(q, q, q, { isCausal: true });
  same<typeof sdpa, Tensor>(true);

  // The result's dtype follows q, where it is known.
  const half = fa.randn([1, 4, 2, 8], { seed: 1n, dtype: 'bfloat16' });
  const halfOut = fa.flashAttention(half, half, half, { causal: true });
  same<typeof halfOut, Tensor<'bfloat16'>>(true);
  const halfBoth = fa.flashAttentionKvPacked(half, half, { returnLse: true });
  same<typeof halfBoth, AttentionResult<'bfloat16'>>(true);
  same<typeof halfBoth.lse, Tensor<'float32'>>(true);
  const float8 = fa.zeros([1, 4, 2, 8], { dtype: 'float8_e4m3' });
  const fromFloat8 = fa.flashAttention(float8, float8, float8, { scales: { q, k: q, v: q } });
  same<typeof fromFloat8, Tensor<'bfloat16'>>(true);
  const halfMerged = fa.mergeAttentionStates([halfBoth, { out: half, lse: q }]);
  same<typeof halfMerged, AttentionResult<'bfloat16'>>(true);
  const gradients = fa.flashAttentionBackward(half, { q: half, k: half, v: half, ...halfBoth });
  same<typeof gradients.dk, Tensor<'bfloat16'>>(true);
  const torch = fa.scaledDotProductAttention(half, half, half);
  same<typeof torch, Tensor<'bfloat16'>>(true);

  // What is accepted.
  fa.tensor([1, 2], [2]);
  fa.tensor(
    [
      [1, 2],
      [3, 4],
    ],
    [2, 2],
  );
  fa.tensor([true, false], [2]);
  fa.tensor(new Float64Array(2), [2] as const, { dtype: 'bfloat16', device: 'cuda:1' });
  fa.tensor(new Uint16Array(2), [2], { dtype: 'float16' });
  fa.randn([2], { seed: 1n });
  const vectors: IntVector[] = [[1, 2], Int32Array.of(1), q];
  fa.flashAttention(q, q, q, { seqlensK: vectors[0], window: [1, Infinity], numSplits: 'auto' });
  const windowed = { window: [128, 0], seqlensK: 4 };
  fa.flashAttention(q, q, q, windowed);
  fa.flashAttentionPaged(q, q, q, { pageTable: [[0, 1]], seqlensK: Uint32Array.of(4) });
  fa.explain(q, q, q, { ...lengths, causal: true });
  fa.BlockMask.document([
    [0, 0],
    [1, 2],
  ]);
  fa.BlockMask.from([[true]], [64, 128]);
  fa.BlockMask.from([[[[true]]]], 64);

  // What is refused.
  // @ts-expect-error: not a tensor
  fa.flashAttention([1], q, q);
  // @ts-expect-error: an unknown option
  fa.flashAttention(q, q, q, { isCausal: true });
  // @ts-expect-error: a number as seed
  fa.flashAttention(q, q, q, { dropout: { p: 0.1, seed: 1 } });
  // @ts-expect-error: an unknown layout
  fa.flashAttention(q, q, q, { layout: 'sbhd' });
  // @ts-expect-error: a window of one bound and no array
  fa.flashAttention(q, q, q, { window: 128 });
  // @ts-expect-error: layout has no meaning here
  fa.flashAttentionVarlen(q, q, q, { ...lengths, layout: 'bshd' });
  // @ts-expect-error: lengths are required
  fa.flashAttentionVarlen(q, q, q, {});
  // @ts-expect-error: a page table is required
  fa.flashAttentionPaged(q, q, q, { seqlensK: [1] });
  // @ts-expect-error: an unknown dtype
  fa.zeros([1], { dtype: 'float64' });
  // @ts-expect-error: an unknown device
  fa.zeros([1], { device: 'gpu' });
  // @ts-expect-error: a seed is required
  fa.randn([1], {});
  // @ts-expect-error: gradients are not of float8
  fa.flashAttentionBackward(q, { q, k: q, v: q, out: q, lse: q }, { scales: { q, k: q, v: q } });
  // @ts-expect-error: a layout is required
  fa.dequantize({ values: q, scales: q });
  // @ts-expect-error: float8 is not what one dequantises to
  fa.dequantize(fa.quantize(q, 'float8_e4m3'), { dtype: 'float8_e4m3' });
  // @ts-expect-error: tensors do not change
  q.shape = [1];
  // @ts-expect-error: nor do their shapes
  q.shape[0] = 1;
  // @ts-expect-error: masks are made by the static functions
  new fa.BlockMask();
}

test('the module exports what the design lists, and nothing else', () => {
  expect(promises).toBeInstanceOf(Function);
  expect(Object.keys(fa).sort()).toEqual([
    'BlockMask',
    'FlashAttentionError',
    'Tensor',
    'chromeTrace',
    'concat',
    'defaultDevice',
    'dequantize',
    'devices',
    'dynamicConv',
    'empty',
    'explain',
    'flashAttention',
    'flashAttentionBackward',
    'flashAttentionKvPacked',
    'flashAttentionPaged',
    'flashAttentionQkvPacked',
    'flashAttentionVarlen',
    'flashAttentionVarlenBackward',
    'memory',
    'mergeAttentionStates',
    'quantize',
    'randn',
    'scaledDotProductAttention',
    'synchronize',
    'tensor',
    'timeOnDevice',
    'traceCpu',
    'version',
    'zeros',
  ]);
});
