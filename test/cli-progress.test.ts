import { jest } from '@jest/globals';
import { Progress, withProgress } from '../lib/cli/progress.js';

let printed: string[];
const isTTY = process.stderr.isTTY;

beforeEach(() => {
  printed = [];
  jest.useFakeTimers();
  jest.spyOn(process.stderr, 'write').mockImplementation((text) => {
    printed.push(String(text));
    return true;
  });
});

afterEach(() => {
  jest.restoreAllMocks();
  jest.useRealTimers();
  process.stderr.isTTY = isTTY;
});

describe('progress where stderr is no terminal', () => {
  beforeEach(() => {
    process.stderr.isTTY = false;
  });

  test('says nothing about work of less than a second', async () => {
    await withProgress('quick', 10, async (progress) => {
      jest.advanceTimersByTime(900);
      progress.update(9);
    });
    jest.advanceTimersByTime(10_000);
    expect(printed).toEqual([]);
  });

  test('gives a line after a second, then every five', () => {
    const progress = new Progress('reading q.npy', 200);
    progress.update(50);
    for (let second = 1; second <= 12; second++) {
      jest.advanceTimersByTime(1000);
      progress.update(50 + 10 * second);
    }
    progress.stop();
    expect(printed).toEqual([
      'reading q.npy: 25 %, 1 s\n',
      'reading q.npy: 50 %, 6 s\n',
      'reading q.npy: 75 %, 11 s\n',
    ]);
  });

  test('shows the time alone where there is no total', () => {
    const progress = new Progress('attention');
    jest.advanceTimersByTime(6500);
    progress.stop();
    expect(printed).toEqual(['attention: 1 s\n', 'attention: 6 s\n']);
  });

  test('ends with work that fails', async () => {
    const failing = withProgress('failing', 1, () => Promise.reject(new Error('no luck')));
    await expect(failing).rejects.toThrow('no luck');
    expect(jest.getTimerCount()).toBe(0);
  });
});

test('on a terminal, progress is a bar that goes away', () => {
  process.stderr.isTTY = true;
  const progress = new Progress('checking', 4);
  jest.advanceTimersByTime(1500);
  progress.update(2);
  jest.advanceTimersByTime(1500);
  const shown = printed.join('');
  expect(shown).toContain('checking');
  expect(shown).toMatch(/50\s?%/);
  expect(shown).toContain('3 s');
  progress.stop();
  expect(jest.getTimerCount()).toBe(0);
});
