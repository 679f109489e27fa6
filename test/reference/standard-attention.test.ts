import fc from 'fast-check';
import {
  dropoutFactor,
  type ReferenceProblem,
  roundToBfloat16,
  roundToFloat16,
  standardAttention,
} from '../../lib/reference/index.js';
import { maxDifference, normal, randomInputs, randomProblems, shapeOf } from './random-problem.js';

/**
 * The definition of attention, pair by pair and without any concern for overflow: written from the
 * semantics of the package, sharing nothing with the pages under test but the dropout mask.
 */
function definition(problem: ReferenceProblem) {
  const { shape, q, k, v } = problem;
  const { batch, seqlenQ, seqlenK, heads, headDim } = shape;
  const kvHeads = shape.kvHeads ?? heads;
  const headDimV = shape.headDimV ?? headDim;
  const rows = Array.from(problem.queryRows ?? Array(seqlenQ).keys());
  const out: number[] = [];
  const lse = new Float64Array(batch * heads * rows.length);
  const [left, right] = problem.window ?? [Infinity, Infinity];
  const mask = problem.mask && { ...problem.mask, shape: [...problem.mask.shape] };
  while (mask && mask.shape.length < 4) mask.shape.unshift(1);

  for (let b = 0; b < batch; b++) {
    const Sq = problem.seqlensQ?.[b] ?? seqlenQ;
    const Sk = problem.seqlensK?.[b] ?? seqlenK;
    for (const [row, i] of rows.entries()) {
      for (let h = 0; h < heads; h++) {
        const g = Math.trunc((h * kvHeads) / heads);
        const p = i + Sk - Sq;
        let denominator = problem.sinks && i < Sq ? Math.exp(problem.sinks[h]) : 0;
        const numerator = new Float64Array(headDimV);
        for (let j = 0; i < Sq && j < Sk; j++) {
          if (problem.causal && j > p) continue;
          if (j > p + right) continue;
          if (j < p - left && !(j < (problem.sinkTokens ?? 0))) continue;
          if (problem.visible && !problem.visible(b, h, i, j)) continue;
          let s = 0;
          for (let c = 0; c < headDim; c++) {
            const x = q[((b * seqlenQ + i) * heads + h) * headDim + c];
            s += x * k[((b * seqlenK + j) * kvHeads + g) * headDim + c];
          }
          s *= problem.scale ?? headDim ** -0.5;
          if (problem.softcap) s = problem.softcap * Math.tanh(s / problem.softcap);
          const slopes = problem.alibiSlopes;
          if (slopes) s -= slopes[slopes.length === heads ? h : b * heads + h] * Math.abs(p - j);
          if (mask) {
            const at = [b, h, i, j].map((index, dim) => (mask.shape[dim] === 1 ? 0 : index));
            const value = mask.data[at.reduce((n, index, dim) => n * mask.shape[dim] + index, 0)];
            if (!(mask.data instanceof Uint8Array)) s += value;
            else if (value === 0) continue;
          }
          const weight = Math.exp(s);
          denominator += weight;
          const keep = problem.dropout ? dropoutFactor(problem.dropout, b * heads + h)(i, j) : 1;
          for (let c = 0; c < headDimV; c++) {
            numerator[c] += weight * keep * v[((b * seqlenK + j) * kvHeads + g) * headDimV + c];
          }
        }
        lse[(b * heads + h) * rows.length + row] = Math.log(denominator);
        out.push(...numerator.map((x) => (denominator > 0 ? x / denominator : 0)));
      }
    }
  }
  return { out, lse };
}

it('is the definition, for any combination of options', () => {
  fc.assert(
    fc.property(randomProblems(12), (problem) => {
      const { out, lse } = standardAttention(problem);
      const expected = definition(problem);
      expect(maxDifference(out, expected.out)).toBeLessThan(1e-11);
      expect(maxDifference(lse, expected.lse)).toBeLessThan(1e-11);
    }),
    { numRuns: 400 },
  );
});

it('computes in float64 also from float32 inputs', () => {
  const { shape, q, k, v } = randomInputs(shapeOf({ seqlenQ: 9, seqlenK: 11 }), 1);
  const narrow = {
    shape,
    q: Float32Array.from(q),
    k: Float32Array.from(k),
    v: Float32Array.from(v),
  };
  const wide = {
    shape,
    q: Float64Array.from(narrow.q),
    k: Float64Array.from(narrow.k),
    v: Float64Array.from(narrow.v),
  };
  expect(standardAttention(narrow)).toEqual(standardAttention(wide));
});

