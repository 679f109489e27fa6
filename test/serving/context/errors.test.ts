// What is refused, by the caller's end and by the parts, and that nothing has changed then.
import { type Tensor, tensor } from '../../../lib/index.js';
import {
  ContextParallel,
  ContextPart,
  inProcessTransport,
  KvCache,
} from '../../../lib/serving/index.js';
import { decodeReply } from '../../../lib/serving/context/reply.js';
import { encodeMessage } from '../../../lib/serving/context/message.js';
import { ContextMachines } from '../../support/context-machines.js';
import { errorOf, thrownBy, wrong } from '../../support/expect-error.js';
import { settledMemory } from '../../support/gc.js';
import { uniform } from '../../support/random.js';

const cut = { parts: 3, tokensPerRun: 8 };
const shape = { layers: 1, kvHeads: 1, headDim: 8 };
const cacheOf = (more: object = {}) => new KvCache({ ...shape, numPages: 8, pageSize: 4, ...more });
const row = () => new Float32Array(8);

test('a worker that lost its pages is missing, by its part', async () => {
  const machines = new ContextMachines(cut);
  const twin = machines.create();
  await machines.feed([{ twin, tokens: 20 }]);
  machines.parts[1].dispose();
  const rows = machines.rows(1);
  using step = machines.context.step([{ sequence: twin.apart, tokens: 1 }]);
  const error = await errorOf(() => step.attention(0, ...rows));
  expect(error).toMatchObject({ code: 'ERR_PART_MISSING', part: 1 });
  expect(error.message).toMatch(/^Part 1: Expected part 1 to hold 8 tokens .* holds 0\.$/);
  step.dispose();
  expect(await errorOf(() => twin.apart.fork())).toMatchObject({
    code: 'ERR_PART_MISSING',
    part: 1,
  });
  await twin.apart.dispose();
  expect(machines.parts.map((part) => part.sequences)).toEqual([0, 0, 0]);
});

test('what an owner leaves behind is released by its name', async () => {
  const machines = new ContextMachines(cut);
  const free = machines.caches.map((cache) => cache.stats().free);
  for (let i = 0; i < 3; i++) await machines.feed([{ twin: machines.create(), tokens: 20 }]);
  expect(machines.parts.map((part) => part.sequences)).toEqual([3, 3, 3]);
  for (const part of machines.parts) {
    part.release('somebody else');
    part.release(machines.context.owner);
  }
  expect(machines.caches.map((cache) => cache.stats().free)).toEqual(free);
});

test('what is dropped comes back: sequences and steps', async () => {
  const machines = new ContextMachines(cut);
  const { apart } = machines.create();
  const drop = async () => {
    const sequence = machines.context.createSequence();
    const step = machines.context.step([
      { sequence, tokens: 9 },
      { sequence: apart, tokens: 1 },
    ]);
    await step.attention(0, ...machines.rows(10));
  };
  await drop();
  const held = () => machines.parts.map((part) => part.sequences).join();
  expect(held()).toBe('2,1,0');
  for (let i = 0; i < 100 && held() !== '1,0,0'; i++) await settledMemory();
  expect(held()).toBe('1,0,0');
  machines.context.step([{ sequence: apart, tokens: 1 }]).dispose(); // it is in no step
  await apart.dispose();
});

test.each([
  ['other runs', { parts: 3, tokensPerRun: 16 }, 0],
  ['other parts', { parts: 2, tokensPerRun: 8 }, 0],
  ['another part', cut, 1],
])('a worker of another cut: %s', async (_, of, part) => {
  using cache = cacheOf();
  const worker = new ContextPart(cache, { ...of, part });
  const transport = inProcessTransport([worker, worker, worker]);
  const context = new ContextParallel({ ...shape, cut, transport });
  using step = context.step([{ sequence: context.createSequence(), tokens: 1 }]);
  const error = await errorOf(() => step.attention(0, row(), row(), row()));
  expect(error).toMatchObject({ code: 'ERR_CUT_MISMATCH', part: 0, argument: 'request.cut' });
});

test.each([
  ['fewer layers', {}, { layers: 2 }, 1, 'ERR_OPTION'],
  ['other kv heads', { kvHeads: 2 }, {}, 0, 'ERR_SHAPE'],
  ['another head dim', { headDim: 16 }, {}, 0, 'ERR_SHAPE'],
])('a worker of another model: %s', async (_, of, model, layer, code) => {
  using cache = cacheOf(of);
  const worker = new ContextPart(cache, { parts: 1, tokensPerRun: 8, part: 0 });
  const transport = inProcessTransport([worker]);
  const one = { parts: 1, tokensPerRun: 8 };
  const context = new ContextParallel({ ...shape, ...model, cut: one, transport });
  using step = context.step([{ sequence: context.createSequence(), tokens: 1 }]);
  const error = await errorOf(() => step.attention(layer, row(), row(), row()));
  expect(error).toMatchObject({ code, part: 0 });
});

