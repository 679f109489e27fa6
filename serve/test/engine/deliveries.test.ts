import { setImmediate as nextTurn } from 'node:timers/promises';
import { Deliveries } from '../../src/engine/deliveries.js';

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

test('at most so many in a turn, in order, and none is lost', async () => {
  const got: number[] = [];
  const deliveries = new Deliveries<number>((item) => got.push(item), 64);
  deliveries.add(numbers(0, 200));
  const turns = [got.length];
  deliveries.add(numbers(200, 230));
  expect(got).toHaveLength(64); // others wait: these go behind them
  while (got.length < 230) {
    await nextTurn();
    turns.push(got.length);
  }
  expect(turns).toEqual([64, 128, 192, 230]);
  expect(got).toEqual(numbers(0, 230));
});

test('a few go on at once', async () => {
  const got: number[] = [];
  const deliveries = new Deliveries<number>((item) => got.push(item), 64);
  for (const item of numbers(0, 10)) deliveries.add([item]);
  expect(got).toEqual(numbers(0, 10));
});

test('flush: all that wait, once', async () => {
  const got: number[] = [];
  const deliveries = new Deliveries<number>((item) => got.push(item), 8);
  deliveries.add(numbers(0, 30));
  deliveries.flush();
  expect(got).toEqual(numbers(0, 30));
  await nextTurn();
  deliveries.add([30]);
  await nextTurn();
  expect(got).toEqual(numbers(0, 31));
});
