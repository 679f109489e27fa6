// Decode steps that are replayed beside the same steps computed call by call: the bits are equal,
// whatever the lengths, whoever is in the batch.
import { memory, randn, synchronize, type Tensor, tensor } from '../../lib/index.js';
import { KvCache, type Step } from '../../lib/serving/index.js';
import { native } from '../../lib/native/addon.js';
import { dtypeNumber } from '../../lib/tensor/dtype.js';
import { device, onCpu, onSimtHopper, sized, testIf } from '../support/device.js';
import { errorOf, expectThrow, thrownBy, wrong } from '../support/expect-error.js';
import { settledMemory } from '../support/gc.js';
import {
  headDim,
  kvHeads,
  Pair,
  pageSize,
  type Rows,
  type Setting,
  type Twins,
} from '../support/replayed-pair.js';

const staticScales = { k: [0.02, 0.03, 0.025, 0.01], v: [0.03, 0.02, 0.04, 0.015] };

const auto: Setting = { options: { numSplits: undefined } };

const settings: [string, Setting][] = [
  ['bfloat16, rotated, in two splits', {}],
  ['one split', { options: { numSplits: 1 } }],
  ['splits of our choice', auto],
  ['more splits than tiles', { options: { numSplits: 7 } }],
  ['float16, not rotated', { dtype: 'float16', rotary: false }],
  ['float32', { dtype: 'float32' }],
  ['float32 as numbers', { dtype: 'float32', numbers: true }],
  ['float32 as numbers, layer by layer', { dtype: 'float32', numbers: true, oneByOne: true }],
  ['layer by layer', { oneByOne: true, layers: 3 }],
  ['as many heads as kv heads', { heads: 2 }],
  ['8 heads per kv head', { heads: 16 }],
  ['20 heads per kv head, which takes another kernel', { heads: 40 }],
  ['an int8 cache', { cacheDType: 'int8' }],
  ['an int8 cache with static scales', { cacheDType: 'int8', scales: staticScales }],
  ['a float8 cache under float32', { cacheDType: 'float8_e4m3', dtype: 'float32' }],
  [
    'float16 over bfloat16, which is computed in float32',
    { dtype: 'float16', cacheDType: 'bfloat16' },
  ],
  ['a window', { options: { window: [11, 0], numSplits: 3 } }],
  [
    'a window with sink tokens, softcap',
    { options: { window: [9, 0], sinkTokens: 3, softcap: 5 } },
  ],
  ['sinks', { options: { sinks: tensor([0, 1, -1, 2], [4]) } }],
  ['lse', { returnLse: true }],
  ['lse, splits of our choice, layer by layer', { ...auto, returnLse: true, oneByOne: true }],
  ['lse of float32 as numbers', { dtype: 'float32', numbers: true, returnLse: true }],
  ['lse of latents', { latents: true, heads: 5, returnLse: true }],
  ['latents, in two splits', { latents: true, heads: 5 }],
  ['latents, splits of our choice', { ...auto, latents: true }],
  ['latents of 20 heads, a tile of many rows', { latents: true, heads: 20, dtype: 'float16' }],
  ['latents of 70 heads, two tiles', { latents: true, heads: 70, options: { numSplits: 3 } }],
];

test.each(settings)('%s: growing lengths, over page borders', async (_name, setting) => {
  const pair = new Pair(setting);
  const [a, b, c] = [pair.create(), pair.create(), pair.create()];
  await pair.feed(a, 5);
  await pair.feed(b, sized(47, 37));
  await pair.feed(c, 14);
  for (let i = 0; i < sized(12, 4); i++) await pair.decode(a, b, c);
  pair.end();
});

const overFloat8: Setting = { cacheDType: 'float8_e4m3', options: { tokens: 5 } };
const windowed: Setting = { numbers: true, options: { tokens: 5, window: [9, 0] } };
/** Of sequences in turn; the third is a path. */
const trees = [[-1, 0, 0, 1, 2], [-1, -1, 1, 0, 3], undefined];

