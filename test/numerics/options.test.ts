import { BlockMask } from '../../lib/index.js';
import { expectWithin, measure, testedDTypes } from '../support/numerics.js';
import { blockMasks, options, shape } from '../support/option-cases.js';

describe.each(testedDTypes)('%s', (dtype) => {
  test.each(Object.entries(options))('%s', async (_name, option) => {
    expectWithin(await measure(shape, option, { dtype, mostRows: 40 }));
  });
});

describe('block masks', () => {
  test.each(Object.entries(blockMasks))('%s', async (_name, make) => {
    for (const more of [{}, { causal: true }, { seqlensK: [201, 90], window: [50, 10] as const }]) {
      const blockMask = make();
      expectWithin(await measure(shape, { blockMask, ...more }, { mostRows: 64 }));
      blockMask.dispose();
    }
  });

  test('longformer and bigBird, square', async () => {
    const square = { ...shape, seqlenQ: 256, seqlenK: 256 };
    const masks = [
      BlockMask.longformer({ seqlen: 256, window: 20, globalTokens: [0, 100, 255], blockSize: 32 }),
      BlockMask.bigBird({
        seqlen: 256,
        window: 1,
        globalBlocks: 1,
        randomBlocks: 2,
        seed: 3n,
        blockSize: 16,
      }),
    ];
    for (const blockMask of masks) {
      expectWithin(await measure(square, { blockMask }, { mostRows: 64 }));
      blockMask.dispose();
    }
  });
});
