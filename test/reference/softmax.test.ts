import fc from 'fast-check';
import {
  EMPTY_SOFTMAX,
  mergeSoftmax,
  mergeStates,
  onlineSoftmax,
  type SoftmaxState,
  safeSoftmax,
} from '../../lib/reference/index.js';
import { maxDifference, normal } from './random-problem.js';

const score = fc.oneof(
  { weight: 9, arbitrary: fc.double({ min: -800, max: 800, noNaN: true }) },
  { weight: 1, arbitrary: fc.constant(-Infinity) },
);
const scores = fc.array(score, { maxLength: 30 });
const sink = fc.oneof(fc.constant(-Infinity), fc.double({ min: -800, max: 800, noNaN: true }));

const softmaxes = [
  { name: 'safeSoftmax', softmax: safeSoftmax },
  { name: 'onlineSoftmax', softmax: onlineSoftmax },
];

describe.each(softmaxes)('$name', ({ softmax }) => {
  it('is the formula, where that does not overflow', () => {
    const x = [0.5, -1, 2, 0];
    const sum = x.reduce((total, s) => total + Math.exp(s), 0);
    const { p, lse } = softmax(x);
    x.forEach((s, j) => {
      expect(p[j]).toBeCloseTo(Math.exp(s) / sum, 15);
    });
    expect(lse).toBeCloseTo(Math.log(sum), 15);
  });

  it('sums to 1, less the share of the sink', () => {
    fc.assert(
      fc.property(scores, sink, (x, logit) => {
        const { p, lse } = softmax(x, logit);
        const total = p.reduce((sum, value) => sum + value, 0);
        const expected = lse === -Infinity ? 0 : 1 - Math.exp(logit - lse);
        expect(Math.abs(total - expected)).toBeLessThan(1e-12);
      }),
    );
  });

  it('does not change when a constant is added, and lse grows by it', () => {
    const x = [1, 2, 3];
    const far = softmax(x.map((s) => s + 5000));
    expect(maxDifference(far.p, softmax(x).p)).toBeLessThan(1e-12);
    expect(far.lse - 5000).toBeCloseTo(softmax(x).lse, 10);
  });

  it('gives 0 and -Infinity where nothing takes part', () => {
    expect(softmax([])).toEqual({ p: new Float64Array(0), lse: -Infinity });
    expect(softmax([-Infinity, -Infinity])).toEqual({ p: new Float64Array(2), lse: -Infinity });
  });

  it('gives the sink everything where nothing else takes part', () => {
    expect(softmax([-Infinity], 3)).toEqual({ p: new Float64Array(1), lse: 3 });
  });

  it('passes NaN on', () => {
    expect(softmax([1, NaN]).lse).toBeNaN();
  });
});

it('onlineSoftmax equals safeSoftmax', () => {
  fc.assert(
    fc.property(scores, sink, (x, logit) => {
      const safe = safeSoftmax(x, logit);
      const online = onlineSoftmax(x, logit);
      expect(maxDifference(online.p, safe.p)).toBeLessThan(1e-12);
      expect(maxDifference([online.lse], [safe.lse])).toBeLessThan(1e-10);
    }),
  );
});

describe('mergeSoftmax', () => {
  /** l grows with the number of inputs: compared relatively. m is a maximum: exact. */
  const expectEqual = (a: SoftmaxState, b: SoftmaxState) => {
    expect(a.m).toBe(b.m);
    expect(Math.abs(a.l - b.l)).toBeLessThanOrEqual(1e-12 * b.l);
  };
  const stateOf = (x: number[]) =>
    x.reduce<SoftmaxState>((state, m) => mergeSoftmax(state, { m, l: 1 }), EMPTY_SOFTMAX);

  it('is associative and commutative, with the empty state as its neutral element', () => {
    fc.assert(
      fc.property(scores, scores, scores, (x, y, z) => {
        const [a, b, c] = [x, y, z].map(stateOf);
        expectEqual(mergeSoftmax(mergeSoftmax(a, b), c), mergeSoftmax(a, mergeSoftmax(b, c)));
        expectEqual(mergeSoftmax(a, b), mergeSoftmax(b, a));
        expectEqual(mergeSoftmax(a, EMPTY_SOFTMAX), a);
        expectEqual(mergeSoftmax(EMPTY_SOFTMAX, a), a);
      }),
    );
  });

  it('makes of two halves what the whole would be', () => {
    fc.assert(
      fc.property(scores, scores, (x, y) => {
        expectEqual(mergeSoftmax(stateOf(x), stateOf(y)), stateOf([...x, ...y]));
      }),
    );
  });
});

describe('mergeStates', () => {
  const rows = 3;
  const cols = 4;
  const state = fc.record({
    seed: fc.integer(),
    lse: fc.array(score, { minLength: rows, maxLength: rows }),
  });
  const build = ({ seed, lse }: { seed: number; lse: number[] }) => ({
    lse: Float64Array.from(lse),
    out: lse.map((x, i) => (x === -Infinity ? new Float64Array(cols) : normal(cols, seed + i))),
  });

  it('is associative and commutative, with an empty state as its neutral element', () => {
    fc.assert(
      fc.property(state, state, state, (x, y, z) => {
        const [a, b, c] = [x, y, z].map(build);
        const none = build({ seed: 0, lse: Array(rows).fill(-Infinity) });
        for (const [one, other] of [
          [mergeStates(mergeStates(a, b), c), mergeStates(a, mergeStates(b, c))],
          [mergeStates(a, b), mergeStates(b, a)],
          [mergeStates(a, none), a],
          [mergeStates(none, a), a],
        ]) {
          expect(maxDifference(one.lse, other.lse)).toBeLessThan(1e-10);
          one.out.forEach((row, i) => {
            expect(maxDifference(row, other.out[i])).toBeLessThan(1e-10);
          });
        }
      }),
    );
  });

  it('weighs by lse, also where e^lse would overflow', () => {
    const one = { out: [Float64Array.of(1)], lse: Float64Array.of(2000 + Math.log(3)) };
    const other = { out: [Float64Array.of(5)], lse: Float64Array.of(2000) };
    const merged = mergeStates(one, other);
    expect(merged.out[0][0]).toBeCloseTo(2, 12); // (3 * 1 + 1 * 5) / 4
    expect(merged.lse[0]).toBeCloseTo(2000 + Math.log(4), 12);
  });

  it('leaves out a side without keys, whatever its output', () => {
    const one = { out: [Float64Array.of(1)], lse: Float64Array.of(0) };
    const none = { out: [Float64Array.of(0)], lse: Float64Array.of(-Infinity) };
    expect(mergeStates(one, none)).toEqual(one);
    expect(mergeStates(none, none)).toEqual(none);
  });
});
