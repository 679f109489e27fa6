import { setImmediate as nextTurn } from 'node:timers/promises';
import { Deliveries } from '../../src/engine/deliveries.js';

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
/** Tokens of as many answers in turn. */
const items = (from: number, to: number, answers = 1) =>
  numbers(from, to).map((token) => ({ id: token % answers, token }));

function collecting(perTurn: number) {
  const got: number[] = [];
  const deliveries = new Deliveries<{ id: number; token: number }>(
    ({ token }) => got.push(token),
    perTurn,
  );
  return { got, deliveries };
}

test('at most so many in a turn, in order, and none is lost', async () => {
  const { got, deliveries } = collecting(64);
  deliveries.add(items(0, 200));
  const turns = [got.length];
  deliveries.add(items(200, 230));
  expect(got).toHaveLength(64); // others wait: these go behind them
  while (got.length < 230) {
    await nextTurn();
    turns.push(got.length);
  }
  expect(turns).toEqual([64, 128, 192, 230]);
  expect(got).toEqual(numbers(0, 230));
});

test('messages that come in one turn share what it has room for', async () => {
  const { got, deliveries } = collecting(8);
  for (let message = 0; message < 10; message++)
    deliveries.add(items(2 * message, 2 * message + 2));
  expect(got).toEqual(numbers(0, 8));
  await nextTurn();
  expect(got).toEqual(numbers(0, 16));
  await nextTurn();
  expect(got).toEqual(numbers(0, 20));
});

test('what waits for an answer is handed on together, and all have their turn', async () => {
  const { got, deliveries } = collecting(4);
  deliveries.add(items(0, 18, 3));
  expect(got).toEqual([0, 3, 6, 9]);
  await nextTurn();
  expect(got.slice(4)).toEqual([1, 4, 7, 10]);
  await nextTurn();
  expect(got.slice(8)).toEqual([2, 5, 8, 11]);
  await nextTurn();
  expect(got.slice(12)).toEqual([12, 15, 13, 16]);
  await nextTurn();
  expect(got.slice(16)).toEqual([14, 17]);
});

test('flush: all that wait, once', async () => {
  const { got, deliveries } = collecting(8);
  deliveries.add(items(0, 30));
  deliveries.flush();
  expect(got).toEqual(numbers(0, 30));
  await nextTurn();
  deliveries.add(items(30, 31));
  await nextTurn();
  expect(got).toEqual(numbers(0, 31));
});
