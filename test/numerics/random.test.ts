import fc from 'fast-check';
import { sized } from '../support/device.js';
import {
  expectWithin,
  floatDTypes,
  measure,
  normals,
  type SharedOptions,
} from '../support/numerics.js';
import { uniform } from '../support/random.js';

const shapes = fc
  .record({
    batch: fc.integer({ min: 1, max: 2 }),
    seqlenQ: fc.integer({ min: 1, max: 90 }),
    seqlenK: fc.integer({ min: 1, max: 300 }),
    kvHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.integer({ min: 1, max: 3 }),
    headDim: fc.integer({ min: 1, max: 48 }),
    headDimV: fc.integer({ min: 1, max: 48 }),
  })
  .map(({ group, ...shape }) => ({ ...shape, heads: group * shape.kvHeads }));

const bound = fc.oneof(fc.integer({ min: -20, max: 100 }), fc.constant(Infinity));
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 3 });

const flags = fc.record({
  causal: fc.boolean(),
  window: maybe(fc.tuple(bound, bound)),
  sinkTokens: maybe(fc.integer({ min: 0, max: 9 })),
  softcap: maybe(fc.double({ min: 0.5, max: 50, noNaN: true })),
  scale: maybe(fc.double({ min: -1, max: 1, noNaN: true })),
  seqlensK: fc.boolean(),
  alibi: fc.boolean(),
  sinks: fc.boolean(),
  mask: fc.constantFrom('none', 'bool', 'float'),
  maskAxes: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean()),
  dropout: maybe(fc.double({ min: 0, max: 0.9, noNaN: true })),
  layout: fc.constantFrom('bshd', 'bhsd'),
  numSplits: fc.constantFrom('auto', 1, 2, 3),
});

test('random combinations of every option', async () => {
  await fc.assert(
    fc.asyncProperty(
      shapes,
      flags,
      fc.nat(1000),
      fc.constantFrom(...floatDTypes),
      async (shape, f, seed, dtype) => {
        const random = uniform(seed);
        const { batch, seqlenQ, seqlenK, heads } = shape;
        const maskShape = [batch, heads, seqlenQ, seqlenK].map((n, axis) =>
          f.maskAxes[axis] ? n : 1,
        );
        const count = maskShape.reduce((a, b) => a * b);
        const data =
          f.mask === 'bool'
            ? Uint8Array.from({ length: count }, () => (random() < 0.8 ? 1 : 0))
            : normals(count, seed).map((x) => (random() < 0.1 ? -Infinity : x));
        const options: SharedOptions = {
          causal: f.causal,
          ...(f.window && { window: f.window }),
          ...(f.sinkTokens !== undefined && { sinkTokens: f.sinkTokens }),
          ...(f.softcap && { softcap: f.softcap }),
          ...(f.scale !== undefined && { scale: f.scale }),
          ...(f.seqlensK && {
            seqlensK: Array.from({ length: batch }, () => Math.floor(random() * (seqlenK + 1))),
          }),
          ...(f.alibi && { alibiSlopes: Array.from({ length: heads }, () => random()) }),
          ...(f.sinks && { sinks: Array.from({ length: heads }, () => 4 * random() - 2) }),
          ...(f.mask !== 'none' && { mask: { data, shape: maskShape } }),
          ...(f.dropout !== undefined && {
            dropout: { p: f.dropout, seed: BigInt(seed), offset: 5n },
          }),
          layout: f.layout as 'bshd' | 'bhsd',
          numSplits: f.numSplits as number | 'auto',
        };
        expectWithin(await measure(shape, options, { dtype, seed, mostRows: 24 }));
      },
    ),
    { numRuns: sized(200, 60), seed: 20261121 },
  );
});