test('parts in this process that are none', () => {
  const tries: [unknown, string][] = [
    [undefined, 'parts'],
    [cacheOf(), 'parts'],
    [[cacheOf()], 'parts[0]'],
    [[undefined], 'parts[0]'],
  ];
  for (const [parts, argument] of tries) {
    expect(thrownBy(() => inProcessTransport(wrong(parts)))).toMatchObject({
      code: 'ERR_TYPE',
      argument,
    });
  }
});

test('a part without pages: nothing has changed, and the step goes through later', async () => {
  const machines = new ContextMachines(cut, { numPages: 4 });
  const [a, b] = [machines.create(), machines.create()];
  await machines.feed([{ twin: a, tokens: 24 }]);
  await machines.feed([{ twin: b, tokens: 8 }]);
  const before = machines.caches.map((cache) => cache.stats());
  const rows = machines.rows(20);
  const step = machines.context.step([{ sequence: b.apart, tokens: 20 }]);
  const error = await errorOf(() => step.attention(0, ...rows));
  expect(error).toMatchObject({ code: 'ERR_CACHE_FULL', part: 0, missingPages: 1 });
  step.dispose();
  await machines.feed([{ twin: b, tokens: 1 }]);
  machines.truncate(b, 8);
  await machines.feed([{ twin: b, tokens: 1 }]);
  await machines.end(a);
  await machines.feed([{ twin: b, tokens: 19 }]);
  expect(before[0].free).toBe(0);
});

test('a sequence beyond maxSeqlen of a part', async () => {
  using cache = cacheOf({ maxSeqlen: 10 });
  const worker = new ContextPart(cache, { parts: 1, tokensPerRun: 8, part: 0 });
  const context = new ContextParallel({
    ...shape,
    cut: { parts: 1, tokensPerRun: 8 },
    transport: inProcessTransport([worker]),
  });
  using step = context.step([{ sequence: context.createSequence(), tokens: 11 }]);
  const rows = new Float32Array(88);
  const error = await errorOf(() => step.attention(0, rows, rows, rows));
  expect(error).toMatchObject({ code: 'ERR_SHAPE', part: 0 });
});

test('states', async () => {
  const machines = new ContextMachines(cut);
  const { apart: sequence } = machines.create();
  const rows = machines.rows(2);
  const step = machines.context.step([{ sequence, tokens: 2 }]);
  const open = (run: () => unknown) =>
    expect(errorOf(run)).resolves.toMatchObject({ code: 'ERR_STATE' });
  await open(() => machines.context.step([{ sequence, tokens: 1 }]));
  await open(() => sequence.fork());
  await open(() => sequence.truncate(0));
  await open(() => sequence.dispose());
  await open(() => sequence.append(new Uint8Array(0)));
  const running = step.attention(0, ...rows);
  await open(() => step.attention(0, ...rows));
  await running;
  await open(() => step.attention(0, ...rows));
  await open(() => step.commit());
  await step.attention(1, ...rows);
  expect(thrownBy(() => step.commit({ accept: [3] }))).toMatchObject({
    code: 'ERR_OPTION',
    argument: 'options.accept[0]',
  });
  expect(thrownBy(() => step.commit({ accept: [] }))).toMatchObject({ code: 'ERR_SHAPE' });
  step.commit({ accept: [1] });
  expect(sequence.length).toBe(1);
  await open(() => step.attention(0, ...rows));
  await open(() => step.commit());
  step.dispose();
  await sequence.dispose();
  await sequence.dispose();
  const disposed = { code: 'ERR_DISPOSED' };
  expect(await errorOf(() => sequence.fork())).toMatchObject(disposed);
  expect(await errorOf(() => machines.context.step([{ sequence, tokens: 1 }]))).toMatchObject(
    disposed,
  );
});

