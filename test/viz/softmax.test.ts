import fc from 'fast-check';
import { lazy, online, safe, subscript } from '../../viz/softmax/passes.js';

const scores = fc.array(
  fc.integer({ min: -16, max: 16 }).map((x) => x / 2),
  {
    minLength: 1,
    maxLength: 12,
  },
);

test('the three ways give the same probabilities and lse, whatever the chunk', () => {
  fc.assert(
    fc.property(scores, fc.integer({ min: 1, max: 12 }), (x, chunk) => {
      const expected = safe(x);
      for (const way of [online(x), lazy(x, chunk)]) {
        expect(way.lse).toBeCloseTo(expected.lse, 12);
        way.p.forEach((p, j) => {
          expect(p).toBeCloseTo(expected.p[j], 14);
        });
      }
    }),
  );
});

test('the last of what safe and online know is the softmax of the row', () => {
  fc.assert(
    fc.property(scores, (x) => {
      for (const { moments, lse } of [safe(x), online(x)]) {
        expect(moments).toHaveLength(x.length);
        const { m, l } = moments[x.length - 1];
        expect(m).toBe(Math.max(...x));
        expect(m + Math.log(l)).toBeCloseTo(lse, 12);
      }
    }),
  );
});

test('chunks of lazy are each on their own, and add up to the row', () => {
  const x = [1, 4, -2, 3, 0];
  const { moments, lse } = lazy(x, 2);
  expect(moments.map(({ what, m }) => [what, m])).toEqual([
    ['x₀ … x₁', 4],
    ['x₂ … x₃', 3],
    ['x₄', 0],
  ]);
  const sum = moments.reduce((total, { m, l }) => total + l * Math.exp(m), 0);
  expect(Math.log(sum)).toBeCloseTo(lse, 12);
});

test('indices of two digits are written below the line', () => {
  expect(subscript(10)).toBe('₁₀');
});
