import { scaledDotProductAttention, zeros } from '../../lib/index.js';
import { type BadOption, badObjects, elsewhere } from '../support/bad-options.js';
import { expectThrow, wrong } from '../support/expect-error.js';

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
