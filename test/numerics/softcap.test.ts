/**
 * Softcap where tanh is a straight line, where it bends, and where it is all but 1. On a GPU,
 * scores of 16-bit operands are off by 2^-19 of their value at the most
 * (csrc/cuda/device/scores.h), and lse by no more than the greatest of a row's.
 */
import { sized } from '../support/device.js';
import { expectGradients } from '../support/gradients.js';
import { expectWithin, measure, testedDTypes } from '../support/numerics.js';

const shape = { batch: 1, seqlenK: sized(300, 90), heads: 4, kvHeads: 2, headDim: 64 };
const caps = [0.5, 5, 50, 1e4, 1e30];
const ofTanh = (dtype: string) => (dtype === 'float32' ? 2 ** -21 : 2 ** -19);
const scales = [0.125, 2]; // scores of about 1 and of about 16

describe.each(testedDTypes)('%s', (dtype) => {
  test.each(caps)('softcap %d', async (softcap) => {
    for (const scale of scales) {
      for (const seqlenQ of [2, 40]) {
        const options = { softcap, scale, causal: seqlenQ > 2 };
        const errors = await measure({ ...shape, seqlenQ }, options, { dtype });
        expectWithin(errors);
        expect(errors.lse).toBeLessThan(Math.min(softcap, 100) * ofTanh(dtype) + 1e-5);
      }
    }
  });

  test.each(caps)('gradients, softcap %d', async (softcap) => {
    for (const scale of scales) {
      await expectGradients({ ...shape, seqlenQ: 40 }, { softcap, scale }, { dtype, mostRows: 12 });
    }
  });
});