const drafts: [string, Setting][] = [
  ['3 tokens', { options: { tokens: 3 } }],
  ['3 tokens in splits of our choice', { options: { tokens: 3, numSplits: undefined } }],
  ['8 tokens of 2 heads per kv head, as many rows as a tile', { options: { tokens: 8 } }],
  ['9 tokens of 2 heads per kv head, another kernel', { options: { tokens: 9, numSplits: 3 } }],
  ['9 tokens in splits of our choice', { options: { tokens: 9, numSplits: undefined } }],
  ['4 tokens with lse', { options: { tokens: 4 }, returnLse: true }],
  [
    '2 tokens of float32 as numbers, layer by layer',
    { dtype: 'float32', numbers: true, oneByOne: true, options: { tokens: 2 } },
  ],
  ['4 tokens over int8', { cacheDType: 'int8', options: { tokens: 4 } }],
  ['a window over 4 tokens', { options: { tokens: 4, window: [6, 0], numSplits: 3 } }],
  ['3 tokens of latents', { latents: true, heads: 5, options: { tokens: 3 } }],
  [
    '3 tokens of latents with 40 heads, two tiles',
    { latents: true, heads: 40, options: { tokens: 3, numSplits: undefined }, returnLse: true },
  ],
  ['trees', { trees, options: { tokens: 5 } }],
  ['trees in splits of our choice', { trees, options: { tokens: 5, numSplits: undefined } }],
  ['trees with lse, over float8', { trees, returnLse: true, ...overFloat8 }],
  ['trees with a window, of float32 as numbers', { trees, dtype: 'float32', ...windowed }],
  ['a tree of one token', { trees: [[-1]], options: { tokens: 1 } }],
];

// On the CPU a replay is the calls themselves.
test.each(drafts)('%s of each sequence, some of which are accepted', async (_name, setting) => {
  const pair = new Pair(setting);
  const [a, b, c] = [pair.create(), pair.create(), pair.create()];
  await pair.feed(a, 5);
  await pair.feed(b, 37);
  for (let i = 0; i < sized(3, 2); i++) await pair.decode(a, b, c);
  await pair.decode(b);
  await pair.decode(c, a);
  expect(c[0].length).toBe(c[1].length);
  pair.end();
});

test('a tree of two words', async () => {
  const tokens = 34;
  const tree = Array.from({ length: tokens }, (_, i) => (i % 3 === 2 ? i - 2 : i - 1));
  const pair = new Pair({ heads: 2, layers: 1, trees: [tree], options: { tokens } }, 2);
  const [a, b] = [pair.create(), pair.create()];
  await pair.feed(b, 9);
  await pair.decode(a, b);
  pair.end();
});

test('members of the batch come and go', async () => {
  const pair = new Pair({}, 4);
  const [a, b, c] = [pair.create(), pair.create(), pair.create()];
  await pair.feed(a, 30);
  await pair.feed(b, 7);
  await pair.decode(a, b);
  await pair.decode(b);
  await pair.feed(c, 16);
  await pair.decode(c, a, b);
  for (const sequence of b) sequence.dispose();
  await pair.decode(a, c);
  const d = pair.create(); // of nothing but its first token
  await pair.decode(a, d, c);
  await pair.decode(d);
  pair.end();
});

test('the last page of forks is copied before a replay writes to it', async () => {
  const pair = new Pair({ cacheDType: 'int8' }, 4);
  const a = pair.create();
  await pair.feed(a, 13);
  await pair.decode(a);
  const b = a.map((sequence) => sequence.fork()) as Twins;
  await pair.decode(b);
  await pair.decode(a, b);
  const c = a.map((sequence) => sequence.fork()) as Twins;
  await pair.decode(c, a, b);
  pair.end();
});

test('steps that are disposed, prompts and steps of the usual kind come between replays', async () => {
  const pair = new Pair({});
  const a = pair.create();
  await pair.feed(a, 9);
  await pair.decode(a);
  const step = pair.caches[0].step([{ sequence: a[0], tokens: 1 }]);
  const [q, k, v] = pair.rows(1)[0];
  pair.graph.replay(step, [{ q, k, v }]);
  step.dispose();
  await pair.feed(a, 6);
  await pair.decode(a);
  pair.end();
});

