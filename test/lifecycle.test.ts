/**
 * How environments end and what they leave: each scenario of fixtures/lifecycle.cjs in a process of
 * its own. Work called "long" takes a quarter of an hour unless it is interrupted; a process that
 * waited for it would be killed before, by SIGKILL.
 */
import { jest } from '@jest/globals';
import { runChild } from './support/child.js';

const clean = { status: 0, signal: null, stderr: '' };

async function scenario(name: string, env: Record<string, string> = {}) {
  const child = await runChild('lifecycle.cjs', [name], { flags: ['--expose-gc'], env });
  return { child, printed: child.stdout === '' ? undefined : JSON.parse(child.stdout) };
}

jest.setTimeout(90_000);

describe('the process', () => {
  test('ends naturally, with the result', async () => {
    const { child, printed } = await scenario('natural');
    expect(child).toMatchObject(clean);
    expect(printed).toEqual(new Array(64).fill(3));
  });

  test('stays alive until a pending read is settled', async () => {
    const { child, printed } = await scenario('pending read');
    expect(child).toMatchObject(clean);
    expect(printed).toBe(4096 * 8 * 64 * 4);
  });

  test('does not wait for work that nobody waits for', async () => {
    const { child, printed } = await scenario('unread work');
    expect(child).toMatchObject(clean);
    expect(printed).toBe('end');
  });

  test.each(['exit', 'exit at once'])('%s: process.exit() with work in flight', async (name) => {
    for (let i = 0; i < 5; i++) {
      const { child } = await scenario(name);
      expect(child).toMatchObject({ status: 7, signal: null, stderr: '' });
    }
  });

  test('ends with status 1 after an uncaught error with work in flight', async () => {
    const { child } = await scenario('uncaught error');
    expect(child).toMatchObject({ status: 1, signal: null });
    expect(child.stderr).toContain('nobody catches this');
  });

  test('rests and ends when idle, although tensors are alive', async () => {
    const { child, printed } = await scenario('idle');
    expect(child).toMatchObject(clean);
    expect(printed.kept).toBe(2);
    expect(printed.cpuMilliseconds).toBeLessThan(100);
  });
});

describe('worker threads', () => {
  test('can be terminated in mid-call; the others go on', async () => {
    const { child, printed } = await scenario('terminate worker');
    expect(child).toMatchObject(clean);
    expect(printed).toBe(64);
  });

  test('can end by process.exit(), by an error, or with work in flight', async () => {
    const { child, printed } = await scenario('worker ends by itself');
    expect(child).toMatchObject(clean);
    expect(printed).toEqual([5, 'thrown in the worker', 1, 0]);
  });

  test('eight at once compute the same and leave nothing', async () => {
    const { child, printed } = await scenario('eight workers');
    expect(child).toMatchObject(clean);
    const none = { tensors: 0, storages: 0, bytes: 0, scratch: 0, pools: [] };
    const { sum } = printed[0];
    expect(Number.isFinite(sum)).toBe(true);
    expect(printed).toEqual(new Array(8).fill({ sum, memory: none, code: 0 }));
  });
});

describe('memory', () => {
  test('results do not depend on what becomes of inputs after the call', async () => {
    const { child, printed } = await scenario('inputs go away');
    expect(child).toMatchObject(clean);
    expect(printed).toEqual([true, true, true]);
  });

  test('counters follow handles and shared storages, and return to zero', async () => {
    const { child, printed } = await scenario('counters');
    const none = { tensors: 0, storages: 0, bytes: 0, scratch: 0, pools: [] };
    expect(child).toMatchObject(clean);
    expect(printed).toEqual({
      before: none,
      one: { ...none, tensors: 2, storages: 1, bytes: 4000 },
      viewOnly: { ...none, tensors: 1, storages: 1, bytes: 4000 },
      disposed: none,
      collected: none,
    });
  });

  test('the garbage collector knows what dropped tensors weigh', async () => {
    const { child, printed } = await scenario('dropped memory');
    expect(child).toMatchObject(clean);
    expect(printed.most).toBeLessThan(8 * 2 ** 30);
  });

  test('what a loop drops that never yields does not pile up', async () => {
    const { child, printed } = await scenario('dropped memory of a loop');
    expect(child).toMatchObject(clean);
    expect(printed.most).toBeLessThan(8 * 2 ** 30); // of 16 GiB
  });
});

describe('the stream', () => {
  test('runs and settles in the order of the calls', async () => {
    const { child, printed } = await scenario('order');
    expect(child).toMatchObject(clean);
    const expected: unknown[] = [];
    for (let i = 0; i < 20; i++) {
      expected.push([i, 256]);
      if (i % 5 === 0) expected.push(`after ${i}`);
    }
    expect(printed).toEqual({ settled: expected, last: [1] });
  });

  test('blocks neither the event loop nor the pool of libuv', async () => {
    const { child, printed } = await scenario('event loop', { UV_THREADPOOL_SIZE: '1' });
    expect(child).toMatchObject({ status: null, signal: 'SIGTERM', stderr: '' });
    expect(printed).toEqual(['attention']);
  });
});
