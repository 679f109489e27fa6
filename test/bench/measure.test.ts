// How the benchmark times contestants against each other, and what it says of the machine.
import { alternate } from '../../bench/measure.js';
import { tableOf } from '../../bench/report/table.js';
import { intervalOf, isSteady } from '../../bench/spread.js';

describe('the interval of a median', () => {
  // Tables of order statistics: the k-th least and the k-th greatest of n.
  it.each([
    [6, 1],
    [9, 2],
    [10, 2],
    [20, 6],
    [50, 18],
  ])('of %i measurements begins at number %i', (n, k) => {
    const values = Array.from({ length: n }, (_, i) => n - i);
    const { count, low, high } = intervalOf(values);
    expect([count, low, high]).toEqual([n, k, n + 1 - k]);
  });

  it('of fewer than six is all of them', () => {
    expect(intervalOf([3, 1, 2])).toEqual({ count: 3, median: 2, low: 1, high: 3 });
  });
});

it('a limit is steady that moves by 15 % at most', () => {
  expect([isSteady(85, 100), isSteady(84, 100), isSteady(0, 0)]).toEqual([true, false, false]);
});

describe('contestants take turns', () => {
  const order: string[] = [];
  const contestant = (name: string) => ({
    name,
    call: async () => {
      order.push(name);
    },
  });
  const pace = { rounds: 3, turnSeconds: 0, patienceSeconds: 0 };

  it('each round begins with another one, and a pair of turns a round makes the ratio', async () => {
    const all = [contestant('a'), contestant('b')];
    const { ratio, times } = await alternate(all, [], pace);
    const turns = order.filter((name, at) => name !== order[at - 1]);
    expect(turns).toEqual(['a', 'b', 'a', 'b']);
    expect(times.get('a')?.count).toBe(3);
    expect(ratio('a', 'a')).toEqual({ count: 3, median: 1, low: 1, high: 1 });
    expect(ratio('b', 'a').count).toBe(3);
  });
});

it('the table shows a ratio from pairs with its interval', () => {
  const row = {
    suite: 'encoder',
    group: 'g',
    x: 128,
    who: 'onnxruntime Attention',
    toOurs: { count: 9, median: 1.5, low: 1.4, high: 1.6 },
  };
  const { titles, lines } = tableOf([row], [row]);
  const cells = Object.fromEntries(titles.map((title, at) => [title, lines[0][at]]));
  expect(cells).toMatchObject({ 'to ours': '1.50x', '95 % within': '1.40x to 1.60x' });
});