test('results are good until the next replay of their layer, and reads asked for before it', async () => {
  const pair = new Pair({ dtype: 'float32', rotary: false });
  const a = pair.create();
  await pair.feed(a, 3);
  const replay = (rows: readonly Rows[]) => {
    const step = pair.caches[0].step([{ sequence: a[0], tokens: 1 }]);
    const outs = pair.graph.replay(
      step,
      rows.map(([q, k, v]) => ({ q, k, v })),
    );
    step.commit();
    return outs.map((result) => ('lse' in result ? result.out : result));
  };
  const [first] = replay(pair.rows(1));
  const view = first.slice(null, [0, 2]);
  const before = first.toFloat32();
  const seen = view.toFloat32();
  const [second] = replay(pair.rows(1));
  expect(first.disposed).toBe(true);
  expect(second.disposed).toBe(false);
  const values = await before;
  expect(values).not.toEqual(await second.toFloat32());
  expect(await seen).toEqual(values.subarray(0, 2 * headDim));
  if (!onCpu) expect((await errorOf(() => view.toFloat32())).code).toBe('ERR_STATE');
  pair.graph.dispose();
  expect(second.disposed).toBe(true);
  pair.end();
});

test('a graph gives its memory back at once', async () => {
  const pair = new Pair({ rotary: false });
  const own = { batch: 3, heads: 4, dtype: 'bfloat16' } as const;
  const { tensors, bytes } = await settledMemory();
  for (let i = 0; i < 3; i++) pair.caches[0].captureDecode(own).dispose();
  expect(memory()).toMatchObject({ tensors, bytes });
  pair.end();
});

