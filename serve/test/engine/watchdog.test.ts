import { jest } from '@jest/globals';
import { Heartbeat, watch } from '../../src/engine/watchdog.js';

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

function watched() {
  const heartbeat = new Heartbeat();
  const state = { busy: true };
  const onHang = jest.fn();
  const stop = watch({ heartbeat, limit: 1000, isBusy: () => state.busy, onHang });
  return { heartbeat, state, onHang, stop };
}

test('a thread that is busy and silent for longer than the limit hangs, once', () => {
  const { onHang } = watched();
  jest.advanceTimersByTime(1000);
  expect(onHang).not.toHaveBeenCalled();
  jest.advanceTimersByTime(10_000);
  expect(onHang).toHaveBeenCalledTimes(1);
  expect(jest.getTimerCount()).toBe(0);
});

test('one that shows a heartbeat within the limit does not', () => {
  const { heartbeat, onHang } = watched();
  for (let beats = 0; beats < 20; beats++) {
    jest.advanceTimersByTime(900);
    heartbeat.beat();
  }
  expect(onHang).not.toHaveBeenCalled();
});

test('one that has nothing to do does not, and has the whole limit once it has', () => {
  const { state, onHang } = watched();
  state.busy = false;
  jest.advanceTimersByTime(10_000);
  state.busy = true;
  jest.advanceTimersByTime(1000);
  expect(onHang).not.toHaveBeenCalled();
  jest.advanceTimersByTime(100);
  expect(onHang).toHaveBeenCalledTimes(1);
});

test('a process that was held as a whole has lost one look', () => {
  const { onHang } = watched();
  jest.setSystemTime(Date.now() + 60_000);
  jest.advanceTimersByTime(1000);
  expect(onHang).not.toHaveBeenCalled();
});

test('stopping it ends it', () => {
  const { onHang, stop } = watched();
  stop();
  jest.advanceTimersByTime(10_000);
  expect(onHang).not.toHaveBeenCalled();
});
