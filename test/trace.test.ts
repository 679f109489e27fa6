// traceCpu: when which thread worked on which item.
import {
  type CpuTrace,
  chromeTrace,
  explain,
  flashAttention,
  flashAttentionBackward,
  randn,
  type Tensor,
  tensor,
  traceCpu,
} from '../lib/index.js';

const codeOf = (error: unknown) => (error as { code?: string }).code;

const cpu = { device: 'cpu' } as const;

/** Nothing about a trace may be otherwise, whatever was traced. */
function expectSound({ threads, loops, events, duration, dropped }: CpuTrace) {
  expect(dropped).toBe(0);
  expect(new Set(threads.filter((name) => name !== 'caller')).size).toBe(
    threads.filter((name) => name !== 'caller').length,
  );
  events.forEach((event, at) => {
    const { kind, loop, item, thread, begin, end } = event;
    expect(kind).toBe(loops[loop].kind);
    expect(item).toBeLessThan(loops[loop].items);
    expect(threads[thread]).toMatch(/^(caller|pool \d+)$/);
    expect(begin).toBeGreaterThanOrEqual(0);
    expect(end).toBeGreaterThanOrEqual(begin);
    expect(end).toBeLessThanOrEqual(duration);
    const before = events[at - 1];
    // A thread does one thing at a time.
    if (before?.thread === thread) expect(begin).toBeGreaterThanOrEqual(before.end);
  });
  // Every item of every loop, once.
  const seen = new Set(events.map(({ loop, item }) => `${loop} ${item}`));
  expect(seen.size).toBe(events.length);
  expect(events.length).toBe(loops.reduce((sum, { items }) => sum + items, 0));
}

const itemsOf = ({ events }: CpuTrace, kind: string) =>
  events.filter((event) => event.kind === kind).length;

describe('traceCpu', () => {
  const shape = [2, 200, 4, 40];
  const [q, k, v] = [1n, 2n, 3n].map((seed) => randn(shape, { ...cpu, seed }));

  test('attention has as many items as the plan says', async () => {
    for (const options of [{}, { causal: true }, { numSplits: 3 }]) {
      const trace = await traceCpu(() => flashAttention(q, k, v, options).take());
      expectSound(trace);
      expect(itemsOf(trace, 'attention')).toBe(explain(q, k, v, options).workItems);
      expect(itemsOf(trace, 'merge splits') > 0).toBe('numSplits' in options);
    }
  });

  test('what was enqueued is in it, although nobody waited for it', async () => {
    let out: Tensor | undefined;
    const trace = await traceCpu(() => {
      out = flashAttention(q, k, v);
    });
    expectSound(trace);
    expect(itemsOf(trace, 'attention')).toBe(explain(q, k, v).workItems);
    out?.dispose();
  });

  test('calls beside each other are loops of their own', async () => {
    const trace = await traceCpu(async () => {
      const outs = [
        flashAttention(q, k, v),
        flashAttention(q, k, v, { priority: 'high' }),
        flashAttention(q, k, v, { causal: true }),
      ];
      await Promise.all(outs.map((out) => out.take()));
    });
    expectSound(trace);
    const items = trace.loops.flatMap((loop) => (loop.kind === 'attention' ? loop.items : []));
    const planned = [{}, {}, { causal: true }].map((how) => explain(q, k, v, how).workItems);
    // In whichever order they began.
    const sorted = (counts: readonly number[]) => counts.slice().sort((a, b) => a - b);
    expect(sorted(items)).toEqual(sorted(planned));
  });

  test('gradients, conversions and random numbers have names', async () => {
    const { out, lse } = flashAttention(q, k, v, { returnLse: true });
    await out.data();
    const trace = await traceCpu(async () => {
      const dOut = randn(shape, { ...cpu, seed: 4n })
        .to('bfloat16')
        .to('float32');
      await flashAttentionBackward(dOut, { q, k, v, out, lse }).dq.take();
    });
    expectSound(trace);
    const kinds = new Set(trace.loops.map(({ kind }) => kind));
    for (const kind of ['randn', 'convert', 'backward']) expect(kinds).toContain(kind);
    expect(kinds).not.toContain('other');
  });

  test('nothing is recorded outside of it', async () => {
    await flashAttention(q, k, v).take();
    const trace = await traceCpu(() => {});
    await flashAttention(q, k, v).take();
    expect(trace).toMatchObject({ threads: [], loops: [], events: [], dropped: 0 });
  });

  test('what does not fit is counted', async () => {
    const { workItems } = explain(q, k, v);
    const trace = await traceCpu(() => flashAttention(q, k, v).take(), { capacity: 1 });
    expect(trace.loops).toHaveLength(1);
    expect(trace.events.length).toBe(trace.threads.length);
    expect(trace.events.length + trace.dropped).toBeGreaterThanOrEqual(workItems);
  });

  test('an error of the work comes through, and the next trace may begin', async () => {
    const failing = traceCpu(async () => {
      throw new Error('of the work');
    });
    await expect(failing).rejects.toThrow('of the work');
    expect((await traceCpu(() => {})).events).toEqual([]);
  });

  test('there is one at a time', async () => {
    let inner: unknown;
    await traceCpu(async () => {
      inner = await traceCpu(() => {}).catch((error) => error);
    });
    expect(codeOf(inner)).toBe('ERR_STATE');
  });

  test('wrong arguments', async () => {
    const given = async (...args: unknown[]) =>
      codeOf(await (traceCpu as (...args: unknown[]) => Promise<unknown>)(...args).catch((e) => e));
    const work = () => {};
    expect(await given()).toBe('ERR_TYPE');
    expect(await given(work, 5)).toBe('ERR_TYPE');
    expect(await given(work, { capacity: '5' })).toBe('ERR_TYPE');
    expect(await given(work, { room: 5 })).toBe('ERR_OPTION');
    for (const capacity of [0, -1, 1.5, Number.NaN, 2 ** 24 + 1]) {
      expect(await given(work, { capacity })).toBe('ERR_OPTION');
    }
    expect((await traceCpu(work)).events).toEqual([]);
  });
});

test("chromeTrace: thread names, then items in Chrome's units", async () => {
  const x = tensor(new Float32Array(300_000), [300_000], cpu);
  const trace = await traceCpu(() => x.to('bfloat16').take());
  const events = chromeTrace(trace);
  expect(JSON.parse(JSON.stringify(events))).toEqual(events);
  expect(events.filter(({ ph }) => ph === 'M')).toEqual(
    trace.threads.map((name, tid) => ({
      ph: 'M',
      name: 'thread_name',
      pid: 1,
      tid,
      args: { name },
    })),
  );
  const items = events.filter((event) => event.ph === 'X');
  expect(items).toHaveLength(trace.events.length);
  items.forEach((event, at) => {
    const { kind, loop, item, thread, begin, end } = trace.events[at];
    expect(event).toMatchObject({ name: kind, tid: thread, args: { loop, item } });
    expect(event.ts).toBeCloseTo(begin / 1000, 9);
    expect(event.ts + event.dur).toBeCloseTo(end / 1000, 6);
  });
});