describe('positions', () => {
  /**
   * Which keys each query sees, found by making the values unit vectors: "110" = the first two of
   * three.
   */
  function seen(seqlenQ: number, seqlenK: number, options: object): string[] {
    const shape = shapeOf({ seqlenQ, seqlenK, headDim: 2, headDimV: seqlenK });
    const { q, k } = randomInputs(shape, 5);
    const v = Float64Array.from({ length: seqlenK * seqlenK }, (_, n) =>
      n % (seqlenK + 1) === 0 ? 1 : 0,
    );
    const { out } = standardAttention({ shape, q, k, v, ...options });
    return Array.from({ length: seqlenQ }, (_, i) =>
      [...out.slice(i * seqlenK, (i + 1) * seqlenK)].map((x) => (x > 0 ? 1 : 0)).join(''),
    );
  }

  it('aligns causal attention at the bottom right', () => {
    expect(seen(2, 4, { causal: true })).toEqual(['1110', '1111']);
    expect(seen(4, 2, { causal: true })).toEqual(['00', '00', '10', '11']);
    expect(seen(3, 3, { causal: true })).toEqual(['100', '110', '111']);
  });

  it('counts windows from the diagonal, also with negative bounds', () => {
    expect(seen(4, 4, { window: [1, 0] })).toEqual(['1000', '1100', '0110', '0011']);
    expect(seen(4, 4, { window: [0, 1] })).toEqual(['1100', '0110', '0011', '0001']);
    expect(seen(4, 4, { window: [2, -1] })).toEqual(['0000', '1000', '1100', '0110']);
    expect(seen(4, 4, { window: [-1, Infinity] })).toEqual(['0111', '0011', '0001', '0000']);
    expect(seen(4, 4, { window: [1, 2], causal: true })).toEqual(['1000', '1100', '0110', '0011']);
  });

  it('makes top-left causal of a window', () => {
    expect(seen(2, 4, { window: [Infinity, 2 - 4] })).toEqual(['1000', '1100']);
  });

  it('lifts the left bound only, for sink tokens', () => {
    expect(seen(4, 4, { window: [0, 0], sinkTokens: 1 })).toEqual(['1000', '1100', '1010', '1001']);
    expect(seen(3, 3, { window: [Infinity, -1], sinkTokens: 2 })).toEqual(['000', '100', '110']);
  });

  it('counts positions with the actual lengths', () => {
    expect(seen(2, 4, { causal: true, seqlensK: [3] })).toEqual(['1100', '1110']);
    expect(seen(3, 4, { causal: true, seqlensQ: [2] })).toEqual(['1110', '1111', '0000']);
  });

  it('computes the wanted rows only', () => {
    expect(seen(4, 4, { causal: true })[2]).toBe('1110');
    const shape = shapeOf({ seqlenQ: 4, seqlenK: 4, heads: 2 });
    const problem = { ...randomInputs(shape, 6), causal: true };
    const whole = standardAttention(problem);
    const some = standardAttention({ ...problem, queryRows: [3, 1] });
    const row = shape.heads * shape.headDimV;
    expect([...some.out]).toEqual([...whole.out.slice(3 * row), ...whole.out.slice(row, 2 * row)]);
    expect([...some.lse]).toEqual([3, 1, 7, 5].map((n) => whole.lse[n]));
  });
});

describe('rows that see nothing', () => {
  const shape = shapeOf({ seqlenQ: 3, seqlenK: 2, heads: 2 });
  const inputs = randomInputs(shape, 7);

  it('are 0, with lse -Infinity', () => {
    const { out, lse } = standardAttention({ ...inputs, visible: () => false });
    expect([...out]).toEqual(Array(out.length).fill(0));
    expect([...lse]).toEqual(Array(lse.length).fill(-Infinity));
  });

  it('have the sink as lse', () => {
    const { out, lse } = standardAttention({ ...inputs, visible: () => false, sinks: [2, -3] });
    expect([...out]).toEqual(Array(out.length).fill(0));
    expect([...lse]).toEqual([2, 2, 2, -3, -3, -3]);
  });

  it('come of no keys at all', () => {
    const none = randomInputs(shapeOf({ seqlenQ: 2, seqlenK: 0 }), 8);
    const { out, lse } = standardAttention(none);
    expect([...out]).toEqual(Array(8).fill(0));
    expect([...lse]).toEqual([-Infinity, -Infinity]);
  });
});

it('survives scores far beyond the range of exp', () => {
  const shape = shapeOf({ seqlenQ: 1, seqlenK: 2, headDim: 1 });
  const q = Float64Array.of(1);
  const v = Float64Array.of(10, 20);
  const { out, lse } = standardAttention({ shape, q, k: Float64Array.of(1e6, 1e6), v });
  expect(out[0]).toBe(15);
  expect(lse[0]).toBe(1e6 + Math.log(2));
  expect(standardAttention({ shape, q, k: Float64Array.of(-1e6, 1e6), v }).out[0]).toBe(20);
});

