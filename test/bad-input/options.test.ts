import { inspect } from 'node:util';
import { type AttentionOptions, explain, flashAttention, type Tensor } from '../../lib/index.js';
import { badCommon, badDense, badObjects, badSeqlens, k, q, v } from '../support/bad-options.js';
import { expectThrow, thrownBy, wrong } from '../support/expect-error.js';
import { heldMemory, settledMemory } from '../support/gc.js';

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
    expect(heldMemory()).toEqual(before);
  });
});
