import { onSimt, widestHeadDim } from '../support/device.js';
import { expectWithin, measure, testedDTypes } from '../support/numerics.js';
import { headDims, oddHeadDims, seqlensUpTo } from '../support/shapes.js';

const seqlens = seqlensUpTo(1 << 17);
const groupings = { MHA: [4, 4], GQA: [6, 2], MQA: [4, 1] } as const;

describe.each(testedDTypes)('forward, %s', (dtype) => {
  describe.each(Object.entries(groupings))('%s', (_name, [heads, kvHeads]) => {
    test.each(seqlens.map((pair, i) => [...pair, headDims[(i * 5 + heads) % headDims.length]]))(
      '%i queries, %i keys, head dim %i',
      async (seqlenQ, seqlenK, headDim) => {
        const long = seqlenQ * seqlenK > 1e6;
        const shape = { batch: long || onSimt ? 1 : 2, seqlenQ, seqlenK, heads, kvHeads, headDim };
        for (const causal of [false, true]) {
          expectWithin(await measure(shape, { causal }, { dtype, mostRows: long ? 4 : 10 }));
        }
      },
    );
  });

  test.each(headDims)('head dim %i', async (headDim) => {
    const shape = { batch: 1, seqlenQ: 53, seqlenK: 150, heads: 2, headDim };
    expectWithin(await measure(shape, { causal: true }, { dtype }));
  });

  test.each(oddHeadDims)('odd head dim %i, another for V', async (headDim) => {
    const shape = { batch: 1, seqlenQ: 29, seqlenK: 70, heads: 2, kvHeads: 1, headDim };
    const headDimV = ((headDim * 7) % widestHeadDim) + 1;
    expectWithin(await measure({ ...shape, headDimV }, {}, { dtype }));
  });
});

test('a batch of many short sequences', async () => {
  const shape = { batch: 33, seqlenQ: 5, seqlenK: 9, heads: 3, headDim: 24 };
  expectWithin(await measure(shape, { causal: true }));
});

test('scores in the hundreds', async () => {
  const shape = { batch: 1, seqlenQ: 40, seqlenK: 300, heads: 2, headDim: 64 };
  for (const scale of [8, -8, 0, 1e-3]) {
    expectWithin(await measure(shape, { scale, causal: true }));
  }
});
