import fc from 'fast-check';
import type { ReferenceProblem, ReferenceShape } from '../../lib/reference/index.js';

/** Seeded random numbers in [0, 1): mulberry32. */
export function uniform(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** n standard normal numbers (Box-Muller). */
export function normal(n: number, seed: number): Float64Array {
  const random = uniform(seed);
  return Float64Array.from({ length: n }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    return radius * Math.cos(2 * Math.PI * random());
  });
}

export type FullShape = Required<ReferenceShape>;

/** Normally distributed inputs of a shape. */
export function randomInputs(shape: FullShape, seed: number) {
  const { batch, seqlenQ, seqlenK, heads, kvHeads, headDim, headDimV } = shape;
  return {
    shape,
    q: normal(batch * seqlenQ * heads * headDim, seed),
    k: normal(batch * seqlenK * kvHeads * headDim, seed + 1),
    v: normal(batch * seqlenK * kvHeads * headDimV, seed + 2),
  };
}

/** A shape with the sizes a test does not care about filled in. */
export function shapeOf(sizes: Partial<FullShape>): FullShape {
  const heads = sizes.heads ?? 1;
  const headDim = sizes.headDim ?? 4;
  return {
    batch: 1,
    seqlenQ: 5,
    seqlenK: 7,
    heads,
    kvHeads: heads,
    headDim,
    headDimV: headDim,
    ...sizes,
  };
}

/**
 * Every sequence length from 0 to `maxSeqlen`, MHA, GQA and MQA, values of another length than
 * keys.
 */
function shapes(maxSeqlen: number): fc.Arbitrary<FullShape> {
  const sizes = fc.record({
    batch: fc.integer({ min: 1, max: 2 }),
    seqlenQ: fc.integer({ min: 0, max: maxSeqlen }),
    seqlenK: fc.integer({ min: 0, max: maxSeqlen }),
    kvHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.integer({ min: 1, max: 3 }),
    headDim: fc.integer({ min: 1, max: 9 }),
    headDimV: fc.integer({ min: 1, max: 9 }),
  });
  return sizes.map(({ group, ...shape }) => ({ ...shape, heads: group * shape.kvHeads }));
}

/** Problems with any combination of options. */
export function randomProblems(maxSeqlen: number): fc.Arbitrary<ReferenceProblem> {
  const options = fc.record(
    {
      scale: fc.double({ min: -1, max: 2, noNaN: true }),
      causal: fc.boolean(),
      window: fc.tuple(windowBound, windowBound),
      sinkTokens: fc.integer({ min: 0, max: 4 }),
      seqlensQ: fc.constant(true),
      seqlensK: fc.constant(true),
      softcap: fc.double({ min: 0.5, max: 20, noNaN: true }),
      alibiSlopes: fc.constantFrom('heads', 'batch'),
      mask: fc.tuple(fc.constantFrom('bool', 'float'), fc.integer({ min: 0, max: 15 })),
      visible: fc.constant(true),
      sinks: fc.constant(true),
      dropout: fc.record({
        p: fc.double({ min: 0, max: 0.9, noNaN: true }),
        seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        offset: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      }),
      queryRows: fc.constant(true),
    },
    { requiredKeys: [] },
  );
  return fc.tuple(shapes(maxSeqlen), options, fc.integer()).map(([shape, chosen, seed]) => {
    const { batch, heads, seqlenQ, seqlenK } = shape;
    const random = uniform(seed + 3);
    const lengths = (max: number) =>
      Array.from({ length: batch }, () => Math.floor(random() * (max + 1)));
    const { seqlensQ, seqlensK, alibiSlopes, mask, visible, sinks, queryRows, ...plain } = chosen;
    return {
      ...randomInputs(shape, seed),
      ...plain,
      ...(seqlensQ && { seqlensQ: lengths(seqlenQ) }),
      ...(seqlensK && { seqlensK: lengths(seqlenK) }),
      ...(alibiSlopes && {
        alibiSlopes: normal(alibiSlopes === 'heads' ? heads : batch * heads, seed + 4),
      }),
      ...(mask && { mask: randomMask(shape, mask[0], mask[1], random) }),
      ...(visible && { visible: (b, h, i, j) => (3 * b + 5 * h + 7 * i + 11 * j) % 4 !== 0 }),
      ...(sinks && { sinks: normal(heads, seed + 5) }),
      ...(queryRows && {
        queryRows: Array.from({ length: seqlenQ }, (_, i) => seqlenQ - 1 - i).filter(
          (i) => i % 3 !== 1,
        ),
      }),
    } satisfies ReferenceProblem;
  });
}

const windowBound = fc.oneof(fc.integer({ min: -3, max: 9 }), fc.constant(Infinity));

/** A mask in one of the 16 ways to broadcast: bit d of `broadcast` makes dimension d a 1. */
function randomMask(
  { batch, heads, seqlenQ, seqlenK }: FullShape,
  kind: 'bool' | 'float',
  broadcast: number,
  random: () => number,
) {
  const full = [batch, heads, seqlenQ, seqlenK].map((size, dim) =>
    broadcast & (1 << dim) ? 1 : size,
  );
  // Leading dimensions of 1 may also be left out.
  const shape = broadcast & 1 && random() < 0.5 ? full.slice(1) : full;
  const length = shape.reduce((product, size) => product * size, 1);
  const data =
    kind === 'bool'
      ? Uint8Array.from({ length }, () => (random() < 0.7 ? 1 : 0))
      : Float64Array.from({ length }, () => (random() < 0.2 ? -Infinity : 2 * random() - 1));
  return { data, shape };
}

/** The largest |a_n - b_n|; equal infinities differ by 0, NaN by NaN. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let max = 0;
  for (let n = 0; n < a.length; n++) {
    max = Math.max(max, a[n] === b[n] ? 0 : Math.abs(a[n] - b[n]));
  }
  return max;
}
