import { explain, flashAttentionPaged, tensor, zeros } from '../../lib/index.js';
import {
  type BadOption,
  badCommon,
  badDense,
  badObjects,
  elsewhere,
  gone,
  q,
} from '../support/bad-options.js';
import { expectThrow, wrong } from '../support/expect-error.js';

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
    [{ ...pages, pageTable: [0, 1] }, 'ERR_TYPE', 'options.pageTable'],
    [{ ...pages, pageTable: [[0, 1], [2]] }, 'ERR_SHAPE', 'options.pageTable[1]'],
    [
      {
        ...pages,
        pageTable: [
          [0, 1.5],
          [2, 3],
        ],
      },
      'ERR_OPTION',
      'options.pageTable[0][1]',
    ],
    [
      {
        ...pages,
        pageTable: [
          [0, 1],
          [2, 4],
        ],
      },
      'ERR_SHAPE',
      'options.pageTable',
      /\[1\]\[1\].*4/,
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
