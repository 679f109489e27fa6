import { type ErrorCode, mergeAttentionStates, zeros } from '../../lib/index.js';
import { elsewhere, gone } from '../support/bad-options.js';
import { expectThrow, wrong } from '../support/expect-error.js';

describe('mergeAttentionStates', () => {
  const out = zeros([2, 6, 4, 8]);
  const lse = zeros([2, 4, 6]);
  const rows: [unknown, ErrorCode, string, unknown?][] = [
    [undefined, 'ERR_TYPE', 'states'],
    [{ out, lse }, 'ERR_TYPE', 'states'],
    [[], 'ERR_SHAPE', 'states'],
    [[undefined], 'ERR_TYPE', 'states[0].out'],
    [[out], 'ERR_TYPE', 'states[0].out'],
    [[{ out }], 'ERR_TYPE', 'states[0].lse'],
    [[{ out, lse }, null], 'ERR_TYPE', 'states[1].out'],
    [[{ out: new Float32Array(8), lse }], 'ERR_TYPE', 'states[0].out'],
    [[{ out: lse, lse }], 'ERR_SHAPE', 'states[0].out'],
    [[{ out: zeros([2, 6, 4, 8], { dtype: 'int32' }), lse }], 'ERR_DTYPE', 'states[0].out'],
    [[{ out, lse: zeros([2, 6, 4]) }], 'ERR_SHAPE', 'states[0].lse'],
    [[{ out, lse: lse.to('float16') }], 'ERR_DTYPE', 'states[0].lse'],
    [
      [
        { out, lse },
        { out: zeros([2, 6, 4, 4]), lse },
      ],
      'ERR_SHAPE',
      'states[1].out',
    ],
    [
      [
        { out, lse },
        { out: out.to('bfloat16'), lse },
      ],
      'ERR_DTYPE',
      'states[1].out',
    ],
    [
      [
        { out, lse },
        { out, lse: zeros([2, 4, 5]) },
      ],
      'ERR_SHAPE',
      'states[1].lse',
    ],
    [
      [
        { out, lse },
        { out: gone, lse },
      ],
      'ERR_DISPOSED',
      'states[1].out',
    ],
    [
      [
        { out, lse },
        { out: elsewhere(out), lse },
      ],
      'ERR_DEVICE',
      'states[1].out',
    ],
    [[{ out, lse: elsewhere(lse) }], 'ERR_DEVICE', 'states[0].lse'],
    [[{ out, lse }], 'ERR_OPTION', 'options.layout', { layout: 'x' }],
    [[{ out, lse }], 'ERR_SHAPE', 'states[0].lse', { layout: 'bhsd' }],
    [[{ out, lse }], 'ERR_OPTION', 'options.causal', { causal: true }],
    [[{ out, lse }], 'ERR_TYPE', 'options', 'bshd'],
  ];
  test.each(rows.map((row, i) => ({ i, row })))('$i', ({ row }) => {
    const [states, code, argument, options] = row;
    expectThrow(() => mergeAttentionStates(wrong(states), wrong(options)), code, argument);
  });
});
