// Sequences over several parts beside the same ones in one cache: the same numbers.
import fc from 'fast-check';
import { tensor } from '../../../lib/index.js';
import type { CacheDType, ContextAttentionOptions } from '../../../lib/serving/index.js';
import { ContextMachines, type Twin } from '../../support/context-machines.js';
import { onSimtHopper, sized, testOnCpu } from '../../support/device.js';
import { rotaryTables } from '../../support/rotary-tables.js';

const cuts = [
  { parts: 1, tokensPerRun: 4 },
  { parts: 2, tokensPerRun: 4 },
  { parts: 3, tokensPerRun: 8 },
  { parts: 3, tokensPerRun: 32 }, // one contiguous range each
];
const dtypes: readonly CacheDType[] = onSimtHopper
  ? ['bfloat16']
  : sized(['float32', 'bfloat16', 'int8', 'float8_e4m3'], ['float32', 'int8']);

const slopes = [0.5, 0.25, 0.02, 1];

describe.each(sized(cuts, cuts.slice(2, 3)))('$parts parts, runs of $tokensPerRun', (cut) => {
  test.each(dtypes)('prompts beside decoding, odd lengths: %s', async (dtype) => {
    const machines = new ContextMachines(cut, { dtype });
    const [a, b] = [machines.create(), machines.create()];
    await machines.feed([{ twin: a, tokens: 29 }]);
    for (let i = 0; i < 6; i++) {
      await machines.feed([
        { twin: b, tokens: i === 0 ? 13 : 1 },
        { twin: a, tokens: 1 },
      ]);
    }
    await machines.feed([{ twin: a, tokens: 37 }]);
    await machines.end(a, b);
  });

  test.each<[string, ContextAttentionOptions]>([
    ['window', { window: [9, 0] }],
    ['window of a token', { window: [0, 0] }],
    ['window behind the diagonal', { window: [12, -3] }],
    ['window and sink tokens', { window: [5, Infinity], sinkTokens: 6 }],
    ['sinks', { sinks: [0.5, -1, 2, 8] }],
    ['softcap', { softcap: 0.8 }],
    ['all', { window: [7, 0], sinkTokens: 2, sinks: [1, 0, -2, 3], softcap: 3, scale: 0.7 }],
    ['ALiBi', { alibiSlopes: slopes }],
    ['ALiBi and a window', { alibiSlopes: slopes, window: [11, 0] }],
    ['ALiBi behind the diagonal', { alibiSlopes: slopes, window: [12, -3] }],
    ['ALiBi and sink tokens', { alibiSlopes: slopes, window: [5, 0], sinkTokens: 6 }],
    [
      'ALiBi and all',
      { alibiSlopes: slopes, window: [9, 0], sinkTokens: 5, sinks: [1, 0, -2, 3], softcap: 3 },
    ],
    ['splits', { numSplits: 3 }],
  ])('%s', async (_, options) => {
    const machines = new ContextMachines(cut);
    const [a, b] = [machines.create(), machines.create()];
    await machines.feed([{ twin: a, tokens: 45 }], options);
    for (let i = 0; i < 5; i++) {
      const feeds = [
        { twin: a, tokens: 1 },
        { twin: b, tokens: 3 },
      ];
      await machines.feed(feeds, options);
    }
    await machines.end(a, b);
  });

  test('rotary position embedding', async () => {
    const tables = rotaryTables(64, 4);
    using cos = tensor(tables.cos, [64, 4]);
    using sin = tensor(tables.sin, [64, 4]);
    const machines = new ContextMachines(cut, { dtype: 'bfloat16' });
    const [a, b] = [machines.create(), machines.create()];
    const last = { cos: cos.slice(null, [0, 2]), sin: sin.slice(null, [0, 2]), rotaryOffset: 4 };
    for (const rotary of [{ cos, sin }, { cos, sin, interleaved: true }, last]) {
      const feeds = [
        { twin: a, tokens: 19 },
        { twin: b, tokens: 1 },
      ];
      await machines.feed(feeds, { rotary });
    }
    await machines.end(a, b);
  });

  test('forks do not see what the other side appends, and pages come back', async () => {
    const machines = new ContextMachines(cut);
    const free = machines.caches.map((cache) => cache.stats().free);
    const parent = machines.create();
    await machines.feed([{ twin: parent, tokens: 22 }]);
    const fork = await machines.fork(parent);
    await machines.feed([{ twin: parent, tokens: 3 }]);
    await machines.feed([{ twin: fork, tokens: 5 }]);
    const third = await machines.fork(fork);
    await machines.feed([fork, third, parent].map((twin) => ({ twin, tokens: 1 })));
    machines.truncate(fork, 21);
    await machines.feed([fork, third].map((twin) => ({ twin, tokens: 2 })));
    await machines.end(parent, fork, third);
    expect(machines.parts.map((part) => part.sequences)).toEqual(
      cut.parts === 1 ? [0] : expect.arrayContaining([0]),
    );
    expect(machines.caches.map((cache) => cache.stats().free)).toEqual(free);
  });
});

