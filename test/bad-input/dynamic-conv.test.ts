import { dynamicConv, type ErrorCode, zeros } from '../../lib/index.js';
import { elsewhere, gone } from '../support/bad-options.js';
import { expectThrow, wrong } from '../support/expect-error.js';

describe('dynamicConv', () => {
  const x = zeros([2, 6, 4, 8]);
  const w = zeros([2, 6, 4, 3]);
  const state = zeros([2, 2, 4, 8]);
  const rows: [unknown, unknown, unknown, ErrorCode, string][] = [
    [undefined, w, undefined, 'ERR_TYPE', 'x'],
    [new Float32Array(8), w, undefined, 'ERR_TYPE', 'x'],
    [x, undefined, undefined, 'ERR_TYPE', 'weights'],
    [gone, w, undefined, 'ERR_DISPOSED', 'x'],
    [x, gone, undefined, 'ERR_DISPOSED', 'weights'],
    [x, elsewhere(w), undefined, 'ERR_DEVICE', 'weights'],
    [zeros([6, 4, 8]), w, undefined, 'ERR_SHAPE', 'x'],
    [zeros([2, 6, 4, 577]), w, undefined, 'ERR_SHAPE', 'x'],
    [zeros([2, 6, 4, 0]), w, undefined, 'ERR_SHAPE', 'x'],
    [zeros([2, 6, 0, 8]), zeros([2, 6, 0, 3]), undefined, 'ERR_SHAPE', 'x'],
    [zeros([2, 6, 4, 8], { dtype: 'int32' }), w, undefined, 'ERR_DTYPE', 'x'],
    [x, zeros([2, 6, 4, 3], { dtype: 'bool' }), undefined, 'ERR_DTYPE', 'weights'],
    [x, zeros([2, 5, 4, 3]), undefined, 'ERR_SHAPE', 'weights'],
    [x, zeros([2, 4, 6, 3]), undefined, 'ERR_SHAPE', 'weights'],
    [x, zeros([3, 3]), undefined, 'ERR_SHAPE', 'weights'],
    [x, zeros([4]), undefined, 'ERR_SHAPE', 'weights'],
    [x, zeros([4, 0]), undefined, 'ERR_SHAPE', 'weights'],
    [x, zeros([4, 1025]), undefined, 'ERR_SHAPE', 'weights'],
    [x, w, 5, 'ERR_TYPE', 'options'],
    [x, w, { kernel: 3 }, 'ERR_OPTION', 'options.kernel'],
    [x, w, { layout: 'sbhd' }, 'ERR_OPTION', 'options.layout'],
    [x, w, { layout: 1 }, 'ERR_TYPE', 'options.layout'],
    [x, w, { returnState: 1 }, 'ERR_TYPE', 'options.returnState'],
    [x, w, { state: [] }, 'ERR_TYPE', 'options.state'],
    [x, w, { state: x }, 'ERR_SHAPE', 'options.state'],
    [x, w, { state: state.to('float16') }, 'ERR_DTYPE', 'options.state'],
    [x, w, { state: elsewhere(state) }, 'ERR_DEVICE', 'options.state'],
    [x, w, { state: gone }, 'ERR_DISPOSED', 'options.state'],
    [x, w, { signal: 5 }, 'ERR_TYPE', 'options.signal'],
  ];
  test.each(rows.map((row, i) => ({ i, row })))('$i', ({ row }) => {
    const [a, b, options, code, argument] = row;
    const call = () => dynamicConv(wrong(a), wrong(b), wrong(options));
    expectThrow(call, code, argument);
  });

  test('says both shapes that weights may have', () => {
    expect(() => dynamicConv(x, zeros([3, 3]))).toThrow(
      'Expected weights to be of shape [2, 6, 4, kernelSize] or [heads, kernelSize] but received ' +
        '[3, 3].',
    );
  });
});