describe('what is refused', () => {
  const pair = new Pair({ rotary: false }, 2);
  const [cache] = pair.caches;
  const { graph } = pair;
  const sequence = cache.createSequence();
  afterAll(() => pair.end());

  test('options', () => {
    const capture = (options: object) => () => cache.captureDecode(wrong(options));
    expectThrow(() => cache.captureDecode(wrong(undefined)), 'ERR_TYPE', 'options');
    expectThrow(capture({ heads: 4 }), 'ERR_TYPE', 'options.batch');
    expectThrow(capture({ batch: 0, heads: 4 }), 'ERR_OPTION', 'options.batch');
    expectThrow(capture({ batch: 1, heads: 1.5 }), 'ERR_OPTION', 'options.heads');
    const own = { batch: 1, heads: 4 };
    expectThrow(capture({ ...own, dtype: 'int8' }), 'ERR_DTYPE', 'options.dtype');
    expectThrow(capture({ ...own, maxSeqlen: 1e6 }), 'ERR_OPTION', 'options.maxSeqlen');
    expectThrow(capture({ ...own, returnLse: 1 }), 'ERR_TYPE', 'options.returnLse');
    expectThrow(capture({ ...own, tokens: 0 }), 'ERR_OPTION', 'options.tokens');
    expectThrow(capture({ ...own, tokens: 65, maxSeqlen: 64 }), 'ERR_OPTION', 'options.tokens');
    expectThrow(capture({ ...own, batch: 2 ** 20, tokens: 2 }), 'ERR_OPTION', 'options.tokens');
    expectThrow(capture({ ...own, tree: 'yes' }), 'ERR_TYPE', 'options.tree');
    expectThrow(capture({ ...own, sync: true }), 'ERR_OPTION', 'options.sync');
    expectThrow(capture({ ...own, rotary: { positions: [0] } }), 'ERR_OPTION', 'options.rotary');
    if (onCpu) return;
    expectThrow(capture({ ...own, numSplits: 257 }), 'ERR_OPTION', 'options.numSplits');
    const short = tensor(new Float32Array(4), [2, 2]);
    const rotary = { cos: short, sin: short };
    expectThrow(capture({ ...own, maxSeqlen: 64, rotary }), 'ERR_SHAPE', 'options.rotary.cos');
  });

  test('steps', () => {
    const [{ q, k, v }] = [pair.rows(1)[0]].map(([q, k, v]) => ({ q, k, v }));
    const refused = (of: Step, code: string, message: RegExp) => {
      const error = thrownBy(() => graph.replay(of, [{ q, k, v }]));
      expect([error.code, error.argument]).toEqual([code, 'step']);
      expect(error.message).toMatch(message);
      of.dispose();
    };
    expectThrow(() => graph.replay(wrong({}), [{ q, k, v }]), 'ERR_TYPE', 'step');
    const foreign = pair.caches[1].step([{ sequence: pair.caches[1].createSequence(), tokens: 1 }]);
    refused(foreign, 'ERR_OPTION', /of another/);
    refused(cache.step([{ sequence, tokens: 3 }]), 'ERR_SHAPE', /3 of entries\[0\]/);
    const tree = cache.step([{ sequence, tokens: [7], tree: [-1] }]);
    refused(tree, 'ERR_SHAPE', /no tree, like the graph.*received one/s);
    const drafts = cache.captureDecode({ batch: 2, heads: 4, dtype: 'bfloat16', tokens: 2 });
    const one = cache.step([{ sequence, tokens: 1 }]);
    expectThrow(() => drafts.replay(one, wrong([{ q, k, v }])), 'ERR_SHAPE', 'step');
    one.dispose();
    drafts.dispose();
    const options = { batch: 2, heads: 4, dtype: 'bfloat16', tokens: 2, tree: true } as const;
    const ofTrees = cache.captureDecode(options);
    const path = cache.step([{ sequence, tokens: 2 }]);
    const expected = /a tree, like the graph.*received none/s;
    expectThrow(() => ofTrees.replay(path, wrong([{ q, k, v }])), 'ERR_SHAPE', 'step', expected);
    path.dispose();
    ofTrees.dispose();
    const many = [0, 1, 2].map(() => ({ sequence: cache.createSequence(), tokens: 1 }));
    refused(cache.step(many), 'ERR_SHAPE', /at most 2 sequences.*received 3/s);
    const ended = cache.step([{ sequence, tokens: 1 }]);
    ended.dispose();
    refused(ended, 'ERR_STATE', /an open Step/);
  });

  test('a sequence that is too long', async () => {
    const long = cache.createSequence();
    await pair.feed([long, pair.caches[1].createSequence()], 64);
    const step = cache.step([{ sequence: long, tokens: 1 }]);
    const [q, k, v] = pair.rows(1)[0];
    const error = thrownBy(() => graph.replay(step, [{ q, k, v }]));
    expect([error.code, error.argument]).toEqual(['ERR_SHAPE', 'step']);
    expect(error.message).toMatch(/at most 64 tokens.*received 65/s);
    step.dispose();
    long.dispose();
  });

  test('rows and layers', () => {
    const step = cache.step([{ sequence, tokens: 1 }]);
    const [[q, k, v]] = pair.rows(1);
    const replay = (rows: unknown, options?: unknown) => () =>
      graph.replay(step, wrong(rows), wrong(options));
    expectThrow(replay(undefined), 'ERR_TYPE', 'rows');
    expectThrow(replay([]), 'ERR_OPTION', 'rows.length');
    expectThrow(
      replay([
        { q, k, v },
        { q, k, v },
        { q, k, v },
      ]),
      'ERR_OPTION',
      'rows.length',
    );
    expectThrow(replay([undefined]), 'ERR_TYPE', 'rows[0]');
    expectThrow(replay([{ q, k, v, w: 1 }]), 'ERR_OPTION', 'rows[0].w');
    expectThrow(replay([{ q, k, v }], { firstLayer: 2 }), 'ERR_OPTION', 'options.firstLayer');
    expectThrow(replay([{ q, k, v }], { sync: true }), 'ERR_OPTION', 'options.sync');
    const float = randn([1, 4, headDim], { seed: 1n });
    expectThrow(replay([{ q: float, k, v }]), 'ERR_DTYPE', 'rows[0].q');
    expectThrow(replay([{ q, k, v: new Float32Array(128) }]), 'ERR_DTYPE', 'rows[0].v');
    expectThrow(replay([{ q: k, k, v }]), 'ERR_SHAPE', 'rows[0].q');
    expect(thrownBy(replay([{ q, k: q, v }])).code).toBe('ERR_SHAPE');
    const [[two]] = pair.rows(2);
    expect(thrownBy(replay([{ q: two, k, v }])).code).toBe('ERR_SHAPE');
    expect(thrownBy(replay([{ q, k: 7, v }])).code).toBe('ERR_TYPE');
    // Nothing has happened so far.
    const outs = graph.replay(step, [{ q, k, v }]);
    expect(outs).toHaveLength(1);
    expectThrow(replay([{ q, k, v }]), 'ERR_STATE', 'layer');
    expectThrow(() => step.attention(0, q, k, v), 'ERR_STATE', 'layer');
    step.attention(1, q, k, v);
    step.commit();
  });

  test('a graph or a cache that was disposed', () => {
    const own = new KvCache({ layers: 1, numPages: 4, kvHeads, headDim, dtype: 'bfloat16' });
    const first = own.captureDecode({ batch: 1, heads: 4, dtype: 'bfloat16' });
    const second = own.captureDecode({ batch: 1, heads: 4, dtype: 'bfloat16' });
    const step = own.step([{ sequence: own.createSequence(), tokens: 1 }]);
    const [q, k, v] = pair.rows(1)[0] as [
      Tensor<'bfloat16'>,
      Tensor<'bfloat16'>,
      Tensor<'bfloat16'>,
    ];
    first.dispose();
    first.dispose();
    expect(first.disposed).toBe(true);
    expectThrow(() => first.replay(step, [{ q, k, v }]), 'ERR_DISPOSED', 'graph');
    own.dispose();
    expectThrow(() => second.replay(step, [{ q, k, v }]), 'ERR_DISPOSED', 'step');
    expectThrow(() => own.captureDecode({ batch: 1, heads: 4 }), 'ERR_DISPOSED', 'cache');
    second.dispose();
  });
});

