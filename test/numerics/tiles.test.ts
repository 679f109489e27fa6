// The tiles of the forward kernels, which differ by head dim and by what a device has of shared
// memory: more rows and keys than a tile has, and no multiple of either.
import { sized } from '../support/device.js';
import { expectWithin, measure, type SharedOptions, testedDTypes } from '../support/numerics.js';
import {
  expectQuantized,
  expectRagged,
  quantizedProblem,
  raggedProblem,
} from '../support/pages.js';

const widths = [32, 64, 96, 128, 192, 256];
/** The first two are for kernels without options, the others for those with every one. */
const options: Record<string, SharedOptions> = {
  causal: { causal: true },
  'window, two splits': { window: [60, 10], numSplits: 2 },
  'softcap, causal': { softcap: 8, causal: true },
  'sink tokens, ALiBi, lengths': {
    window: [50, 0],
    sinkTokens: 3,
    alibiSlopes: [0.5, 0.25],
    seqlensK: [171],
  },
};
const [seqlenQ, seqlenK] = sized([290, 410], [150, 210]);

describe.each(testedDTypes)('%s', (dtype) => {
  describe.each(Object.entries(options))('%s', (_name, option) => {
    test.each(widths)('tile of head dim %i', async (headDim) => {
      const shape = { batch: 1, seqlenQ, seqlenK, heads: 2, kvHeads: 1, headDim };
      expectWithin(await measure(shape, option, { dtype, mostRows: 40 }));
    });
  });

  /** A chunk of a prompt with more rows than a tile beside shorter ones. */
  const lengths = [
    [135, 140],
    [20, 97],
    [9, 33],
  ] as const;

  test.each(widths)('tile of head dim %i, over pages', async (headDim) => {
    const shape = { lengths, heads: 2, kvHeads: 1, headDim, pageSize: 16 };
    const problem = raggedProblem(shape, { causal: true }, 2, dtype);
    await expectRagged(problem, dtype);
    await expectQuantized(quantizedProblem(problem, 'int8', dtype));
  });
});
