// What callers may write for lengths and pages, and how errors call what they wrote.
import {
  type AttentionOptions,
  explain,
  flashAttention,
  flashAttentionBackward,
  flashAttentionPaged,
  flashAttentionQkvPacked,
  flashAttentionVarlen,
  mergeAttentionStates,
  randn,
  scaledDotProductAttention,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/index.js';
import { thrownBy } from '../support/expect-error.js';

const [q, k, v] = [3, 5, 5].map((seqlen, i) => randn([1, seqlen, 2, 16], { seed: BigInt(i) }));
const int32 = (values: number[], shape = [values.length]) => tensor(Int32Array.from(values), shape);
const bits = async (out: Tensor) => [...(await out.toFloat32())];

test('lengths: a tensor, typed arrays, numbers, and one number for a batch of one', async () => {
  const expected = await bits(flashAttention(q, k, v, { seqlensK: int32([4]) }) as Tensor);
  for (const seqlensK of [[4], Int32Array.of(4), Uint32Array.of(4), 4]) {
    expect(await bits(flashAttention(q, k, v, { seqlensK }))).toEqual(expected);
  }
  const offsets = { cuSeqlensQ: Uint32Array.of(0, 3), cuSeqlensK: Uint32Array.of(0, 5) };
  const flat = [q, k, v].map((t) => t.reshape([-1, 2, 16])) as [Tensor, Tensor, Tensor];
  expect(await bits(flashAttentionVarlen(...flat, offsets))).toEqual(
    await bits(flashAttention(q, k, v)),
  );
});

test('pages: a tensor or rows of numbers', async () => {
  const [kPages, vPages] = [k, v].map((t) => t.slice(null, [0, 4]).reshape([2, 2, 2, 16]));
  const expected = await bits(
    flashAttentionPaged(q, kPages, vPages, { pageTable: int32([1, 0], [1, 2]), seqlensK: [3] }),
  );
  for (const pageTable of [[[1, 0]], [Int32Array.of(1, 0)], [Uint32Array.of(1, 0)]]) {
    const out = flashAttentionPaged(q, kPages, vPages, { pageTable, seqlensK: 3 });
    expect(await bits(out)).toEqual(expected);
  }
  // Entries past the keys are never looked at.
  const pageTable = [[1, -7]];
  await bits(flashAttentionPaged(q, kPages, vPages, { pageTable, seqlensK: 2 }));
});

test('dropout just below 1 is legal, 1 is not, and the message says what came', async () => {
  const dropout = { p: 0.9999999999, seed: 1n };
  expect(await bits(flashAttention(q, k, v, { dropout }))).toHaveLength(3 * 2 * 16);
  const p = 1.0000000001;
  const error = thrownBy(() => flashAttention(q, k, v, { dropout: { p, seed: 1n } }));
  expect(error.message).toBe(
    'Expected options.dropout.p to be at least 0 and below 1 but received 1.0000000001.',
  );
});

describe('errors name arguments as the caller wrote them', () => {
  const pages = zeros([4, 2, 2, 16]);
  const table = int32([0, 1], [1, 2]);
  const state = { ...flashAttention(q, k, v, { returnLse: true }), q, k, v };
  const dense = (options: AttentionOptions) => () => flashAttention(q, k, v, options);

  test.each<[string, () => unknown, string]>([
    [
      'a length',
      dense({ seqlensK: [6] }),
      'Expected options.seqlensK[0] to be 0 to 5 but received 6.',
    ],
    [
      'a negative one',
      dense({ seqlensK: [-1] }),
      'Expected options.seqlensK[0] to be an integer from 0 to 2147483647 but received -1.',
    ],
    [
      'their number',
      dense({ seqlensK: [1, 2] }),
      'Expected options.seqlensK to be of shape [1], [batch], but received [2].',
    ],
    [
      'a bound of the window',
      dense({ window: [0, 1.5] }),
      'Expected options.window[1] to be an integer or Infinity but received 1.5.',
    ],
    [
      'a mask',
      dense({ mask: zeros([2, 5]) }),
      'Expected options.mask to be broadcastable to [1, 2, 3, 5], [batch, heads, seqlenQ, ' +
        'seqlenK], but received [2, 5].',
    ],
    [
      'k in bhsd, with the axes of bhsd',
      () => flashAttention(zeros([1, 2, 3, 16]), zeros([2, 2, 5, 16]), v, { layout: 'bhsd' }),
      'Expected k to be of shape [1, kvHeads, seqlenK, 16] but received [2, 2, 5, 16].',
    ],
    [
      'vPages',
      () => flashAttentionPaged(q, pages, zeros([3, 2, 2, 16]), { pageTable: table, seqlensK: 1 }),
      'Expected vPages to be of shape [4, 2, 2, headDimV] but received [3, 2, 2, 16].',
    ],
    [
      'heads of kPages',
      () =>
        flashAttentionPaged(q, zeros([4, 2, 3, 16]), zeros([4, 2, 3, 16]), {
          pageTable: table,
          seqlensK: 1,
        }),
      'Expected q to be a tensor whose heads are a multiple of the 3 heads of kPages but ' +
        'received 2 heads.',
    ],
    [
      'a page',
      () => flashAttentionPaged(q, pages, pages, { pageTable: [[0, 9]], seqlensK: 4 }),
      'Expected options.pageTable[0][1] to be a page, 0 to 3, but received 9.',
    ],
    [
      'state.v, by the dtype of state.q',
      () => flashAttentionBackward(state.out, { ...state, v: v.to('float16') }),
      'Expected state.v to be float32, the dtype of state.q, but received float16.',
    ],
    [
      'state.lse',
      () => flashAttentionBackward(state.out, { ...state, lse: zeros([1, 2, 4]) }),
      'Expected state.lse to be of shape [1, 2, 3], [batch, heads, seqlenQ], but received ' +
        '[1, 2, 4].',
    ],
    [
      'query and key',
      () => scaledDotProductAttention(q, q.to('float16'), q),
      'Expected key to be float32, the dtype of query, but received float16.',
    ],
    [
      'attnMask',
      () => scaledDotProductAttention(q, q, q, { attnMask: zeros([7, 2]) }),
      'Expected options.attnMask to be broadcastable to [1, 3, 2, 2], [batch, heads, seqlenQ, ' +
        'seqlenK], but received [7, 2].',
    ],
    [
      'qkv',
      () => flashAttentionQkvPacked(zeros([1, 2, 3, 2, 577])),
      'Expected qkv to be a tensor with a head dim from 1 to 576 but received [1, 2, 2, 577].',
    ],
    [
      'a state',
      () => mergeAttentionStates([state, { out: state.out, lse: zeros([1, 2, 4]) }]),
      'Expected states[1].lse to be of shape [1, 2, 3], [batch, heads, seqlenQ], but received ' +
        '[1, 2, 4].',
    ],
    [
      'lengths of packed sequences',
      () =>
        flashAttentionVarlen(zeros([3, 2, 16]), zeros([5, 2, 16]), zeros([5, 2, 16]), {
          cuSeqlensQ: [0, 3],
          cuSeqlensK: [0, 6],
        }),
      'Expected options.cuSeqlensK[1] to be at most the 5 packed tokens but received 6.',
    ],
  ])('%s', (_, run, message) => {
    expect(thrownBy(run).message).toBe(message);
  });

  test('explain says the same', () => {
    const options = { pageTable: [[0, 9]], seqlensK: 4 };
    expect(thrownBy(() => explain(q, pages, pages, options)).message).toBe(
      'Expected options.pageTable[0][1] to be a page, 0 to 3, but received 9.',
    );
  });

  test('out of memory names what did not fit', () => {
    const wide = zeros([1, 1, 1, 16]).expand([2 ** 20, 2 ** 20, 4, 16]);
    const error = thrownBy(() => flashAttention(wide, wide, wide));
    expect(error.code).toBe('ERR_OUT_OF_MEMORY');
    expect(error.message).toMatch(
      /^No room for out, float32 of shape \[1048576, 1048576, 4, 16\]: .*bytes/,
    );
  });
});
