import fc from 'fast-check';
import { sized } from '../support/device.js';
import { expectGradients } from '../support/gradients.js';
import { expectWithin, measure } from '../support/numerics.js';
import { problems } from '../support/random-problems.js';

describe.each([20261121, 20261122, 20261123, 20261124])('random combinations, seed %i', (seed) => {
  test('forward', async () => {
    await fc.assert(
      fc.asyncProperty(problems, async ([shape, options, how]) => {
        expectWithin(await measure(shape, options, { ...how, mostRows: 24 }));
      }),
      { numRuns: sized(50, 15), seed },
    );
  });

  test('gradients', async () => {
    await fc.assert(
      fc.asyncProperty(problems, fc.boolean(), async ([shape, options, how], deterministic) => {
        await expectGradients(shape, { ...options, deterministic }, { ...how, mostRows: 24 });
      }),
      { numRuns: sized(40, 10), seed },
    );
  });
});
