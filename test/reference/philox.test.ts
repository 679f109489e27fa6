import fc from 'fast-check';
import { dropoutFactor, philox4x32 } from '../../lib/reference/index.js';

const word = fc.integer({ min: 0, max: 0xffffffff });

/** The generator once more, on 64-bit products. */
function philoxOfBigInts(counter: bigint[], key: bigint[]): bigint[] {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = counter;
  for (let round = 0n; round < 10n; round++) {
    const k0 = (key[0] + round * 0x9e3779b9n) & mask;
    const k1 = (key[1] + round * 0xbb67ae85n) & mask;
    const product0 = 0xd2511f53n * c0;
    const product1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [
      (product1 >> 32n) ^ c1 ^ k0,
      product1 & mask,
      (product0 >> 32n) ^ c3 ^ k1,
      product0 & mask,
    ];
  }
  return [c0, c1, c2, c3];
}

describe('philox4x32', () => {
  // kat_vectors of Random123, philox4x32 with 10 rounds
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ] as const)('agrees with the published answer for counter %j', (counter, key, expected) => {
    expect(philox4x32(counter, key)).toEqual(expected);
  });

  it('agrees with arithmetic on big integers', () => {
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
        const expected = philoxOfBigInts(counter.map(BigInt), key.map(BigInt));
        expect(philox4x32(counter, key).map(BigInt)).toEqual(expected);
      }),
    );
  });
});

describe('dropoutFactor', () => {
  const seed = 0x0123456789abcdefn;
  const offset = 0xfedcba9876543210n;

  it('takes its random words from where they are defined to be', () => {
    const p = 0.3;
    const factor = dropoutFactor({ p, seed, offset }, 7);
    for (const i of [0, 1, 99]) {
      for (let j = 0; j < 40; j++) {
        const counter = [Math.floor(j / 4), i, 7, 0x76543210] as const;
        const words = philox4x32(counter, [0x89abcdef, (0x01234567 ^ 0xfedcba98) >>> 0]);
        const kept = words[j % 4] >= Math.floor(p * 2 ** 32);
        expect(factor(i, j)).toBe(kept ? 1 / (1 - p) : 0);
      }
    }
  });

  it('keeps a pair whose word is exactly the threshold', () => {
    const [word] = philox4x32([0, 2, 5, 0], [9, 0]);
    const at = (threshold: number) =>
      dropoutFactor({ p: threshold / 2 ** 32, seed: 9n }, 5)(2, 0) > 0;
    expect(at(word)).toBe(true);
    expect(at(word + 1)).toBe(false);
  });

  it('does not depend on the order of the questions', () => {
    const factor = dropoutFactor({ p: 0.5, seed }, 0);
    const forwards: number[] = [];
    for (let n = 0; n < 100; n++) forwards.push(factor(n % 10, Math.floor(n / 10)));
    const backwards: number[] = [];
    for (let n = 99; n >= 0; n--) backwards.unshift(factor(n % 10, Math.floor(n / 10)));
    expect(backwards).toEqual(forwards);
  });

  it('differs between seeds, offsets and planes', () => {
    const pattern = (s: bigint, o: bigint, plane: number) => {
      const factor = dropoutFactor({ p: 0.5, seed: s, offset: o }, plane);
      return Array.from({ length: 64 }, (_, j) => (factor(0, j) > 0 ? 1 : 0)).join('');
    };
    const patterns = [
      pattern(1n, 0n, 0),
      pattern(2n, 0n, 0),
      pattern(1n << 32n, 0n, 0),
      pattern(1n, 1n, 0),
      pattern(1n, 1n << 32n, 0),
      pattern(1n, 0n, 1),
    ];
    expect(new Set(patterns).size).toBe(patterns.length);
  });

  it('keeps everything for p = 0, and a share of 1 - p otherwise, with mean factor 1', () => {
    const n = 1 << 16;
    for (const p of [0, 0.1, 0.5, 0.9]) {
      const factor = dropoutFactor({ p, seed }, 3);
      let kept = 0;
      for (let j = 0; j < n; j++) if (factor(1, j) > 0) kept++;
      // The seed is fixed, so this cannot fail by chance; 5 standard deviations is what a fair
      // generator stays in.
      const deviation = Math.sqrt(n * p * (1 - p));
      expect(Math.abs(kept - n * (1 - p))).toBeLessThanOrEqual(5 * deviation);
    }
    expect(dropoutFactor({ p: 0, seed }, 0)(0, 0)).toBe(1);
  });
});
