import fc from 'fast-check';
import {
  flashAttention2,
  flashAttentionBackward,
  type ReferenceOptions,
  type ReferenceProblem,
  roundToBfloat16,
  standardAttention,
  standardAttentionBackward,
} from '../../lib/reference/index.js';
import { maxDifference, normal, randomInputs, randomProblems, shapeOf } from './random-problem.js';

/**
 * The gradient of f at x by central differences of fourth order: its error is h^4 f^(5) / 30, about
 * 1e-12 here, and what rounding adds is about 1e-16 / h.
 */
function finiteDifferences(x: Float64Array, f: () => number): Float64Array {
  const h = 1e-3;
  const at = (n: number, value: number) => {
    const before = x[n];
    x[n] = value;
    const result = f();
    x[n] = before;
    return result;
  };
  return Float64Array.from(x, (x0, n) => {
    const near = at(n, x0 + h) - at(n, x0 - h);
    const far = at(n, x0 + 2 * h) - at(n, x0 - 2 * h);
    return (8 * near - far) / (12 * h);
  });
}

/** A gradient to start from, in the shape of the output. */
function gradientFor(problem: ReferenceProblem, seed: number): Float64Array {
  return normal(standardAttention(problem).out.length, seed);
}

function flashBackward(problem: ReferenceProblem, dOut: Float64Array, blockQ = 2, blockK = 3) {
  return flashAttentionBackward(problem, { dOut, ...flashAttention2(problem) }, { blockQ, blockK });
}

const shape = shapeOf({ batch: 2, seqlenQ: 4, seqlenK: 5, heads: 2, headDim: 3 });
const floatMask = normal(4 * 5, 50).map((x, n) => (n % 6 === 0 ? -Infinity : x));

const cases: [string, Partial<typeof shape>, ReferenceOptions][] = [
  ['nothing else', {}, {}],
  ['a scale', {}, { scale: 0.3 }],
  ['causal', {}, { causal: true }],
  ['more queries than keys, causal', { seqlenQ: 6, seqlenK: 3 }, { causal: true }],
  ['a window and sink tokens', {}, { window: [1, 1], sinkTokens: 1 }],
  ['a window with a negative bound', {}, { window: [3, -1] }],
  ['padding', {}, { seqlensQ: [4, 2], seqlensK: [3, 5], causal: true }],
  ['no keys in one sequence', {}, { seqlensK: [0, 4] }],
  ['softcap', {}, { softcap: 0.8 }],
  ['ALiBi', {}, { alibiSlopes: [0.5, 0.1, 0.3, 0.9] }],
  ['a float mask', {}, { mask: { data: floatMask, shape: [4, 5] } }],
  ['a bool mask', {}, { mask: { data: Uint8Array.of(1, 0, 1, 1, 0), shape: [1, 5] } }],
  ['a block mask', {}, { visible: (b, h, i, j) => (b + h + i + j) % 3 !== 0 }],
  ['sinks', {}, { sinks: [0.7, -0.4] }],
  ['sinks and rows that see nothing', { seqlenQ: 7, seqlenK: 3 }, { causal: true, sinks: [1, 0] }],
  ['sinks of all but no weight', {}, { sinks: [-Infinity, 0.5] }],
  ['dropout', {}, { dropout: { p: 0.3, seed: 5n, offset: 6n } }],
  ['GQA', { heads: 6, kvHeads: 2 }, {}],
  ['MQA', { heads: 3, kvHeads: 1 }, { causal: true }],
  ['values longer than keys', { headDim: 2, headDimV: 5 }, {}],
  ['values shorter than keys', { headDim: 5, headDimV: 2 }, { softcap: 1 }],
  ['some queries only', {}, { queryRows: [3, 0], causal: true }],
  [
    'everything at once',
    { heads: 4, kvHeads: 2, headDimV: 2 },
    {
      scale: 0.7,
      window: [3, 1],
      sinkTokens: 1,
      seqlensK: [4, 5],
      softcap: 2,
      alibiSlopes: [0.1, 0.2, 0.3, 0.4],
      mask: { data: floatMask, shape: [1, 1, 4, 5] },
      visible: (b, h, i, j) => (b + 2 * h + 3 * i + 5 * j) % 7 !== 0,
      sinks: [0.1, -0.5, 0.9, 0],
      dropout: { p: 0.25, seed: 1n },
    },
  ],
];

describe.each(cases)('with %s', (_name, sizes, options) => {
  const full = { ...shape, ...sizes, kvHeads: sizes.kvHeads ?? sizes.heads ?? shape.heads };
  full.headDimV = sizes.headDimV ?? full.headDim;
  const sinks = options.sinks && Float64Array.from(options.sinks);
  const problem = { ...randomInputs(full, 20), ...options, ...(sinks && { sinks }) };
  const dOut = gradientFor(problem, 21);
  const loss = () => standardAttention(problem).out.reduce((sum, x, n) => sum + x * dOut[n], 0);
  const expected = {
    dq: finiteDifferences(problem.q, loss),
    dk: finiteDifferences(problem.k, loss),
    dv: finiteDifferences(problem.v, loss),
    ...(sinks && { dSinks: finiteDifferences(sinks, loss) }),
  };
  if (options.queryRows) {
    // Gradients of queries come in the order of the rows asked for, and the others have none.
    const row = full.heads * full.headDim;
    const rows = Array.from({ length: full.batch * 2 }, (_, n) => {
      const start = ((n >> 1) * full.seqlenQ + [3, 0][n & 1]) * row;
      return [...expected.dq.slice(start, start + row)];
    });
    expected.dq = Float64Array.from(rows.flat());
  }

  it.each([
    ['standardAttentionBackward', standardAttentionBackward],
    ['flashAttentionBackward', flashBackward],
  ] as const)('%s agrees with finite differences', (_algorithm, backward) => {
    const gradients = backward(problem, dOut);
    expect(Object.keys(gradients)).toEqual(Object.keys(expected));
    for (const name of Object.keys(expected) as (keyof typeof expected)[]) {
      expect(maxDifference(gradients[name] ?? [], expected[name] ?? [])).toBeLessThan(1e-9);
    }
  });
});

