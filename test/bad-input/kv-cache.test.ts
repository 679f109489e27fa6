// Every argument of the cache wrong in every way: an error that names it, and nothing has changed.
import fc from 'fast-check';
import { type ErrorCode, tensor, zeros } from '../../lib/index.js';
import { KvCache, type KvCacheOptions, type Sequence } from '../../lib/serving/index.js';
import { elsewhere, notTensors } from '../support/bad-options.js';
import { errorOf, expectThrow, thrownBy, wrong } from '../support/expect-error.js';

const good: KvCacheOptions = { layers: 2, numPages: 4, pageSize: 4, kvHeads: 2, headDim: 8 };

type Bad = [value: unknown, code: ErrorCode];

const notCounts: Bad[] = [
  [null, 'ERR_TYPE'],
  ['4', 'ERR_TYPE'],
  [4n, 'ERR_TYPE'],
  [[4], 'ERR_TYPE'],
  [0, 'ERR_OPTION'],
  [-1, 'ERR_OPTION'],
  [1.5, 'ERR_OPTION'],
  [Number.NaN, 'ERR_OPTION'],
  [Infinity, 'ERR_OPTION'],
  [2 ** 31, 'ERR_OPTION'],
];

describe('new KvCache', () => {
  const counts = ['layers', 'numPages', 'pageSize', 'kvHeads', 'headDim', 'headDimV', 'maxSeqlen'];

  test.each(counts)('%s', (name) => {
    for (const [value, code] of notCounts) {
      expectThrow(() => new KvCache({ ...good, [name]: value }), code, `options.${name}`);
    }
  });

  test.each(['layers', 'numPages', 'kvHeads', 'headDim'])('without %s', (name) => {
    expectThrow(() => new KvCache({ ...good, [name]: undefined }), 'ERR_TYPE', `options.${name}`);
  });

  test('no options, unknown ones, other dtypes, other devices', () => {
    for (const value of [null, 4, 'options', [good], zeros([1])]) {
      expectThrow(() => new KvCache(wrong(value)), 'ERR_TYPE', 'options');
    }
    expectThrow(() => new KvCache(wrong(undefined)), 'ERR_TYPE', 'options', /layers, numPages/);
    const made = (more: object) => () => new KvCache(wrong({ ...good, ...more }));
    expect(thrownBy(made({ blockSize: 4 }))).toMatchObject({
      code: 'ERR_OPTION',
      argument: 'options.blockSize',
    });
    expectThrow(made({ dtype: 'int32' }), 'ERR_DTYPE', 'options.dtype', /bfloat16/);
    expectThrow(made({ dtype: null }), 'ERR_TYPE', 'options.dtype');
    expectThrow(made({ device: 'gpu' }), 'ERR_DEVICE', 'options.device');
    expectThrow(made({ headDim: 577 }), 'ERR_OPTION', 'options.headDim');
    expectThrow(made({ pageSize: 2 ** 20, numPages: 2 ** 12 }), 'ERR_OPTION', 'options.numPages');
  });
});

