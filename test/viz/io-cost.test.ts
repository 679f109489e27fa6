import { flashAttention1, flashAttention2, standardAttention } from '../../lib/reference/index.js';
import {
  bestBlocks,
  flash1Blocks,
  flash1Traffic,
  flash2Blocks,
  flash2Traffic,
  standardTraffic,
} from '../../viz/model/io-cost.js';
import { randomInputs, shapeOf } from '../reference/random-problem.js';

const problemOf = (n: number, d: number) =>
  randomInputs(shapeOf({ seqlenQ: n, seqlenK: n, headDim: d }), 1);

const counted = (run: (io: { loads: number; stores: number }) => unknown) => {
  const io = { loads: 0, stores: 0 };
  run(io);
  return io.loads + io.stores;
};

describe.each([
  [16, 4],
  [33, 5],
  [64, 8],
])('the closed forms for %i tokens of %i', (n, d) => {
  const problem = problemOf(n, d);

  test('are what standard attention counts', () => {
    expect(standardTraffic(n, d)).toBe(counted((io) => standardAttention(problem, { io })));
  });

  test.each([64, 100, 512])('are what FlashAttention counts with an SRAM of %i', (sramSize) => {
    const io = counted((io) => flashAttention1(problem, { sramSize, io }));
    expect(flash1Traffic(n, d, sramSize)).toBe(io);
  });

  test.each([1, 7, 16, 100])('are what FlashAttention-2 counts with %i queries', (blockQ) => {
    const io = counted((io) => flashAttention2(problem, { blockQ, blockK: 5, io }));
    expect(flash2Traffic(n, d, blockQ)).toBe(io);
  });
});

test('the blocks of FlashAttention are those of its paper', () => {
  expect(flash1Blocks(64, 98304)).toEqual({ blockQ: 64, blockK: 384 });
});

test('the best tile fits, and none of the tiles that fit moves less', () => {
  for (const sramSize of [16384, 49152, 98304]) {
    for (const d of [64, 128]) {
      const best = bestBlocks(4096, d, sramSize);
      expect(best?.held).toBeLessThanOrEqual(sramSize);
      let least = Infinity;
      for (const blockK of [16, 32, 64, 128, 256]) {
        for (let blockQ = 16; blockQ <= 4096; blockQ += 16) {
          const held = blockQ * (2 * d + 2) + 2 * blockK * d + blockQ * blockK;
          if (held <= sramSize) least = Math.min(least, flash2Traffic(4096, d, blockQ));
        }
      }
      expect(best?.traffic).toBe(least);
      for (const each of flash2Blocks(4096, d, sramSize)) {
        expect(each.held).toBeLessThanOrEqual(sramSize);
      }
    }
  }
});

test('an SRAM that holds no tile of 16 keys has no best one', () => {
  expect(bestBlocks(4096, 256, 4096)).toBeUndefined();
});