describe('precision', () => {
  const shape = shapeOf({ seqlenQ: 33, seqlenK: 65, heads: 2, headDim: 16 });
  const round = (x: Float64Array) => x.map(roundToBfloat16);
  const { q, k, v } = randomInputs(shape, 9);
  const problem = { shape, q: round(q), k: round(k), v: round(v), causal: true };
  const exact = standardAttention(problem).out;
  const errorOf = (precision: 'float64' | 'float32' | 'float16' | 'bfloat16') =>
    maxDifference(standardAttention(problem, { precision }).out, exact);

  it('makes the error that rounding to the type must make', () => {
    expect(errorOf('float64')).toBe(0);
    // Outputs are of the order of 1, so half a unit in their last place is the least that can be
    // hoped for, and S and P add a few units more.
    for (const [precision, unit] of [
      ['float32', 2 ** -24],
      ['float16', 2 ** -11],
      ['bfloat16', 2 ** -8],
    ] as const) {
      expect(errorOf(precision)).toBeGreaterThan(unit / 4);
      expect(errorOf(precision)).toBeLessThan(16 * unit);
    }
  });

  it('stores scores in the type, the product and then its sum with a bias', () => {
    // With a single key, lse is the score.
    const single = randomInputs(shapeOf({ seqlenQ: 8, seqlenK: 1, headDim: 16 }), 14);
    const mask = { data: normal(8, 15), shape: [8, 1] };
    const product = standardAttention(single, { precision: 'float16' }).lse;
    expect(product).toEqual(standardAttention(single).lse.map(roundToFloat16));
    const sum = standardAttention({ ...single, mask }, { precision: 'float16' }).lse;
    expect(sum).toEqual(product.map((s, i) => roundToFloat16(s + mask.data[i])));
  });

  it('stores the output in the type', () => {
    for (const [precision, roundTo] of [
      ['float32', Math.fround],
      ['float16', roundToFloat16],
      ['bfloat16', roundToBfloat16],
    ] as const) {
      const { out } = standardAttention(problem, { precision });
      expect(out).toEqual(out.map(roundTo));
    }
  });
});

it('never reads what is masked', () => {
  const shape = shapeOf({ batch: 2, seqlenQ: 6, seqlenK: 6, heads: 2, kvHeads: 1 });
  const clean = randomInputs(shape, 10);
  const hidden = [1, 4, 5]; // of the 6 keys
  const spoilt = (x: Float64Array) =>
    x.map((value, n) => (hidden.includes(Math.floor(n / shape.headDim) % 6) ? NaN : value));
  const visibleKeys = Uint8Array.from({ length: 6 }, (_, j) => (hidden.includes(j) ? 0 : 1));
  const bias = Float64Array.from(visibleKeys, (x) => (x ? 0.5 : -Infinity));
  for (const options of [
    { mask: { data: visibleKeys, shape: [6] } },
    { mask: { data: bias, shape: [1, 6] } },
    { visible: (_b: number, _h: number, _i: number, j: number) => visibleKeys[j] === 1 },
  ]) {
    const expected = standardAttention({ ...clean, ...options });
    const problem = { ...clean, k: spoilt(clean.k), v: spoilt(clean.v), ...options };
    expect(standardAttention(problem)).toEqual(expected);
  }
});

it('gives GQA what repeated keys and values give', () => {
  const shape = shapeOf({ batch: 2, heads: 6, kvHeads: 2, headDimV: 3 });
  const problem = randomInputs(shape, 11);
  const repeat = (x: Float64Array, dim: number) =>
    Float64Array.from({ length: x.length * 3 }, (_, n) => {
      const [position, head, c] = [Math.floor(n / dim / 6), Math.floor(n / dim) % 6, n % dim];
      return x[(position * 2 + Math.floor(head / 3)) * dim + c];
    });
  const repeated = {
    shape: { ...shape, kvHeads: 6 },
    q: problem.q,
    k: repeat(problem.k, shape.headDim),
    v: repeat(problem.v, shape.headDimV),
  };
  expect(standardAttention(problem)).toEqual(standardAttention(repeated));
});

it('takes ALiBi slopes per head or per batch and head', () => {
  const shape = shapeOf({ batch: 2, heads: 3 });
  const inputs = randomInputs(shape, 12);
  const slopes = normal(3, 13);
  expect(standardAttention({ ...inputs, alibiSlopes: slopes })).toEqual(
    standardAttention({ ...inputs, alibiSlopes: [...slopes, ...slopes] }),
  );
});
