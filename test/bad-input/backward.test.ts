import {
  type AttentionGradients,
  type AttentionOptions,
  type ForwardState,
  flashAttention,
  flashAttentionBackward,
  flashAttentionVarlen,
  flashAttentionVarlenBackward,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/index.js';
import {
  badCommon,
  badDense,
  badObjects,
  badSeqlens,
  elsewhere,
  gone,
  k,
  notTensors,
  q,
  v,
} from '../support/bad-options.js';
import { expectThrow, thrownBy, wrong } from '../support/expect-error.js';
import { heldMemory, settledMemory } from '../support/gc.js';

interface Call {
  readonly dOut: Tensor;
  readonly state: ForwardState;
  readonly options: object;
  run(dOut: unknown, state: unknown, options: unknown): AttentionGradients;
}

function denseCall(): Call {
  const state = { q, k, v, ...flashAttention(q, k, v, { returnLse: true }) };
  return {
    dOut: zeros([2, 6, 4, 3]),
    state,
    options: {},
    run: (...args) => flashAttentionBackward(...(args as [Tensor, ForwardState, object])),
  };
}

const lengths = { cuSeqlensQ: [0, 2, 6], cuSeqlensK: [0, 5, 5] };

function varlenCall(): Call {
  const [vq, vk, vv] = [zeros([6, 4, 8]), zeros([5, 2, 8]), zeros([5, 2, 3])];
  const results = flashAttentionVarlen(vq, vk, vv, { ...lengths, returnLse: true });
  return {
    dOut: zeros([6, 4, 3]),
    state: { q: vq, k: vk, v: vv, ...results },
    options: lengths,
    run: (...args) =>
      flashAttentionVarlenBackward(...(args as [Tensor, ForwardState, typeof lengths])),
  };
}

describe.each([
  ['flashAttentionBackward', denseCall()],
  ['flashAttentionVarlenBackward', varlenCall()],
])('%s', (_name, { dOut, state, options, run }) => {
  /** The call with one of its tensors replaced, and what errors call that tensor. */
  const replacing: [string, Tensor, (bad: unknown) => () => unknown][] = [
    ['dOut', dOut, (bad) => () => run(bad, state, options)],
    ...(['q', 'k', 'v', 'out', 'lse'] as const).map(
      (field): [string, Tensor, (bad: unknown) => () => unknown] => [
        `state.${field}`,
        state[field],
        (bad) => () => run(dOut, { ...state, [field]: bad }, options),
      ],
    ),
  ];

  test('is a valid call', async () => {
    const { dq, dk, dv } = run(dOut, state, options);
    expect([dq.shape, dk.shape, dv.shape]).toEqual([state.q.shape, state.k.shape, state.v.shape]);
    await expect(dq.data()).resolves.toBeDefined();
  });

  test.each(replacing)('%s: not a tensor, disposed, elsewhere', (argument, good, withBad) => {
    for (const [, bad] of notTensors) expectThrow(withBad(bad), 'ERR_TYPE', argument);
    expectThrow(withBad(gone), 'ERR_DISPOSED', argument);
    if (argument !== 'state.q') expectThrow(withBad(elsewhere(good)), 'ERR_DEVICE', argument);
  });

  test.each(replacing)('%s: wrong dtype', (argument, good, withBad) => {
    const other = argument === 'state.q' ? 'state.k' : argument;
    for (const dtype of ['bfloat16', 'float16'] as const) {
      expectThrow(withBad(good.to(dtype)), 'ERR_DTYPE', other);
    }
    const integers = tensor(new Int32Array(good.size), good.shape);
    expectThrow(withBad(integers), 'ERR_DTYPE', argument);
    expectThrow(withBad(zeros(good.shape, { dtype: 'bool' })), 'ERR_DTYPE', argument);
  });

  test.each(replacing)('%s: wrong rank', (argument, good, withBad) => {
    expectThrow(withBad(good.reshape([-1])), 'ERR_SHAPE', argument);
    expectThrow(withBad(good.reshape([1, ...good.shape])), 'ERR_SHAPE', argument);
  });

  test.each(replacing.filter(([argument]) => /dOut|out|lse/.test(argument)))(
    '%s: any axis longer or shorter',
    (argument, good, withBad) => {
      good.shape.forEach((_, axis) => {
        for (const by of [-1, 1]) {
          const shape = good.shape.map((n, at) => (at === axis ? n + by : n));
          expectThrow(withBad(zeros(shape)), 'ERR_SHAPE', argument);
        }
      });
    },
  );

  test('shapes of q, k and v', () => {
    const longer = (t: Tensor, axis: number) =>
      zeros(t.shape.map((n, at) => (at === t.shape.length + axis ? n + 1 : n)));
    for (const [field, argument] of [
      ['q', 'state.k'], // q tells the head dim, and k is wrong about it
      ['k', 'state.k'],
    ] as const) {
      const bad = { ...state, [field]: longer(state[field], -1) };
      expectThrow(() => run(dOut, bad, options), 'ERR_SHAPE', argument, /head|9|8/);
    }
    const heads = { ...state, q: longer(state.q, -2) };
    expectThrow(() => run(dOut, heads, options), 'ERR_SHAPE', 'state.q', /multiple/);
    const keys = { ...state, v: longer(state.v, -3) };
    expectThrow(() => run(dOut, keys, options), 'ERR_SHAPE', 'state.v');
    const values = { ...state, v: longer(state.v, -1) };
    expectThrow(() => run(dOut, values, options), 'ERR_SHAPE', 'dOut');
  });

  test('state', () => {
    for (const bad of [undefined, null, 1, 'state']) {
      expectThrow(() => run(dOut, bad, options), 'ERR_TYPE', 'state');
    }
    expectThrow(() => run(dOut, {}, options), 'ERR_TYPE', 'state.q');
    expectThrow(() => run(dOut, [], options), 'ERR_TYPE', 'state.q');
    // A forward call without returnLse gives no lse.
    expectThrow(() => run(dOut, { ...state, lse: undefined }, options), 'ERR_TYPE', 'state.lse');
  });

  test.each(badCommon.map((row, i) => ({ i, name: row[2], row })))(
    'options, $i: $name',
    ({ row }) => {
      const [bad, code, argument, message] = row;
      const given = { ...options, ...(bad as object) };
      expectThrow(() => run(dOut, state, given), code, argument, message);
    },
  );

  test.each(badObjects)('options %p', (bad, code, argument) => {
    expectThrow(() => run(dOut, state, bad), code, argument);
  });

  test('errors free what they made', async () => {
    const before = await settledMemory();
    for (const bad of [{ numSplits: 'x' }, { softcap: -1 }, { deterministic: 1 }]) {
      thrownBy(() => run(dOut, state, { ...options, ...bad }));
    }
    thrownBy(() => run(state.q, state, options));
    thrownBy(() => run(dOut, { ...state, lse: dOut }, options));
    expect(heldMemory()).toEqual(before);
  });
});

describe('flashAttentionBackward', () => {
  const { dOut, state, run } = denseCall();

  test.each([...badDense, ...badSeqlens].map((row, i) => ({ i, name: row[2], row })))(
    'options, $i: $name',
    ({ row }) => {
      const [bad, code, argument, message] = row;
      expectThrow(() => run(dOut, state, bad), code, argument, message);
    },
  );

  test('options of other functions', () => {
    const given = { ...lengths } as AttentionOptions;
    expectThrow(() => run(dOut, state, given), 'ERR_OPTION', 'options.cuSeqlensQ');
    const paged = wrong({ pageTable: zeros([2, 1], { dtype: 'int32' }) });
    expectThrow(() => run(dOut, state, paged), 'ERR_OPTION', 'options.pageTable');
  });

  test('another layout than that of the forward call', () => {
    expectThrow(() => run(dOut, state, { layout: 'bhsd' }), 'ERR_SHAPE', 'state.q');
  });
});

describe('flashAttentionVarlenBackward', () => {
  const { dOut, state, run } = varlenCall();

  test('lengths', () => {
    expectThrow(() => run(dOut, state, undefined), 'ERR_TYPE', 'options');
    expectThrow(() => run(dOut, state, {}), 'ERR_TYPE', 'options.cuSeqlensQ');
    for (const [bad, code, argument] of [
      [{ cuSeqlensK: undefined }, 'ERR_TYPE', 'options.cuSeqlensK'],
      [{ cuSeqlensQ: [0, 2, 7] }, 'ERR_SHAPE', 'options.cuSeqlensQ'],
      [{ cuSeqlensQ: [0, 4, 2] }, 'ERR_SHAPE', 'options.cuSeqlensQ'],
      [{ cuSeqlensK: [0, 5] }, 'ERR_SHAPE', 'options.cuSeqlensK'],
      [{ maxSeqlenQ: 3 }, 'ERR_OPTION', 'options.maxSeqlenQ'],
      [{ layout: 'bshd' }, 'ERR_OPTION', 'options.layout'],
      [{ mask: q }, 'ERR_OPTION', 'options.mask'],
    ] as const) {
      expectThrow(() => run(dOut, state, { ...lengths, ...bad }), code, argument);
    }
  });
});