test('bad input names its argument', async () => {
  using cache = cacheOf();
  const parts = [new ContextPart(cache, { parts: 1, tokensPerRun: 8, part: 0 })];
  const good = {
    ...shape,
    cut: { parts: 1, tokensPerRun: 8 },
    transport: inProcessTransport(parts),
  };
  const context = new ContextParallel(good);
  const other = new ContextParallel(good);
  const sequence = context.createSequence();
  using step = context.step([{ sequence, tokens: 1 }]);
  const make = (more: object) => () => new ContextParallel({ ...good, ...more });
  const part = (of: object) => () => new ContextPart(cache, { ...good.cut, part: 0, ...of });
  const layer = (options: object) => () => step.attention(0, row(), row(), row(), wrong(options));
  const free = context.createSequence();
  const codes: Tensor<'float32'> = wrong(tensor(new Int8Array(8), [1, 1, 8]));
  const gone = tensor(row(), [1, 1, 8]);
  gone.dispose();
  const cases: [() => unknown, string, string][] = [
    [make({ cut: undefined }), 'ERR_TYPE', 'options.cut.parts'],
    [make({ cut: { parts: 0, tokensPerRun: 8 } }), 'ERR_OPTION', 'options.cut.parts'],
    [make({ cut: { parts: 1, tokensPerRun: 1.5 } }), 'ERR_OPTION', 'options.cut.tokensPerRun'],
    [make({ cut: { parts: 1, pages: 8 } }), 'ERR_OPTION', 'options.cut.pages'],
    [make({ transport: {} }), 'ERR_TYPE', 'options.transport'],
    [make({ layers: 0 }), 'ERR_OPTION', 'options.layers'],
    [make({ timeoutMs: 0 }), 'ERR_OPTION', 'options.timeoutMs'],
    [make({ heads: 4 }), 'ERR_OPTION', 'options.heads'],
    [make({ replyDType: 'int8' }), 'ERR_DTYPE', 'options.replyDType'],
    [part({ part: 1 }), 'ERR_OPTION', 'cut.part'],
    [part({ tokensPerRun: 6 }), 'ERR_OPTION', 'cut.tokensPerRun'],
    [() => new ContextPart(wrong({}), { ...good.cut, part: 0 }), 'ERR_TYPE', 'cache'],
    [() => context.step([]), 'ERR_OPTION', 'entries'],
    [() => context.step(wrong(3)), 'ERR_TYPE', 'entries'],
    [() => context.step([{ sequence: wrong({}), tokens: 1 }]), 'ERR_TYPE', 'entries[0].sequence'],
    [() => context.step([{ sequence: free, tokens: 0 }]), 'ERR_OPTION', 'entries[0].tokens'],
    [
      () => context.step([{ sequence: other.createSequence(), tokens: 1 }]),
      'ERR_OPTION',
      'entries[0].sequence',
    ],
    [
      () => context.step([free, free].map((each) => ({ sequence: each, tokens: 1 }))),
      'ERR_OPTION',
      'entries[1].sequence',
    ],
    [
      () => context.step([{ sequence: free, tokens: 2, ...{ tree: [-1, 0] } }]),
      'ERR_OPTION',
      'entries[0].tree',
    ],
    [() => free.truncate(1), 'ERR_OPTION', 'length'],
    [() => free.append(wrong([])), 'ERR_TYPE', 'bytes'],
    [() => free.append(new Uint8Array(4)), 'ERR_TYPE', 'bytes'],
    [() => step.attention(1, row(), row(), row()), 'ERR_OPTION', 'layer'],
    [() => step.attention(0, wrong([]), row(), row()), 'ERR_TYPE', 'q'],
    [() => step.attention(0, new Float32Array(12), row(), row()), 'ERR_SHAPE', 'q'],
    [() => step.attention(0, row(), new Float32Array(16), row()), 'ERR_SHAPE', 'k'],
    [() => step.attention(0, row(), row(), new Float32Array(0)), 'ERR_SHAPE', 'v'],
    [() => step.attention(0, tensor(row(), [8]), row(), row()), 'ERR_SHAPE', 'q'],
    [() => step.attention(0, tensor(row(), [1, 1, 8]), row(), codes), 'ERR_DTYPE', 'v'],
    [() => step.attention(0, row(), gone, row()), 'ERR_DISPOSED', 'k'],
    [layer({ causal: true }), 'ERR_OPTION', 'options.causal'],
    [layer({ window: [1] }), 'ERR_TYPE', 'options.window'],
    [layer({ window: [0.5, 0] }), 'ERR_OPTION', 'options.window[0]'],
    [layer({ sinkTokens: -1 }), 'ERR_OPTION', 'options.sinkTokens'],
    [layer({ sinks: [1, 2] }), 'ERR_SHAPE', 'options.sinks'],
    [layer({ alibiSlopes: [1, 2] }), 'ERR_SHAPE', 'options.alibiSlopes'],
    [layer({ alibiSlopes: 1 }), 'ERR_TYPE', 'options.alibiSlopes'],
    [layer({ alibiSlopes: ['1'] }), 'ERR_TYPE', 'options.alibiSlopes[0]'],
    [layer({ scale: '1' }), 'ERR_TYPE', 'options.scale'],
    [layer({ scale: Number.NaN }), 'ERR_OPTION', 'options.scale'],
    [layer({ softcap: -1 }), 'ERR_OPTION', 'options.softcap'],
    [layer({ numSplits: 257 }), 'ERR_OPTION', 'options.numSplits'],
    [layer({ signal: {} }), 'ERR_TYPE', 'options.signal'],
    [layer({ rotary: {} }), 'ERR_TYPE', 'options.rotary.cos'],
    [layer({ rotary: { positions: [1] } }), 'ERR_OPTION', 'options.rotary.positions'],
  ];
  for (const [run, code, argument] of cases) {
    expect(await errorOf(run)).toMatchObject({ code, argument });
  }
  expect(await step.attention(0, row(), row(), row())).toHaveLength(8);
});

