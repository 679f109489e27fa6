// The arithmetic of a cut, beside lists of tokens.
import fc from 'fast-check';
import { partOf, tokensOn } from '../../../lib/serving/context/cut.js';
import { type Reach, rowRuns, visibleKeys } from '../../../lib/serving/context/visible-keys.js';

const cuts = fc.record({
  parts: fc.integer({ min: 1, max: 4 }),
  tokensPerRun: fc.integer({ min: 1, max: 7 }),
});
const reaches: fc.Arbitrary<Reach> = fc.record({
  left: fc.constantFrom(Infinity, 0, 1, 5, 11, -2),
  right: fc.constantFrom(0, 0, -1, -4),
  sinkTokens: fc.constantFrom(0, 0, 1, 3, 9),
});

/** The tokens of a part. */
function tokensOf(cut: { parts: number; tokensPerRun: number; part: number }, length: number) {
  const all = Array.from({ length }, (_, token) => token);
  return all.filter((token) => partOf(cut, token) === cut.part);
}

const isSeen = (token: number, position: number, { left, right, sinkTokens }: Reach) =>
  token <= position + right && (token >= position - left || token < sinkTokens);

test('each token lies on one part, and parts count theirs', () => {
  fc.assert(
    fc.property(cuts, fc.nat(60), (cut, length) => {
      for (let part = 0; part < cut.parts; part++) {
        const own = { ...cut, part };
        expect(tokensOn(own, length)).toBe(tokensOf(own, length).length);
      }
    }),
  );
});

test('a query sees of all parts what it sees of the sequence', () => {
  fc.assert(
    fc.property(cuts, fc.nat(50), reaches, (cut, position, reach) => {
      for (let part = 0; part < cut.parts; part++) {
        const own = { ...cut, part };
        const sinks = tokensOn(own, reach.sinkTokens);
        const { begin, end } = visibleKeys(own, position, reach);
        const tokens = tokensOf(own, position + 1);
        const seen = tokens.filter((_, j) => j < end && (j >= begin || j < sinks));
        expect(seen.join()).toBe(tokens.filter((token) => isSeen(token, position, reach)).join());
      }
    }),
    { numRuns: 1000 },
  );
});

test('runs of rows say of every row what it sees, as kernels understand a window', () => {
  fc.assert(
    fc.property(
      cuts,
      fc.nat(40),
      fc.integer({ min: 1, max: 30 }),
      reaches,
      (cut, length, rows, reach) => {
        for (let part = 0; part < cut.parts; part++) {
          const own = { ...cut, part };
          const sinks = tokensOn(own, reach.sinkTokens);
          const visible = Array.from({ length: rows }, (_, i) =>
            visibleKeys(own, length + i, reach),
          );
          let next = 0;
          for (const run of rowRuns(visible)) {
            expect(run.row).toBe(next);
            next += run.rows;
            for (let i = 0; i < run.rows; i++) {
              const position = i + run.keys - run.rows;
              const { begin, end } = visible[run.row + i];
              const told = (j: number) =>
                j < run.keys &&
                j <= position + run.right &&
                (j >= position - run.left || j < sinks);
              const keys = Array.from({ length: tokensOn(own, length + rows) }, (_, j) => j);
              expect(keys.filter(told).join()).toBe(
                keys.filter((j) => j < end && (j >= begin || j < sinks)).join(),
              );
            }
          }
          expect(next).toBe(rows);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('rows of a prompt are few runs', () => {
  const cut = { parts: 3, tokensPerRun: 16, part: 1 };
  const reach = { left: Infinity, right: 0, sinkTokens: 0 };
  const visible = Array.from({ length: 96 }, (_, i) => visibleKeys(cut, i, reach));
  expect(rowRuns(visible).length).toBeLessThanOrEqual(6);
});