const testOnDevice = testIf(!onCpu, 'a CPU has no graphs');

testOnDevice('the native side judges by itself', async () => {
  const addon = native();
  const bfloat16 = dtypeNumber.bfloat16;
  const pages = () => addon.empty(device, bfloat16, [4, pageSize, kvHeads, headDim]);
  const layers = [[pages(), pages(), undefined, undefined]];
  const right = {
    layers,
    options: addon.stepOptions(device, {}),
    ...{ heads: 4, dtype: bfloat16, batch: 2, pagesPerSequence: 2 },
    ...{ tokens: 1, tree: false, returnLse: false },
  };
  const refused = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      const { code, argument } = error as { code: string; argument: string };
      return `${code} ${argument}`;
    }
    return 'nothing';
  };
  const capture = (args: object) => refused(() => addon.newDecodeGraph(wrong(args)));
  expect(capture({ ...right, layers: [] })).toBe('ERR_OPTION layers');
  expect(capture({ ...right, layers: [7] })).toBe('ERR_TYPE layers');
  expect(capture({ ...right, heads: 3 })).toMatch('ERR_SHAPE');
  expect(capture({ ...right, dtype: dtypeNumber.int32 })).toBe('ERR_DTYPE dtype');
  expect(capture({ ...right, batch: 2 ** 21 })).toBe('ERR_OPTION batch');
  expect(capture({ ...right, tokens: 0 })).toBe('ERR_OPTION tokens');
  expect(capture({ ...right, tokens: 2 * pageSize + 1 })).toBe('ERR_SHAPE tokens');
  expect(capture({ ...right, tokens: 2 ** 19 + 1 })).toBe('ERR_OPTION tokens');
  expect(capture({ ...right, tree: 1 })).toBe('ERR_TYPE tree');
  expect(capture({ ...right, returnLse: undefined })).toBe('ERR_TYPE returnLse');
  expect(capture({ ...right, pagesPerSequence: 2 ** 29 })).toMatch('pagesPerSequence');
  expect(capture({ ...right, options: {} })).toBe('ERR_TYPE options');
  const small = () => addon.empty(device, bfloat16, [4, 4, kvHeads, headDim]);
  expect(capture({ ...right, layers: [...layers, [small(), small()]] })).toMatch('ERR_SHAPE');
  const latents = pages();
  const strides = [pageSize * kvHeads * headDim, kvHeads * headDim, headDim, 1];
  const inKeys = [latents, addon.view(latents, [4, pageSize, kvHeads, headDim], strides, 0)];
  expect(capture({ ...right, layers: [...layers, inKeys] })).toBe('ERR_OPTION vPages');
  expect(capture({ ...right, layers: [inKeys, ...layers] })).toBe('ERR_TYPE v');
  const mqa = () => addon.empty(device, bfloat16, [4, pageSize, 1, headDim]);
  const many = capture({ ...right, layers: [[mqa(), mqa()]], heads: 80 });
  expect(many).toBe(onSimtHopper ? 'ERR_SHAPE heads' : 'nothing');
  const longer = capture({ ...right, layers: [[mqa(), mqa()]], heads: 20, tokens: 4 });
  expect(longer).toBe(onSimtHopper ? 'ERR_SHAPE heads' : 'nothing');

  /** Of sequences of so many tokens, so many of them new. */
  const step = (lengths: readonly number[], tokens: number, numPages = 4) => {
    const total = lengths.length * tokens;
    const range = Array.from({ length: total }, (_, n) => n);
    const offsets = [0, ...lengths.map((_, b) => (b + 1) * tokens)];
    const wide = Math.max(...lengths.map((length) => Math.ceil(length / pageSize)));
    const table = lengths.flatMap((_, b) => Array.from({ length: wide }, () => b % 4));
    const tables = Int32Array.from([...range, ...range, ...offsets, ...lengths, ...table]);
    const counts = { batch: lengths.length, total, pagesPerSequence: wide };
    const own = { treeWords: 0, copies: 0, numPages, pageSize };
    return addon.newStep({ device, tables, ...counts, ...own });
  };
  const ofTrees = addon.newDecodeGraph({ ...right, tokens: 2, tree: true });
  const pairs = [4, kvHeads, kvHeads].map((heads) =>
    addon.zeros(device, bfloat16, [2, heads, headDim]),
  );
  const graph = addon.newDecodeGraph(right);
  const row = (heads: number) => addon.zeros(device, bfloat16, [1, heads, headDim]);
  const rows = [[row(4), row(kvHeads), row(kvHeads)]];
  const replay = (...args: unknown[]) =>
    refused(() => (addon.replayDecode as (...all: unknown[]) => unknown)(...args));
  expect(replay({}, step([1], 1), 0, rows)).toBe('ERR_TYPE graph');
  expect(replay(graph, {}, 0, rows)).toBe('ERR_TYPE step');
  expect(replay(graph, step([3], 2), 0, rows)).toBe('ERR_SHAPE step');
  expect(replay(ofTrees, step([3], 2), 0, [pairs])).toBe('ERR_SHAPE step');
  expect(replay(ofTrees, step([1], 1), 0, [pairs])).toBe('ERR_SHAPE step');
  addon.endDecodeGraph(ofTrees);
  expect(replay(graph, step([1, 1, 1], 1), 0, rows)).toBe('ERR_SHAPE step');
  expect(replay(graph, step([17], 1), 0, rows)).toBe('ERR_SHAPE step');
  expect(replay(graph, step([1], 1, 5), 0, rows)).toBe('ERR_OPTION step');
  expect(replay(graph, step([1], 1), 1, rows)).toBe('ERR_OPTION firstLayer');
  expect(replay(graph, step([1], 1), 0, [])).toBe('ERR_SHAPE rows');
  expect(replay(graph, step([1], 1), 0, [[row(4), row(4), row(4)]])).toBe('ERR_SHAPE k');
  expect(replay(graph, step([1], 1), 0, [[new Float32Array(256)]])).toBe('ERR_DTYPE q');
  expect(replay(graph, step([1], 1), 0, [[new Int32Array(256)]])).toBe('ERR_TYPE q');
  expect(replay(graph, step([1], 1), 0, rows)).toBe('nothing');
  const ofLatents = addon.newDecodeGraph({ ...right, layers: [inKeys] });
  expect(replay(ofLatents, step([1], 1), 0, rows)).toBe('ERR_TYPE v');
  expect(replay(ofLatents, step([1], 1), 0, [[row(4), row(kvHeads)]])).toBe('nothing');
  addon.endDecodeGraph(ofLatents);
  addon.dispose(wrong(layers[0][0]));
  await synchronize(); // what was enqueued holds it
  expect(replay(graph, step([1], 1), 0, rows)).toBe('ERR_DISPOSED graph');
  addon.endDecodeGraph(graph);
  addon.endDecodeGraph(graph);
  expect(replay(graph, step([1], 1), 0, rows)).toBe('ERR_DISPOSED graph');
});