describe('with a cache', () => {
  const cache = new KvCache(good);
  const other = new KvCache(good);
  const [q, k, v] = [zeros([3, 4, 8]), zeros([3, 2, 8]), zeros([3, 2, 8])];
  let sequence: Sequence;
  let before: ReturnType<KvCache['stats']>;

  beforeEach(() => {
    sequence = cache.createSequence();
    before = cache.stats();
  });

  afterEach(() => {
    expect(cache.stats()).toEqual(before); // pitfall 26
    sequence.dispose();
  });

  const notIds: Bad[] = [
    [null, 'ERR_TYPE'],
    ['text', 'ERR_TYPE'],
    [{}, 'ERR_TYPE'],
    [new Float32Array([1]), 'ERR_TYPE'],
    [tensor(Int32Array.of(1), [1]), 'ERR_TYPE'],
  ];
  const badIds: [value: unknown, code: ErrorCode, index: number][] = [
    [[1, 2.5], 'ERR_OPTION', 1],
    [[-1], 'ERR_OPTION', 0],
    [[2 ** 31], 'ERR_OPTION', 0],
    [[1, '2'], 'ERR_TYPE', 1],
    [[1n], 'ERR_TYPE', 0],
    [new Array(3), 'ERR_TYPE', 0],
    [Uint32Array.of(0xffffffff), 'ERR_OPTION', 0],
    [Int32Array.of(3, -4), 'ERR_OPTION', 1],
  ];

  test('createSequence', () => {
    const create = (options: unknown) => () => cache.createSequence(wrong(options));
    for (const [tokens, code] of notIds) expectThrow(create({ tokens }), code, 'options.tokens');
    for (const [tokens, code, i] of badIds) {
      expectThrow(create({ tokens }), code, `options.tokens[${i}]`);
    }
    expectThrow(create({ tokens: [] }), 'ERR_SHAPE', 'options.tokens', /at least one token/);
    expectThrow(create({ tokens: 5 }), 'ERR_TYPE', 'options.tokens');
    for (const scope of [null, 5, ['a'], {}]) {
      expectThrow(create({ scope }), 'ERR_TYPE', 'options.scope');
    }
    expect(thrownBy(create({ prompt: [1] })).argument).toBe('options.prompt');
    expectThrow(create([1, 2]), 'ERR_TYPE', 'options');
  });

  test('step: entries', () => {
    const open = (entries: unknown) => () => cache.step(wrong(entries));
    for (const value of [undefined, null, {}, 'a', sequence]) {
      expectThrow(open(value), 'ERR_TYPE', 'entries');
    }
    expectThrow(open([]), 'ERR_OPTION', 'entries');
    for (const value of [undefined, null, sequence.length, 'a', [sequence, 1]]) {
      expectThrow(open([value]), 'ERR_TYPE', 'entries[0]');
    }
    expectThrow(open(new Array(1)), 'ERR_TYPE', 'entries[0]');
    expect(thrownBy(open([{ sequence, token: 1 }])).argument).toBe('entries[0].token');
    const fine = { sequence, tokens: 1 };
    for (const value of [undefined, null, 1, {}, cache, { length: 0, pages: 0 }]) {
      const entries = [fine, { sequence: value, tokens: 1 }];
      expectThrow(open(entries), 'ERR_TYPE', 'entries[1].sequence');
    }
    expectThrow(open([fine, fine]), 'ERR_OPTION', 'entries[1].sequence', /twice/);
    const foreign = { sequence: other.createSequence(), tokens: 1 };
    expectThrow(open([fine, foreign]), 'ERR_OPTION', 'entries[1].sequence', /of this cache/);
    const gone = cache.createSequence();
    gone.dispose();
    const entries = [fine, { sequence: gone, tokens: 1 }];
    expectThrow(open(entries), 'ERR_DISPOSED', 'entries[1].sequence');
  });

  test('step: tokens', () => {
    const open = (tokens: unknown) => () => cache.step([{ sequence, tokens: wrong(tokens) }]);
    for (const [tokens, code] of notIds) expectThrow(open(tokens), code, 'entries[0].tokens');
    for (const [tokens, code, i] of badIds)
      expectThrow(open(tokens), code, `entries[0].tokens[${i}]`);
    expectThrow(open([]), 'ERR_SHAPE', 'entries[0].tokens');
    for (const tokens of [0, -1, 1.5, Number.NaN, Infinity, 2 ** 31]) {
      expectThrow(open(tokens), 'ERR_OPTION', 'entries[0].tokens');
    }
    const full = thrownBy(open(17));
    expect(full).toMatchObject({ code: 'ERR_CACHE_FULL', argument: 'entries', missingPages: 1 });
    expect(thrownBy(open(2 ** 31 - 1)).code).toBe('ERR_CACHE_FULL');
    const short = new KvCache({ ...good, maxSeqlen: 6 });
    const one = short.createSequence();
    expectThrow(
      () => short.step([{ sequence: one, tokens: 7 }]),
      'ERR_SHAPE',
      'entries[0].tokens',
      /at most 6 tokens, for a maxSeqlen of 6, but received 7/,
    );
    expect(short.stats().free).toBe(4);
  });

  test('step: tree', () => {
    const open = (tree: unknown) => () => cache.step([{ sequence, tokens: 3, tree: wrong(tree) }]);
    for (const value of [null, 1, 'a', {}, new Float32Array(3)]) {
      expectThrow(open(value), 'ERR_TYPE', 'entries[0].tree');
    }
    for (const value of [[], [-1], [-1, 0, 1, 2]]) {
      expectThrow(open(value), 'ERR_SHAPE', 'entries[0].tree');
    }
    expectThrow(open([0, 0, 0]), 'ERR_OPTION', 'entries[0].tree[0]');
    expectThrow(open([-1, 0, 2]), 'ERR_OPTION', 'entries[0].tree[2]');
    expectThrow(open([-1, -2, 0]), 'ERR_OPTION', 'entries[0].tree[1]');
    expectThrow(open([-1, '0', 0]), 'ERR_TYPE', 'entries[0].tree[1]');
    const step = cache.step([{ sequence, tokens: 3, tree: Int32Array.of(-1, 0, 0) }]);
    for (const layer of [0, 1]) step.attention(layer, q, k, v).dispose();
    expectThrow(() => step.commit(), 'ERR_TYPE', 'options.accept', /entries\[0\] is a tree/);
    const commit = (path: unknown) => () => step.commit(wrong({ accept: [path] }));
    for (const value of [1, null, 'a']) expectThrow(commit(value), 'ERR_TYPE', 'options.accept[0]');
    expectThrow(commit([3]), 'ERR_OPTION', 'options.accept[0][0]');
    expectThrow(commit([1]), 'ERR_OPTION', 'options.accept[0][0]', /a root of the tree/);
    expectThrow(commit([0, 1, 2]), 'ERR_OPTION', 'options.accept[0][2]', /whose parent is 1/);
    expectThrow(commit(['0']), 'ERR_TYPE', 'options.accept[0][0]');
    step.commit({ accept: [[]] });
    expect(sequence.length).toBe(0);
  });

  test('while a step is open its sequences refuse another, fork and truncate', () => {
    const step = cache.step([{ sequence, tokens: 3 }]);
    const again = () => cache.step([{ sequence, tokens: 1 }]);
    expectThrow(again, 'ERR_STATE', 'entries[0].sequence');
    expectThrow(() => sequence.fork(), 'ERR_STATE', 'sequence', /fork\(\)/);
    expectThrow(() => sequence.truncate(0), 'ERR_STATE', 'sequence', /truncate\(\)/);
    step.dispose();
    sequence.fork().dispose();
  });

  test('step.attention and commit, out of turn', () => {
    const step = cache.step([{ sequence, tokens: 3 }]);
    expectThrow(() => step.commit(), 'ERR_STATE', 'step', /layers \[0, 1\]/);
    step.attention(1, q, k, v).dispose();
    expectThrow(() => step.attention(1, q, k, v), 'ERR_STATE', 'layer');
    expectThrow(() => step.commit(), 'ERR_STATE', 'step', /layer \[0\]/);
    for (const layer of [-1, 2, 0.5, Number.NaN]) {
      expectThrow(() => step.attention(layer, q, k, v), 'ERR_OPTION', 'layer');
    }
    for (const layer of [undefined, '0', null]) {
      expectThrow(() => step.attention(wrong(layer), q, k, v), 'ERR_TYPE', 'layer');
    }
    step.dispose();
    expectThrow(() => step.attention(0, q, k, v), 'ERR_STATE', 'step', /committed or disposed/);
    expectThrow(() => step.commit(), 'ERR_STATE', 'step');
  });

  test('step.commit: accept', () => {
    using step = cache.step([{ sequence, tokens: 3 }]);
    for (const layer of [0, 1]) step.attention(layer, q, k, v).dispose();
    const commit = (options: unknown) => () => step.commit(wrong(options));
    for (const value of [null, 1, [1]]) expectThrow(commit(value), 'ERR_TYPE', 'options');
    for (const accept of [null, 1, '1', Int32Array.of(1)]) {
      expectThrow(commit({ accept }), 'ERR_TYPE', 'options.accept');
    }
    for (const accept of [[], [1, 1]])
      expectThrow(commit({ accept }), 'ERR_SHAPE', 'options.accept');
    for (const accept of [[-1], [4], [0.5]]) {
      expectThrow(commit({ accept }), 'ERR_OPTION', 'options.accept[0]');
    }
    for (const accept of [['1'], [null], [[0]], new Array(1)]) {
      expectThrow(commit({ accept }), 'ERR_TYPE', 'options.accept[0]');
    }
    expect(thrownBy(commit({ accepted: [1] })).argument).toBe('options.accepted');
    step.commit({ accept: [0] });
    expect(sequence.length).toBe(0);
  });

  test('step.attention: q, k and v; a call that is refused may be made again', () => {
    using step = cache.step([{ sequence, tokens: 3 }]);
    const attend =
      (...args: unknown[]) =>
      () =>
        step.attention(0, ...(args as [never, never, never]));
    for (const [, value] of notTensors) {
      if (value instanceof Float32Array) continue; // rows too: step-sync.test.ts
      expectThrow(attend(value, k, v), 'ERR_TYPE', 'q');
      expectThrow(attend(q, value, v), 'ERR_TYPE', 'k');
      expectThrow(attend(q, k, value), 'ERR_TYPE', 'v');
    }
    const gone = zeros([3, 2, 8]);
    gone.dispose();
    expectThrow(attend(gone, k, v), 'ERR_DISPOSED', 'q');
    expectThrow(attend(q, gone, v), 'ERR_DISPOSED', 'k');
    expectThrow(attend(q, k, gone), 'ERR_DISPOSED', 'v');
    const far = [q, k, v].map(elsewhere);
    expectThrow(attend(...far), 'ERR_DEVICE', 'q', /like the cache/);
    expectThrow(attend(q, far[1], v), 'ERR_DEVICE', 'k');
    expectThrow(attend(q, k, far[2]), 'ERR_DEVICE', 'v');
    for (const shape of [
      [4, 4, 8],
      [2, 4, 8],
      [3, 3, 8],
      [3, 0, 8],
      [3, 4, 7],
      [12, 8],
      [1, 3, 4, 8],
    ]) {
      expectThrow(attend(zeros(shape), k, v), 'ERR_SHAPE', 'q');
    }
    for (const shape of [
      [4, 2, 8],
      [3, 4, 8],
      [3, 2, 7],
      [6, 8],
      [3, 2, 8, 1],
    ]) {
      expectThrow(attend(q, zeros(shape), v), 'ERR_SHAPE', 'k');
      expectThrow(attend(q, k, zeros(shape)), 'ERR_SHAPE', 'v');
    }
    const ints = zeros([3, 2, 8], { dtype: 'int32' });
    expectThrow(attend(zeros([3, 4, 8], { dtype: 'int32' }), k, v), 'ERR_DTYPE', 'q');
    expectThrow(attend(q, ints, v), 'ERR_DTYPE', 'k');
    expectThrow(attend(q, k, ints), 'ERR_DTYPE', 'v');
    step.attention(0, q, k, v).dispose();
  });

  test('step.attention: options', () => {
    using step = cache.step([{ sequence, tokens: 3 }]);
    const attend = (options: unknown) => () => step.attention(0, q, k, v, wrong(options));
    for (const value of [null, 1, [], q]) expectThrow(attend(value), 'ERR_TYPE', 'options');
    for (const key of ['causal', 'mask', 'dropout', 'layout', 'pageTable', 'priority']) {
      const error = thrownBy(attend({ [key]: undefined }));
      expect(error).toMatchObject({ code: 'ERR_OPTION', argument: `options.${key}` });
    }
    expectThrow(attend({ scale: '1' }), 'ERR_TYPE', 'options.scale');
    expectThrow(attend({ window: [1] }), 'ERR_TYPE', 'options.window');
    expectThrow(attend({ softcap: -1 }), 'ERR_OPTION', 'options.softcap');
    expectThrow(attend({ numSplits: 0 }), 'ERR_OPTION', 'options.numSplits');
    expectThrow(attend({ sinks: zeros([3]) }), 'ERR_SHAPE', 'options.sinks');
    expectThrow(attend({ alibiSlopes: zeros([3]) }), 'ERR_SHAPE', 'options.alibiSlopes');
    expectThrow(attend({ returnLse: 1 }), 'ERR_TYPE', 'options.returnLse');
    expectThrow(attend({ signal: 1 }), 'ERR_TYPE', 'options.signal');
    const tables = { cos: zeros([3, 4]), sin: zeros([3, 4]) };
    const rotary = (more: unknown) => attend({ rotary: more });
    for (const value of [null, 1, [], q]) expectThrow(rotary(value), 'ERR_TYPE', 'options.rotary');
    expectThrow(rotary({ sin: tables.sin }), 'ERR_TYPE', 'options.rotary.cos');
    expectThrow(rotary({ cos: tables.cos }), 'ERR_TYPE', 'options.rotary.sin');
    expectThrow(rotary({ ...tables, interleaved: 1 }), 'ERR_TYPE', 'options.rotary.interleaved');
    expectThrow(rotary({ ...tables, rotaryDim: 6 }), 'ERR_OPTION', 'options.rotary.rotaryDim');
    const positions = (value: unknown) => rotary({ ...tables, positions: value });
    expectThrow(positions('012'), 'ERR_TYPE', 'options.rotary.positions');
    expectThrow(positions([0, 1]), 'ERR_SHAPE', 'options.rotary.positions');
    expect(thrownBy(rotary({ ...tables, theta: 1 })).argument).toBe('options.rotary.theta');
  });

  test('more positions than the tables have rows', () => {
    using step = cache.step([{ sequence, tokens: 3 }]);
    const rotary = { cos: zeros([2, 4]), sin: zeros([2, 4]) };
    const attend = () => step.attention(0, q, k, v, { rotary });
    expect(thrownBy(attend)).toMatchObject({ code: 'ERR_SHAPE' });
  });

  test('truncate', () => {
    for (const [value, code] of notCounts.filter(([value]) => value !== 0)) {
      expectThrow(() => sequence.truncate(wrong(value)), code, 'length');
    }
    expectThrow(() => sequence.truncate(wrong(undefined)), 'ERR_TYPE', 'length');
    expectThrow(() => sequence.truncate(1), 'ERR_OPTION', 'length');
    sequence.truncate(0);
  });

  test('what was disposed', async () => {
    const gone = cache.createSequence();
    gone.dispose();
    gone.dispose();
    expectThrow(() => gone.fork(), 'ERR_DISPOSED', 'sequence');
    expectThrow(() => gone.truncate(0), 'ERR_DISPOSED', 'sequence');
    expect(await errorOf(() => gone.save())).toMatchObject({ code: 'ERR_DISPOSED' });
    const short = new KvCache(good);
    const left = short.createSequence();
    const step = short.step([{ sequence: left, tokens: 3 }]);
    const idle = short.createSequence();
    short.dispose();
    short.dispose();
    expectThrow(() => short.createSequence(), 'ERR_DISPOSED', 'cache');
    expectThrow(() => short.step([]), 'ERR_DISPOSED', 'cache');
    expectThrow(() => short.load(new Uint8Array()), 'ERR_DISPOSED', 'cache');
    expectThrow(() => step.attention(0, q, k, v), 'ERR_DISPOSED', 'step');
    expectThrow(() => idle.fork(), 'ERR_DISPOSED', 'sequence');
    expect(await errorOf(() => idle.save())).toMatchObject({ code: 'ERR_DISPOSED' });
    step.dispose();
    left.dispose();
    expect(short.stats().used).toBe(0);
  });

  describe('load', () => {
    const filled = async (options: KvCacheOptions, tokens = 5) => {
      const one = new KvCache(options);
      const text = one.createSequence();
      using step = one.step([
        { sequence: text, tokens: Array.from({ length: tokens }, (_, i) => i) },
      ]);
      const rows = (count: number, dim: number) =>
        zeros([tokens, count, dim], {
          dtype: options.dtype === 'bfloat16' ? 'bfloat16' : 'float32',
        });
      for (let layer = 0; layer < options.layers; layer++) {
        const values = rows(options.kvHeads, options.headDimV ?? options.headDim);
        const keys = rows(options.kvHeads, options.headDim);
        step.attention(layer, rows(4, options.headDim), keys, values).dispose();
      }
      step.commit();
      return text.save();
    };

    test('what is not what save() gave', () => {
      for (const value of [undefined, null, 'bytes', [1, 2], {}, new Uint16Array(4)]) {
        expectThrow(() => cache.load(wrong(value)), 'ERR_TYPE', 'bytes', /a Uint8Array/);
      }
      for (const bytes of [new Uint8Array(), new Uint8Array(7), new Uint8Array(64).fill(0xff)]) {
        expectThrow(() => cache.load(bytes), 'ERR_TYPE', 'bytes', /not a safetensors file/);
      }
      expectThrow(() => cache.load(new Uint8Array(), wrong('x')), 'ERR_TYPE', 'options');
      expectThrow(
        () => cache.load(new Uint8Array(), wrong({ scope: 1 })),
        'ERR_TYPE',
        'options.scope',
      );
    });

    test('pitfall 32: a sequence of another model, or one that is too long', async () => {
      const load = async (options: KvCacheOptions, tokens?: number) => {
        const bytes = await filled(options, tokens);
        return thrownBy(() => cache.load(bytes));
      };
      for (const more of [
        { layers: 1 },
        { layers: 3 },
        { kvHeads: 4 },
        { headDim: 4 },
        { headDimV: 4 },
      ]) {
        expect(await load({ ...good, ...more })).toMatchObject({
          code: 'ERR_SHAPE',
          argument: 'bytes',
        });
      }
      for (const dtype of ['bfloat16', 'int8', 'float8_e4m3'] as const) {
        expect(await load({ ...good, dtype })).toMatchObject({ code: 'ERR_DTYPE' });
        using other = new KvCache({ ...good, dtype });
        const bytes = await filled(good);
        expectThrow(() => other.load(bytes), 'ERR_DTYPE', 'bytes');
      }
      using short = new KvCache({ ...good, maxSeqlen: 4 });
      const bytes = await filled(good, 5);
      expectThrow(() => short.load(bytes), 'ERR_SHAPE', 'bytes', /at most 4 tokens/);
      const long = await load({ ...good, numPages: 5 }, 17);
      expect(long).toMatchObject({ code: 'ERR_CACHE_FULL', argument: 'bytes', missingPages: 1 });
    });

    test('a sequence in 8 bits is loaded with its scales or not at all', async () => {
      using eight = new KvCache({ ...good, dtype: 'int8' });
      const whole = await filled({ ...good, dtype: 'int8' });
      const loaded = eight.load(whole);
      expect(await loaded.save()).toEqual(whole);
      const text = Buffer.from(whole).toString('latin1');
      for (const [from, to] of [
        ['key_scales.1', 'key_scalez.1'],
        ['value_scales.0', 'keys.9........'],
        ['"F32","shape":[5,2,1]', '"F32","shape":[5,1,2]'],
        ['"F32","shape":[5,2,1]', '"I32","shape":[5,2,1]'],
      ]) {
        expect(text).toContain(from);
        const changed = Buffer.from(text.replace(from, to), 'latin1');
        expectThrow(() => eight.load(new Uint8Array(changed)), expect.anything(), 'bytes');
      }
      expect(eight.stats().used).toBe(2);
    });

    test('pitfall 32: whatever was cut or changed is loaded whole or not at all', async () => {
      const whole = await filled(good);
      const edits = fc.array(fc.tuple(fc.nat(700), fc.nat(255)), { maxLength: 2 });
      fc.assert(
        fc.property(edits, fc.nat(whole.length - 1), fc.boolean(), (changes, length, cut) => {
          const bytes = whole.slice(0, cut ? length : undefined);
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          try {
            const loaded = cache.load(bytes, { scope: 'changed' });
            expect([0, 5]).toContain(loaded.length);
            loaded.dispose();
          } catch (error) {
            expect(error).toMatchObject({ argument: 'bytes' });
          }
          expect(cache.stats().used).toBe(before.used);
        }),
        { numRuns: 300 },
      );
      // Inside memory of others, at no multiple of 4: as files are read into Buffers.
      const pooled = Buffer.concat([Buffer.alloc(3), whole, Buffer.alloc(9)]);
      const loaded = cache.load(pooled.subarray(3, 3 + whole.length));
      expect(await loaded.save()).toEqual(whole);
      loaded.dispose();
      before = cache.stats(); // loaded prefixes are stored
    });
  });
});
