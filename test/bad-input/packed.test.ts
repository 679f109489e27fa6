import { flashAttentionKvPacked, flashAttentionQkvPacked, zeros } from '../../lib/index.js';
import { badCommon, badObjects, badSeqlens, gone, notTensors, q } from '../support/bad-options.js';
import { expectThrow, thrownBy, wrong } from '../support/expect-error.js';
import { heldMemory, settledMemory } from '../support/gc.js';

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
    expect(heldMemory()).toEqual(before);
  });
});
