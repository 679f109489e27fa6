import fc from 'fast-check';
import { expectGradients } from '../support/gradients.js';
import { expectWithin, measure } from '../support/numerics.js';
import { problems } from '../support/random-problems.js';

const seed = 20261121;

test('random combinations of every option', async () => {
  await fc.assert(
    fc.asyncProperty(problems, async ([shape, options, how]) => {
      expectWithin(await measure(shape, options, { ...how, mostRows: 24 }));
    }),
    { numRuns: 200, seed },
  );
});

test('gradients of random combinations of every option', async () => {
  await fc.assert(
    fc.asyncProperty(problems, fc.boolean(), async ([shape, options, how], deterministic) => {
      await expectGradients(shape, { ...options, deterministic }, { ...how, mostRows: 24 });
    }),
    { numRuns: 150, seed },
  );
});
