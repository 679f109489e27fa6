import {
  flashAttention1,
  flashAttention2,
  flashAttentionBackward,
  flashDecoding,
  type IoCounter,
  standardAttention,
} from '../../lib/reference/index.js';
import { randomInputs, shapeOf } from './random-problem.js';

type Sizes = { N: number; Nk?: number; d: number; dv?: number; heads?: number; batch?: number };

function problemOf({ N, Nk = N, d, dv = d, heads = 1, batch = 1 }: Sizes) {
  const sizes = { batch, heads, seqlenQ: N, seqlenK: Nk, headDim: d, headDimV: dv };
  return randomInputs(shapeOf(sizes), 1);
}

function standardIo(sizes: Sizes): IoCounter {
  const io = { loads: 0, stores: 0 };
  standardAttention(problemOf(sizes), { io });
  return io;
}

function flashIo(sizes: Sizes, sramSize: number): IoCounter {
  const io = { loads: 0, stores: 0 };
  flashAttention1(problemOf(sizes), { sramSize, io });
  return io;
}

const total = ({ loads, stores }: IoCounter) => loads + stores;

describe('standardAttention', () => {
  it.each([
    { N: 1, d: 1 },
    { N: 16, d: 4 },
    { N: 33, d: 5 },
    { N: 7, Nk: 19, d: 3, dv: 2 },
    { N: 8, d: 2, heads: 3, batch: 2 },
  ])('moves what its formula says, for %j', (sizes) => {
    const { N, Nk = N, d, dv = d, heads = 1, batch = 1 } = sizes as Sizes;
    const perHead = {
      loads: N * d + Nk * d + N * Nk + N * Nk + Nk * dv, // Q, K; S; P, V
      stores: N * Nk + N * Nk + N * dv, // S; P; O
    };
    expect(standardIo(sizes)).toEqual({
      loads: batch * heads * perHead.loads,
      stores: batch * heads * perHead.stores,
    });
  });
});

describe('flashAttention1', () => {
  it.each([
    { N: 64, d: 4, M: 256 }, // Bc = 16 divides N
    { N: 64, d: 8, M: 256 }, // Bc = 8
    { N: 48, d: 16, M: 512 },
    { N: 32, d: 4, M: 64, heads: 2, batch: 3 },
  ])('moves what its closed form says, for %j', ({ M, ...sizes }) => {
    const { N, d, heads = 1, batch = 1 } = sizes as Sizes;
    const Tc = (4 * N * d) / M; // tiles of Bc = M / 4d keys
    expect(Number.isInteger(Tc)).toBe(true);
    const perHead = {
      loads: 2 * N * d + Tc * N * (2 * d + 2), // K, V once; Q, O, l, m under every tile of keys
      stores: N * (d + 2) * (1 + Tc), // O, l, m at the start and under every tile of keys
    };
    expect(flashIo(sizes, M)).toEqual({
      loads: batch * heads * perHead.loads,
      stores: batch * heads * perHead.stores,
    });
  });

  it('moves what its closed form says also where nothing divides', () => {
    const [N, Nk, d, dv, M] = [37, 53, 5, 3, 100];
    const Bc = Math.ceil(M / (2 * (d + dv)));
    const Tc = Math.ceil(Nk / Bc);
    expect(flashIo({ N, Nk, d, dv }, M)).toEqual({
      loads: Nk * (d + dv) + Tc * N * (d + dv + 2),
      stores: N * (dv + 2) * (1 + Tc),
    });
  });

  it('grows with N^2', () => {
    const [small, large] = [128, 256].map((N) => total(flashIo({ N, d: 8 }, 256)));
    expect(large / small).toBeGreaterThan(3.8);
    expect(large / small).toBeLessThan(4.05);
  });

  it('grows with d^2', () => {
    // 4 N^2 d (3d + 4) / M + ...: 4 in the limit, less where the vectors l and m still weigh
    // something.
    const [small, large] = [16, 32].map((d) => total(flashIo({ N: 256, d }, 1024)));
    expect(large / small).toBeGreaterThan(3.5);
    expect(large / small).toBeLessThan(4.05);
  });

  it('shrinks with 1 / M', () => {
    const [small, large] = [256, 512].map((M) => total(flashIo({ N: 256, d: 4 }, M)));
    expect(small / large).toBeGreaterThan(1.85);
    expect(small / large).toBeLessThan(2.05);
  });

  it('beats standard attention where d^2 is well below M, and only there', () => {
    const sizes = { N: 256, d: 8 };
    const standard = total(standardIo(sizes));
    const ratios = [64, 512, 4096].map((M) => standard / total(flashIo(sizes, M)));
    expect(ratios[0]).toBeLessThan(1); // M = d^2
    expect(ratios[1]).toBeGreaterThan(2); // M = 8 d^2
    expect(ratios[2]).toBeGreaterThan(10); // M = 64 d^2
  });

  it('moves with its default SRAM what its documentation says', () => {
    const io = { loads: 0, stores: 0 };
    flashAttention1(problemOf({ N: 512, d: 32 }), { io });
    expect(total(io)).toBe(101376);
    expect(total(standardIo({ N: 512, d: 32 }))).toBe(1114112);
  });

  it('counts nothing twice in one counter, and adds up over calls', () => {
    const io = { loads: 0, stores: 0 };
    const problem = problemOf({ N: 16, d: 4 });
    flashAttention1(problem, { sramSize: 64, io });
    const once = { ...io };
    flashAttention1(problem, { sramSize: 64, io });
    expect(io).toEqual({ loads: 2 * once.loads, stores: 2 * once.stores });
  });
});

describe('closed forms of the others, where nothing divides', () => {
  const [N, Nk, d, dv] = [37, 53, 5, 3];
  const problem = problemOf({ N, Nk, d, dv });

  it('flashAttention2', () => {
    const io = { loads: 0, stores: 0 };
    flashAttention2(problem, { blockQ: 8, blockK: 6, io });
    const Tr = Math.ceil(N / 8);
    expect(io).toEqual({ loads: N * d + Tr * Nk * (d + dv), stores: N * (dv + 1) });
  });

  it('flashDecoding', () => {
    const io = { loads: 0, stores: 0 };
    flashDecoding(problem, { numSplits: 7, io });
    expect(io).toEqual({
      loads: 7 * N * d + Nk * (d + dv) + 7 * N * (dv + 1),
      stores: 8 * N * (dv + 1),
    });
  });

  it('flashAttentionBackward', () => {
    const io = { loads: 0, stores: 0 };
    const { out, lse } = standardAttention(problem);
    flashAttentionBackward(problem, { dOut: out, out, lse }, { blockQ: 8, blockK: 6, io });
    const Tc = Math.ceil(Nk / 6);
    expect(io).toEqual({
      loads: 2 * N * dv + Nk * (d + dv) + Tc * N * (2 * d + dv + 2),
      stores: N * (d + 1) + Tc * N * d + Nk * (d + dv),
    });
  });
});