it('flashAttentionBackward equals standardAttentionBackward, for any problem and tile', () => {
  const tile = fc.integer({ min: 1, max: 20 });
  fc.assert(
    fc.property(randomProblems(20), tile, tile, (problem, blockQ, blockK) => {
      const dOut = gradientFor(problem, 22);
      const expected = standardAttentionBackward(problem, dOut);
      const gradients = flashBackward(problem, dOut, blockQ, blockK);
      expect(Object.keys(gradients)).toEqual(Object.keys(expected));
      for (const name of ['dq', 'dk', 'dv', 'dSinks'] as const) {
        expect(maxDifference(gradients[name] ?? [], expected[name] ?? [])).toBeLessThan(1e-11);
      }
    }),
    { numRuns: 300 },
  );
});

it('flashAttentionBackward works with its default tile sizes', () => {
  const problem = { ...randomInputs(shapeOf({ seqlenQ: 70, seqlenK: 130 }), 23), causal: true };
  const dOut = gradientFor(problem, 24);
  const forward = standardAttention(problem);
  const gradients = flashAttentionBackward(problem, { dOut, ...forward });
  const expected = standardAttentionBackward(problem, dOut);
  for (const name of ['dq', 'dk', 'dv'] as const) {
    expect(maxDifference(gradients[name], expected[name])).toBeLessThan(1e-12);
  }
});

describe.each([
  ['standardAttentionBackward', standardAttentionBackward],
  ['flashAttentionBackward', flashBackward],
] as const)('%s', (_name, backward) => {
  it('gives what is masked the gradient 0, whatever stands there', () => {
    const small = shapeOf({ seqlenQ: 5, seqlenK: 6, headDim: 2 });
    const clean = randomInputs(small, 25);
    const masked = [0, 2, 5];
    const data = Uint8Array.from({ length: 6 }, (_, j) => (masked.includes(j) ? 0 : 1));
    const mask = { data, shape: [6] };
    const spoil = (x: Float64Array) =>
      x.map((value, n) => (masked.includes(Math.floor(n / 2)) ? NaN : value));
    const spoilt = { shape: small, q: clean.q, k: spoil(clean.k), v: spoil(clean.v), mask };
    const dOut = gradientFor(spoilt, 26);
    const gradients = backward(spoilt, dOut);
    expect(gradients).toEqual(backward({ ...clean, mask }, dOut));
    for (const j of masked) {
      expect([...gradients.dk.slice(2 * j, 2 * j + 2)]).toEqual([0, 0]);
      expect([...gradients.dv.slice(2 * j, 2 * j + 2)]).toEqual([0, 0]);
    }
  });

  it('gives rows that see nothing no gradient, and takes none from them', () => {
    const problem = { ...randomInputs(shapeOf({ seqlenQ: 6, seqlenK: 3, headDim: 2 }), 27) };
    const dOut = gradientFor(problem, 28);
    const before = backward({ ...problem, causal: true }, dOut);
    expect([...before.dq.slice(0, 6)]).toEqual(Array(6).fill(0));
    dOut.fill(NaN, 0, 6); // the first three queries stand before the first key
    expect(backward({ ...problem, causal: true }, dOut)).toEqual(before);
  });

  it('gives all zeros where nothing sees anything', () => {
    const problem = { ...randomInputs(shapeOf({}), 29), visible: () => false, sinks: [0.5] };
    const { dq, dk, dv, dSinks } = backward(problem, gradientFor(problem, 30));
    for (const gradient of [dq, dk, dv]) expect(gradient.every((x) => x === 0)).toBe(true);
    expect(Math.abs(dSinks?.[0] ?? NaN)).toBe(0);
  });
});

it('standardAttentionBackward in lower precision makes the error of that precision', () => {
  const problem = randomInputs(shapeOf({ seqlenQ: 20, seqlenK: 30, headDim: 8 }), 31);
  for (const x of [problem.q, problem.k, problem.v]) x.set(x.map(roundToBfloat16));
  const dOut = gradientFor(problem, 32).map(roundToBfloat16);
  const exact = standardAttentionBackward(problem, dOut);
  for (const [precision, unit] of [
    ['float32', 2 ** -24],
    ['float16', 2 ** -11],
    ['bfloat16', 2 ** -8],
  ] as const) {
    const gradients = standardAttentionBackward(problem, dOut, { precision });
    for (const name of ['dq', 'dk', 'dv'] as const) {
      const error = maxDifference(gradients[name], exact[name]);
      expect(error).toBeGreaterThan(unit / 16);
      expect(error).toBeLessThan(32 * unit);
    }
  }
});
