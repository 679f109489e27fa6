import { EventEmitter } from 'node:events';
import { jest } from '@jest/globals';
import { stopOnSignal } from '../../src/cli/stop-on-signal.js';

/** A process that notes how it ended. */
class Source extends EventEmitter {
  readonly pid = 42;
  readonly exit = jest.fn<(code: number) => void>();
  readonly kill = jest.fn<(pid: number, signal: NodeJS.Signals) => void>();
}

let logged: jest.SpiedFunction<typeof console.error>;
beforeEach(() => {
  logged = jest.spyOn(console, 'error').mockImplementation(() => {});
});
afterEach(() => logged.mockRestore());

beforeEach(() => jest.useFakeTimers({ doNotFake: ['setImmediate'] }));
afterEach(() => jest.useRealTimers());

/** The signals have come, and the server has closed where `closes` says so. */
async function afterSignals(signals: string[], stuck: boolean, closes: boolean) {
  const source = new Source();
  const close = jest.fn((_drain: number) =>
    closes ? Promise.resolve() : new Promise<void>(() => {}),
  );
  stopOnSignal({ close }, { stuck }, 5000, source);
  for (const signal of signals) source.emit(signal, signal);
  await new Promise(setImmediate);
  return { source, close };
}

test('a signal closes the server and leaves the rest to the event loop', async () => {
  const { source, close } = await afterSignals(['SIGTERM'], false, true);
  expect(close.mock.calls).toEqual([[5000]]);
  expect(logged).toHaveBeenCalledWith('SIGTERM: answers have 5 s to end');
  expect(source.exit).not.toHaveBeenCalled();
  expect(source.kill).not.toHaveBeenCalled();
});

test('a process that something else keeps alive is ended once the server has closed', async () => {
  const { source } = await afterSignals(['SIGTERM'], false, true);
  expect(jest.getTimerCount()).toBe(1);
  jest.advanceTimersByTime(1000);
  expect(source.exit.mock.calls).toEqual([[0]]);
});

test.each([false, true])('a server that does not close is left (stuck: %s)', async (stuck) => {
  const { source } = await afterSignals(['SIGTERM'], stuck, false);
  jest.advanceTimersByTime(29_999);
  expect(source.exit).not.toHaveBeenCalled();
  jest.advanceTimersByTime(1);
  expect(source.exit.mock.calls).toEqual(stuck ? [] : [[1]]);
  expect(source.kill.mock.calls).toEqual(stuck ? [[42, 'SIGKILL']] : []);
});

test('a second signal does not wait', async () => {
  const { source, close } = await afterSignals(['SIGTERM', 'SIGINT'], false, false);
  expect(close).toHaveBeenCalledTimes(1);
  expect(source.exit.mock.calls).toEqual([[1]]);
});

test('with a stuck thread, which exit would wait for, the process is killed', async () => {
  const closed = await afterSignals(['SIGTERM'], true, true);
  expect(closed.source.kill.mock.calls).toEqual([[42, 'SIGKILL']]);
  const waiting = await afterSignals(['SIGTERM'], true, false);
  expect(waiting.source.kill).not.toHaveBeenCalled();
  const impatient = await afterSignals(['SIGTERM', 'SIGTERM'], true, false);
  expect(impatient.source.kill.mock.calls).toEqual([[42, 'SIGKILL']]);
  expect(impatient.source.exit).not.toHaveBeenCalled();
});
