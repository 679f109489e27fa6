import {
  explain,
  flashAttention,
  flashAttentionPaged,
  flashAttentionVarlen,
  scaledDotProductAttention,
  tensor,
  zeros,
} from '../../lib/index.js';
import { elsewhere, gone, notTensors, q } from '../support/bad-options.js';
import { expectThrow, thrownBy, wrong } from '../support/expect-error.js';

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