describe('what a worker may be sent', () => {
  const owner = 'test';
  const of = { cut: { parts: 1, tokensPerRun: 8, part: 0 }, owner };
  const attend = {
    ...of,
    kind: 'attend',
    step: 5,
    layer: 0,
    entries: [{ sequence: 1, length: 0, tokens: 1 }],
    reach: { left: null, right: 0, sinkTokens: 0 },
    options: {},
    replyDType: 'float32',
  };
  const numbers = (count: number, heads = 1) => {
    return {
      dtype: 'float32',
      shape: [count, heads, 8],
      data: new Float32Array(count * heads * 8),
    } as const;
  };
  const rows = { q: numbers(1), k: numbers(1), v: numbers(1) };

  test('requests that are none are refused in the reply', async () => {
    using cache = cacheOf();
    const part = new ContextPart(cache, of.cut);
    const refused = async (body: object, tensors: Parameters<typeof encodeMessage>[1] = rows) => {
      const reply = await part.answer(encodeMessage(body, tensors));
      return thrownBy(() => decodeReply(reply, 0)).code;
    };
    expect(await refused({})).toBe('ERR_TYPE');
    expect(await refused({ ...attend, owner: 3 })).toBe('ERR_TYPE');
    expect(await refused({ ...attend, kind: 'other' })).toBe('ERR_TYPE');
    expect(await refused({ ...attend, entries: 3 })).toBe('ERR_TYPE');
    expect(await refused({ ...attend, entries: [null] })).toBe('ERR_TYPE');
    expect(await refused({ ...attend, entries: [...attend.entries, ...attend.entries] })).toBe(
      'ERR_OPTION',
    );
    expect(
      await refused({ ...attend, entries: [{ sequence: 1, length: 0, tokens: 2 ** 40 }] }),
    ).toBe('ERR_OPTION');
    expect(await refused({ ...attend, reach: undefined })).toBe('ERR_TYPE');
    expect(await refused({ ...attend, options: { mask: 1 } })).toBe('ERR_OPTION');
    expect(await refused({ ...attend, layer: 1 })).toBe('ERR_OPTION');
    expect(await refused({ ...attend, replyDType: 'int8' })).toBe('ERR_DTYPE');
    expect(await refused(attend, { ...rows, alibiSlopes: numbers(1) })).toBe('ERR_SHAPE');
    expect(await refused(attend, {})).toBe('ERR_TYPE');
    expect(await refused(attend, { ...rows, q: numbers(2) })).toBe('ERR_SHAPE');
    expect(await refused(attend, { ...rows, k: numbers(1, 2) })).toBe('ERR_SHAPE');
    expect(
      await refused({ ...of, kind: 'append', step: 9, sequence: 1, length: 0, tokens: 1 }),
    ).toBe('ERR_TYPE');
    decodeReply(await part.answer(encodeMessage(attend, rows)), 0);
    expect(await refused({ ...attend, step: 4 })).toBe('ERR_STATE');
    const longer = { ...attend, entries: [{ sequence: 1, length: 0, tokens: 2 }] };
    expect(await refused(longer, { q: numbers(2), k: numbers(2), v: numbers(2) })).toBe(
      'ERR_STATE',
    );
  });

  test('bytes with errors in them: a reply each time', async () => {
    using cache = cacheOf();
    const part = new ContextPart(cache, of.cut);
    const random = uniform(3);
    const bytes = encodeMessage(attend, rows);
    for (let i = 0; i < 300; i++) {
      const changed = bytes.slice(
        0,
        random() < 0.2 ? Math.floor(random() * bytes.length) : undefined,
      );
      for (let n = 0; n < 3; n++) changed[Math.floor(random() * 700)] = Math.floor(random() * 256);
      expect((await part.answer(changed)).length).toBeGreaterThan(8);
    }
    expect(await part.answer(wrong(undefined))).toBeInstanceOf(Uint8Array);
  });
});
