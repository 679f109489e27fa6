// Index tensors are checked whatever way they came to the device.
import { flashAttention, flashAttentionVarlen, randn, tensor, zeros } from '../../lib/index.js';
import { device } from '../support/device.js';
import { errorOf, expectThrow } from '../support/expect-error.js';

const qkv = (tokens: number) =>
  [1, 2, 3].map((seed) => randn([tokens, 1, 32], { seed: BigInt(seed) }));
const dense = [1, 2, 3].map((seed) => randn([2, 5, 1, 32], { seed: BigInt(seed) }));
const int32 = (values: number[], where = device) =>
  tensor(Int32Array.from(values), [values.length], { device: where });

test('made there: at the call', async () => {
  const [q, k, v] = qkv(9);
  const bad = { cuSeqlensQ: int32([0, 5, 4]), cuSeqlensK: int32([0, 5, 9]) };
  expectThrow(() => flashAttentionVarlen(q, k, v, bad), 'ERR_SHAPE', 'options.cuSeqlensQ');
  const [a, b, c] = dense;
  expectThrow(
    () => flashAttention(a, b, c, { seqlensK: int32([3, 6]) }),
    'ERR_SHAPE',
    'options.seqlensK',
  );
});

test('computed or copied there: when the call is run', async () => {
  const [a, b, c] = dense;
  const copied = int32([3, 6], 'cpu').to(device);
  const run = () => flashAttention(a, b, c, { seqlensK: copied }).toFloat32();
  expect(await errorOf(run)).toMatchObject({ code: 'ERR_SHAPE' });
  const good = flashAttention(a, b, c, { seqlensK: int32([3, 5], 'cpu').to(device) });
  const same = flashAttention(a, b, c, { seqlensK: int32([3, 5]) });
  expect(await good.toFloat32()).toEqual(await same.toFloat32());
  const nothing = flashAttention(a, b, c, { seqlensK: zeros([2], { dtype: 'int32' }) });
  expect(new Set(await nothing.toFloat32())).toEqual(new Set([0]));
  // A call that failed harms no later one.
  expect(await flashAttention(a, b, c, { seqlensK: int32([3, 5]) }).toFloat32()).toEqual(
    await same.toFloat32(),
  );
});