test('whatever is done to sequences, in any order', async () => {
  const operation = fc.record({
    what: fc.constantFrom('feed', 'feed', 'feed', 'fork', 'truncate', 'dispose'),
    which: fc.nat(),
    amount: fc.nat(20),
    options: fc.constantFrom<ContextAttentionOptions>(
      {},
      { window: [6, 0], sinkTokens: 3 },
      { alibiSlopes: slopes },
    ),
  });
  const scenario = async (
    cut: { parts: number; tokensPerRun: number },
    operations: readonly { what: string; which: number; amount: number; options: object }[],
  ) => {
    const machines = new ContextMachines(cut, { numPages: sized(200, 24) });
    const free = machines.caches.map((cache) => cache.stats().free);
    const twins: Twin[] = [machines.create()];
    for (const { what, which, amount, options } of operations) {
      const twin = twins[which % twins.length];
      const { length } = twin.apart;
      if (what === 'fork') twins.push(await machines.fork(twin));
      else if (what === 'truncate') machines.truncate(twin, amount % (length + 1));
      else if (what === 'dispose') {
        await machines.end(twin);
        twins[which % twins.length] = machines.create();
      } else {
        const feeds = twins.slice(0, 3).map((each) => {
          return { twin: each, tokens: each === twin ? amount + 1 : 1 };
        });
        await machines.feed(
          feeds,
          options,
          feeds.map(({ tokens }) => Math.ceil(tokens / 2)),
        );
      }
    }
    await machines.end(...twins);
    expect(machines.caches.map((cache) => cache.stats().free)).toEqual(free);
  };
  await fc.assert(
    fc.asyncProperty(
      fc.record({ parts: fc.integer({ min: 1, max: 4 }), tokensPerRun: fc.constantFrom(4, 8, 20) }),
      fc.array(operation, { minLength: 1, maxLength: sized(14, 3) }),
      scenario,
    ),
    { numRuns: sized(40, 1), seed: 5 },
  );
});

test.each(dtypes)('ALiBi over more runs than one call takes: %s', async (dtype) => {
  const machines = new ContextMachines({ parts: 2, tokensPerRun: 4 }, { dtype });
  const [a, b] = [machines.create(), machines.create()];
  const options = { alibiSlopes: slopes, window: [120, 0], sinkTokens: 13 };
  await machines.feed([{ twin: a, tokens: 150 }], options);
  for (let i = 0; i < 3; i++) {
    const feeds = [
      { twin: b, tokens: 2 },
      { twin: a, tokens: 1 },
    ];
    await machines.feed(feeds, options);
    await machines.feed(feeds, { alibiSlopes: slopes });
  }
  await machines.end(a, b);
});

testOnCpu('64k tokens over 3 parts', async () => {
  const shape = { layers: 1, heads: 4, kvHeads: 1, headDim: 16, headDimV: 16, pageSize: 16 };
  const cut = { parts: 3, tokensPerRun: 1024 };
  const machines = new ContextMachines(cut, { shape, numPages: 1500, dtype: 'bfloat16' });
  const twin = machines.create();
  await machines.feed([{ twin, tokens: 7 }]);
  // A prompt's keys and values alone: a window of one key computes nothing else.
  for (let length = 7; length < 65_536; length += 4096) {
    const tokens = Math.min(4096, 65_536 - length);
    await machines.feed([{ twin, tokens }], { window: [0, 0] });
  }
  expect(twin.apart.length).toBe(65_536);
  for (const options of [
    {},
    { window: [20_000, 0], sinkTokens: 4 },
    { sinks: [1, 2, 3, 4] },
    { alibiSlopes: slopes },
  ]) {
    await machines.feed([{ twin, tokens: 1 }], options);
  }
  await machines.end(twin);
});
