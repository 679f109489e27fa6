/**
 * NaN and infinity: what they reach, and what they must not (docs/architecture.md, "Exact
 * semantics").
 */
import {
  type AttentionOptions,
  flashAttention,
  mergeAttentionStates,
  tensor,
  zeros,
} from '../../lib/index.js';
import { type FloatDType, lowestFloat32, normals, testedDTypes } from '../support/numerics.js';

interface Sizes {
  readonly Sq: number;
  readonly Sk: number;
  readonly H: number;
  readonly Hk: number;
  readonly D: number;
}

interface Inputs extends Sizes {
  readonly dtype: FloatDType;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

function inputs(sizes: Partial<Sizes> & { Sq: number }, dtype: FloatDType = 'float32'): Inputs {
  const s = { Sk: 33, H: 4, Hk: 2, D: 32, ...sizes };
  return {
    ...s,
    dtype,
    q: normals(s.Sq * s.H * s.D, 1, dtype),
    k: normals(s.Sk * s.Hk * s.D, 2, dtype),
    v: normals(s.Sk * s.Hk * s.D, 3, dtype),
  };
}

async function attend({ Sq, Sk, H, Hk, D, dtype, q, k, v }: Inputs, options?: AttentionOptions) {
  const { out, lse } = flashAttention(
    tensor(q, [1, Sq, H, D], { dtype }),
    tensor(k, [1, Sk, Hk, D], { dtype }),
    tensor(v, [1, Sk, Hk, D], { dtype }),
    { ...options, returnLse: true },
  );
  return { out: await out.toFloat32(), lse: await lse.toFloat32() };
}

type Results = Awaited<ReturnType<typeof attend>>;

/** Rows (i, h) for which `bad` holds are NaN whole, out and lse; the others are as in `plain`. */
function expectNaNIn({ Sq, H, D }: Sizes, bad: (i: number, h: number) => boolean) {
  return (actual: Results, plain: Results) => {
    for (let i = 0; i < Sq; i++) {
      for (let h = 0; h < H; h++) {
        const at = (i * H + h) * D;
        const row = (x: Results) => [...x.out.subarray(at, at + D), x.lse[h * Sq + i]];
        const want = bad(i, h) ? new Array(D + 1).fill(Number.NaN) : row(plain);
        expect({ i, h, row: row(actual) }).toEqual({ i, h, row: want });
      }
    }
  };
}

const rowCounts = [1, 2, 4, 40];

describe.each(testedDTypes)('%s', (dtype) => {
  test.each([NaN, Infinity])('%d in a query: that row alone', async (bad) => {
    for (const Sq of rowCounts) {
      for (const numSplits of [1, 3]) {
        const problem = inputs({ Sq, Sk: 300 }, dtype);
        const q = problem.q.slice();
        const row = Sq - 1;
        q[(row * problem.H + 2) * problem.D + 5] = bad;
        expectNaNIn(problem, (i, h) => i === row && h === 2)(
          await attend({ ...problem, q }, { numSplits }),
          await attend(problem, { numSplits }),
        );
      }
    }
  });

  test.each([
    [129, 4, 128],
    [257, 4, 256],
    [257, 64, 0],
    [1025, 64, 1024],
  ])('in a key of %i, %i splits', async (Sk, numSplits, key) => {
    for (const Sq of [1, 4, 40]) {
      const problem = inputs({ Sq, Sk }, dtype);
      const k = problem.k.slice();
      k[(key * problem.Hk + 1) * problem.D] = Number.NaN;
      expectNaNIn(problem, (_, h) => h >= 2)(
        await attend({ ...problem, k }, { numSplits }),
        await attend(problem, { numSplits }),
      );
    }
  });

  test('in a slope: its head alone', async () => {
    for (const Sq of rowCounts) {
      const problem = inputs({ Sq }, dtype);
      const slopes = (h1: number) => ({ alibiSlopes: tensor([0.5, h1, 0.25, 0.125], [4]) });
      expectNaNIn(problem, (_, h) => h === 1)(
        await attend(problem, slopes(Number.NaN)),
        await attend(problem, slopes(1)),
      );
    }
  });

  test('in a sink: its head alone, with any number of splits', async () => {
    for (const Sq of rowCounts) {
      for (const numSplits of [1, 3]) {
        const problem = inputs({ Sq, Sk: 300 }, dtype);
        const sinks = (h3: number) => ({ sinks: tensor([0.5, 1, 0.25, h3], [4]), numSplits });
        expectNaNIn(problem, (_, h) => h === 3)(
          await attend(problem, sinks(Number.NaN)),
          await attend(problem, sinks(1)),
        );
      }
    }
  });

  test.each([NaN, Infinity])('%d in a float mask: the row that sees it', async (bad) => {
    for (const Sq of rowCounts) {
      const problem = inputs({ Sq }, dtype);
      const mask = (x: number, ...at: number[]) => {
        const data = new Float32Array(Sq * problem.Sk);
        for (const i of at) data[i] = x;
        return { mask: tensor(data, [Sq, problem.Sk]) };
      };
      const last = Sq * problem.Sk - 1;
      expectNaNIn(problem, (i) => i === Sq - 1)(
        await attend(problem, mask(bad, last)),
        await attend(problem, mask(0)),
      );
      const window: [number, number] = [4, 0];
      expect(await attend(problem, { ...mask(bad, last - 5), window })).toEqual(
        await attend(problem, { ...mask(0), window }),
      );
    }
  });

  test.each([-10000, lowestFloat32])('in padding of %d: every row that sees it', async (low) => {
    const padded = (outside: number) =>
      tensor(
        Float32Array.from({ length: 300 }, (_, j) => (j < 270 ? 0 : outside)),
        [300],
      );
    for (const Sq of [1, 4, 40]) {
      const problem = inputs({ Sq, Sk: 300 }, dtype);
      const bad = (of: Float32Array) => {
        const data = of.slice();
        data[(290 * problem.Hk + 1) * problem.D + 7] = Number.NaN;
        return data;
      };
      const [k, v] = [bad(problem.k), bad(problem.v)];
      const visible = { mask: padded(low) };
      const plain = await attend(problem, visible);
      expectNaNIn(problem, (_, h) => h >= 2)(await attend({ ...problem, k }, visible), plain);
      const { out } = await attend({ ...problem, v }, visible);
      out.forEach((x, at) => {
        const sees = at % problem.D === 7 && Math.floor(at / problem.D) % problem.H >= 2;
        const near = Math.abs(x - plain.out[at]) <= 0.02;
        expect({ at, near, nan: Number.isNaN(x) }).toEqual({ at, near: !sees, nan: sees });
      });
      const hidden = { mask: padded(-Infinity) };
      expect(await attend({ ...problem, k, v }, hidden)).toEqual(await attend(problem, hidden));
    }
  });

  test('NaN in a value: its column, however little the key weighs', async () => {
    for (const Sq of [1, 4, 40]) {
      for (const numSplits of [1, 3]) {
        const problem = inputs({ Sq, Sk: 300 }, dtype);
        const v = problem.v.slice();
        const [key, column] = [290, 7];
        v[(key * problem.Hk + 1) * problem.D + column] = Number.NaN;
        const mask = tensor(
          Float32Array.from({ length: 300 }, (_, j) => (j === key ? -1000 : 0)),
          [300],
        );
        const actual = await attend({ ...problem, v }, { mask, numSplits });
        const plain = await attend(problem, { mask, numSplits });
        expect(actual.lse).toEqual(plain.lse);
        actual.out.forEach((x, at) => {
          const sees = at % problem.D === column && Math.floor(at / problem.D) % problem.H >= 2;
          expect({ at, x }).toEqual({ at, x: sees ? Number.NaN : plain.out[at] });
        });
      }
    }
  });
});

describe('merging', () => {
  const state = (value: number, lse: number) => ({
    out: tensor([value, 2 * value], [1, 1, 1, 2]),
    lse: tensor([lse], [1, 1, 1]),
  });
  const none = state(0, -Infinity);
  const bad = state(Number.NaN, Number.NaN);
  const finite = state(3, 1);

  test.each([
    ['alone', [bad]],
    ['after nothing', [none, bad]],
    ['before nothing', [bad, none]],
    ['after a number', [finite, bad]],
    ['before a number', [bad, finite]],
    ['among others', [none, bad, finite]],
    ['before nothing, twice', [bad, none, none]],
    ['with a finite out', [state(1, Number.NaN), finite]],
  ])('NaN %s gives NaN', async (_name, states) => {
    const { out, lse } = mergeAttentionStates(states);
    expect([...(await out.toFloat32()), ...(await lse.toFloat32())]).toEqual([NaN, NaN, NaN]);
  });

  test('what saw nothing does not count, whatever its out holds', async () => {
    const empty = state(Number.NaN, -Infinity);
    for (const states of [
      [empty, finite],
      [finite, empty],
    ]) {
      const { out, lse } = mergeAttentionStates(states);
      expect([...(await out.toFloat32()), ...(await lse.toFloat32())]).toEqual([3, 6, 1]);
    }
    const { out, lse } = mergeAttentionStates([empty, empty]);
    expect([...(await out.toFloat32()), ...(await lse.toFloat32())]).toEqual([0, 0, -Infinity]);
  });

  test('NaN in a value reaches the result, however little its state weighs', async () => {
    const out = tensor([NaN, 1], [1, 1, 1, 2]);
    const far = { out, lse: tensor([-1000], [1, 1, 1]) };
    const merged = mergeAttentionStates([finite, far]);
    expect(await merged.out.toFloat32()).toEqual(Float32Array.of(NaN, 6));
  });
});

test('rows that see nothing stay 0 beside rows that are NaN', async () => {
  const [Sq, Sk, H, D] = [3, 20, 1, 16];
  const mask = tensor(
    Float32Array.from({ length: Sq * Sk }, (_, at) => [NaN, -Infinity, 0][Math.floor(at / Sk)]),
    [Sq, Sk],
  );
  const x = zeros([1, Sk, H, D]);
  const q = zeros([1, Sq, H, D]);
  const { out, lse } = flashAttention(q, x, x, { mask, returnLse: true });
  const rows = await out.toFloat32();
  expect([rows[0], rows[D], rows[2 * D]]).toEqual([NaN, 0, 0]);
  const sums = await lse.toFloat32();
  expect([...sums.subarray(0, 2)]).toEqual([NaN, -Infinity]);
  expect(sums[2]).toBeCloseTo(Math.log(Sk), 5);
});
