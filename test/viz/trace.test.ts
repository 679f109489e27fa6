import { chromeTrace, explain, flashAttention, randn, traceCpu } from '../../lib/index.js';
import { readTrace } from '../../viz/model/trace.js';

test('a trace is read as it was recorded', async () => {
  const [q, k, v] = [1n, 2n, 3n].map((seed) => randn([1, 300, 4, 32], { device: 'cpu', seed }));
  const trace = await traceCpu(() => flashAttention(q, k, v).take());
  const timeline = readTrace(JSON.stringify(chromeTrace(trace)));
  expect(timeline.kinds).toEqual(['attention']);
  const names = timeline.threads.map(({ name }) => name);
  expect([...names].sort()).toEqual([...trace.threads].sort());
  expect(names[0] === 'caller' || !names.includes('caller')).toBe(true);
  const items = timeline.threads.flatMap((thread) => thread.items);
  expect(items).toHaveLength(explain(q, k, v).workItems);
  const ends = trace.events.map(({ end }) => end);
  const first = Math.min(...trace.events.map(({ begin }) => begin));
  expect(timeline.duration).toBeCloseTo((Math.max(...ends) - first) / 1000, 6);
  const busy = trace.events.reduce((sum, { begin, end }) => sum + end - begin, 0);
  expect(timeline.threads.reduce((sum, thread) => sum + thread.busy, 0)).toBeCloseTo(
    busy / 1000,
    6,
  );
});

const item = { ph: 'X', name: 'attention', tid: 0, ts: 1, dur: 2, args: { item: 0 } };

test.each([
  ['no JSON', 'tiles', /no JSON/],
  ['an object', '{}', /Expected an array/],
  ['nothing', '[]', /no event/],
  ['names alone', [{ ph: 'M', tid: 0, args: { name: 'pool 1' } }], /no event/],
  ['null', [null], /Event 0/],
  ['another phase', [item, { ...item, ph: 'B' }], /Event 1/],
  ['a time before the beginning', [{ ...item, ts: -1 }], /Event 0/],
  ['no number of an item', [{ ...item, args: {} }], /Event 0/],
])('%s is no trace', (_, given, message) => {
  expect(() => readTrace(typeof given === 'string' ? given : JSON.stringify(given))).toThrow(
    message,
  );
});
