import { explain, flashAttentionVarlen, tensor, zeros } from '../../lib/index.js';
import {
  type BadOption,
  badCommon,
  badObjects,
  elsewhere,
  gone,
  q,
} from '../support/bad-options.js';
import { expectThrow, thrownBy, wrong } from '../support/expect-error.js';
import { heldMemory, settledMemory } from '../support/gc.js';

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
    expect(heldMemory()).toEqual(before);
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
