import fc from 'fast-check';
import {
  flashAttention1,
  flashAttention2,
  flashDecoding,
  memoryEfficientAttention,
  type ReferenceProblem,
  type ReferenceResult,
  standardAttention,
} from '../../lib/reference/index.js';
import { maxDifference, randomInputs, randomProblems, shapeOf } from './random-problem.js';

type Attend = (problem: ReferenceProblem, tile: [number, number]) => ReferenceResult;

/** Each algorithm, with two numbers from 1 on that set the size of its tiles. */
const algorithms: { name: string; attend: Attend }[] = [
  {
    name: 'flashAttention1',
    attend: (problem, [size]) => flashAttention1(problem, { sramSize: 4 * size }),
  },
  {
    name: 'flashAttention2',
    attend: (problem, [blockQ, blockK]) => flashAttention2(problem, { blockQ, blockK }),
  },
  {
    name: 'flashDecoding',
    attend: (problem, [numSplits]) => flashDecoding(problem, { numSplits }),
  },
  {
    name: 'memoryEfficientAttention',
    attend: (problem, [queryChunkSize, keyChunkSize]) =>
      memoryEfficientAttention(problem, { queryChunkSize, keyChunkSize }),
  },
];

const tiles = fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 }));

describe.each(algorithms)('$name', ({ attend }) => {
  const expectEqual = (problem: ReferenceProblem, tile: [number, number]) => {
    const { out, lse } = attend(problem, tile);
    const expected = standardAttention(problem);
    expect(maxDifference(out, expected.out)).toBeLessThan(1e-12);
    expect(maxDifference(lse, expected.lse)).toBeLessThan(1e-12);
  };

  it('equals standard attention, for any shape, tile size and combination of options', () => {
    fc.assert(fc.property(randomProblems(25), tiles, expectEqual), { numRuns: 250 });
  });

  it.each([
    [1, 1],
    [1, 147],
    [3, 99],
    [64, 128],
    [113, 203],
    [128, 64],
  ])('equals standard attention for %i queries and %i keys', (seqlenQ, seqlenK) => {
    const shape = shapeOf({ seqlenQ, seqlenK, heads: 2, kvHeads: 1, headDim: 8, headDimV: 5 });
    for (const causal of [false, true]) {
      expectEqual({ ...randomInputs(shape, seqlenQ + seqlenK), causal }, [32, 48]);
    }
  });

  it('is stable where the largest score comes last, and where it comes first', () => {
    const shape = shapeOf({ seqlenQ: 1, seqlenK: 40, headDim: 1 });
    const v = randomInputs(shape, 1).v;
    const q = Float64Array.of(1);
    for (const step of [50, -50]) {
      const k = Float64Array.from({ length: 40 }, (_, j) => step * j);
      expectEqual({ shape, q, k, v }, [3, 4]);
    }
  });

  it('gives rows that see nothing 0 and -Infinity, or the sink', () => {
    const inputs = randomInputs(shapeOf({ seqlenQ: 6, seqlenK: 4 }), 2);
    const blind = { ...inputs, causal: true }; // 2 queries before the first key
    const { out, lse } = attend(blind, [2, 2]);
    expect([...out.slice(0, 8)]).toEqual(Array(8).fill(0));
    expect([...lse.slice(0, 2)]).toEqual([-Infinity, -Infinity]);
    const withSink = attend({ ...blind, sinks: [1.5] }, [2, 2]);
    expect([...withSink.out.slice(0, 8)]).toEqual(Array(8).fill(0));
    expect([...withSink.lse.slice(0, 2)]).toEqual([1.5, 1.5]);
  });

  it('never lets NaN or infinities in masked keys and values leak', () => {
    const shape = shapeOf({ seqlenQ: 5, seqlenK: 9, headDim: 3 });
    const clean = randomInputs(shape, 3);
    const masked = [0, 3, 4, 5, 8];
    const data = Uint8Array.from({ length: 9 }, (_, j) => (masked.includes(j) ? 0 : 1));
    const mask = { data, shape: [1, 9] };
    for (const poison of [NaN, Infinity, -Infinity]) {
      const spoil = (x: Float64Array) =>
        x.map((value, n) => (masked.includes(Math.floor(n / 3)) ? poison : value));
      const spoilt = { shape, q: clean.q, k: spoil(clean.k), v: spoil(clean.v), mask };
      expect(attend(spoilt, [3, 2])).toEqual(attend({ ...clean, mask }, [3, 2]));
    }
  });

  it('never reads padding', () => {
    const shape = shapeOf({ batch: 2, seqlenQ: 4, seqlenK: 6, headDim: 3 });
    const lengths = { seqlensQ: [4, 1], seqlensK: [2, 5] };
    const clean = randomInputs(shape, 4);
    const spoil = (x: Float64Array, seqlen: number, actual: number[]) =>
      x.map((value, n) => {
        const position = Math.floor(n / 3);
        return position % seqlen < actual[Math.floor(position / seqlen)] ? value : NaN;
      });
    const spoilt = {
      shape,
      q: spoil(clean.q, 4, lengths.seqlensQ),
      k: spoil(clean.k, 6, lengths.seqlensK),
      v: spoil(clean.v, 6, lengths.seqlensK),
    };
    expect(attend({ ...spoilt, ...lengths }, [3, 2])).toEqual(
      attend({ ...clean, ...lengths }, [3, 2]),
    );
  });

  it('lets NaN in a visible key through', () => {
    const problem = randomInputs(shapeOf({ seqlenQ: 2, seqlenK: 6, headDim: 1 }), 5);
    problem.k[4] = NaN;
    const { out, lse } = attend({ ...problem, causal: true }, [2, 2]);
    expect([...out]).toEqual([NaN, NaN]);
    expect([...lse]).toEqual([NaN, NaN]);
    expect(attend({ ...problem, window: [Infinity, -1] }, [2, 2]).out[0]).not.toBeNaN();
  });

  it('does not depend on the tile size, dropout included', () => {
    const shape = shapeOf({ batch: 2, seqlenQ: 20, seqlenK: 31, heads: 2 });
    const problem = { ...randomInputs(shape, 6), dropout: { p: 0.4, seed: 99n } };
    const one = attend(problem, [1, 1]);
    for (const tile of [
      [5, 7],
      [20, 20],
    ] as [number, number][]) {
      expect(maxDifference(attend(problem, tile).out, one.out)).toBeLessThan(1e-12);
    }
  });
});

it('all work with their default tile sizes', () => {
  const problem = randomInputs(shapeOf({ seqlenQ: 70, seqlenK: 130 }), 7);
  const expected = standardAttention(problem);
  const run = { flashAttention1, flashAttention2, flashDecoding, memoryEfficientAttention };
  for (const attend of Object.values(run)) {
    expect(maxDifference(attend(problem).out, expected.out)).toBeLessThan(1e-12);
  }
});
