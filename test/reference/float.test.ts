import { f16round } from '@petamoriken/float16';
import fc from 'fast-check';
import {
  bfloat16Bits,
  bfloat16FromBits,
  float16Bits,
  float16FromBits,
  fromBfloat16Array,
  fromFloat16Array,
  roundToBfloat16,
  roundToFloat16,
  toBfloat16Array,
  toFloat16Array,
} from '../../lib/reference/index.js';

const words = new Uint32Array(1);
const float32 = new Float32Array(words.buffer);

/**
 * bfloat16 of a float32 on its bits: an independent formula, add half of the last place and cut
 * off.
 */
function bfloat16OfFloat32(x: number): number {
  float32[0] = x;
  words[0] += 0x7fff + ((words[0] >>> 16) & 1);
  words[0] &= 0xffff0000;
  return float32[0];
}

const formats = [
  { name: 'float16', round: roundToFloat16, bits: float16Bits, value: float16FromBits },
  { name: 'bfloat16', round: roundToBfloat16, bits: bfloat16Bits, value: bfloat16FromBits },
];

describe.each(formats)('$name', ({ round, bits, value }) => {
  it('holds each of its own values unchanged, with the bits it had', () => {
    for (let word = 0; word < 0x10000; word++) {
      const x = value(word);
      if (Number.isNaN(x)) {
        expect(Number.isNaN(value(bits(x)))).toBe(true);
      } else if (!Object.is(round(x), x) || bits(x) !== word) {
        throw new Error(`0x${word.toString(16)} is ${x}, rounds to ${round(x)} = ${bits(x)}`);
      }
    }
  });

  it('rounds to the nearest of two neighbours, and halfway to the even one', () => {
    const infinity = bits(Infinity);
    for (let word = 0; word + 1 < infinity; word++) {
      const low = value(word);
      const high = value(word + 1);
      const middle = (low + high) / 2;
      const even = word % 2 === 0 ? low : high;
      const above = middle + (high - middle) * 2 ** -30;
      const below = middle - (middle - low) * 2 ** -30;
      if (round(middle) !== even || round(above) !== high || round(below) !== low) {
        throw new Error(`between ${low} and ${high}`);
      }
      if (round(-middle) !== -even) throw new Error(`between ${-high} and ${-low}`);
    }
  });

  it('overflows to infinity from half a spacing beyond the largest', () => {
    const infinity = bits(Infinity);
    const largest = value(infinity - 1);
    const limit = largest + (largest - value(infinity - 2)) / 2;
    expect(round(limit)).toBe(Infinity);
    expect(round(-limit)).toBe(-Infinity);
    expect(round(limit * (1 - 2 ** -40))).toBe(largest);
    expect(round(1e308)).toBe(Infinity);
    expect(bits(-1e308)).toBe(infinity | 0x8000);
  });

  it('underflows to a zero of the same sign', () => {
    expect(round(5e-324)).toBe(0);
    expect(Object.is(round(-5e-324), -0)).toBe(true);
    expect(bits(-5e-324)).toBe(0x8000);
    expect(round(value(1) / 2)).toBe(0); // halfway between 0 and the smallest: 0 is even
    expect(round(value(1) * 0.50001)).toBe(value(1));
  });

  it('keeps NaN', () => {
    expect(round(NaN)).toBeNaN();
    expect(value(bits(NaN))).toBeNaN();
  });
});

it('rounds float16 as the float16 package does', () => {
  fc.assert(
    fc.property(fc.double({ min: -70000, max: 70000 }), (x) => {
      expect(roundToFloat16(x)).toBe(f16round(x));
    }),
    { numRuns: 2000 },
  );
});

it('rounds bfloat16 as on the bits of a float32', () => {
  fc.assert(
    fc.property(fc.float({ noNaN: true }), (x) => {
      expect(roundToBfloat16(x)).toBe(bfloat16OfFloat32(x));
    }),
    { numRuns: 2000 },
  );
});

it('does not round twice on the way from float64', () => {
  // Through float32 this would become the tie 1 + 2^-8 first, and then 1.
  expect(roundToBfloat16(1 + 2 ** -8 + 2 ** -40)).toBe(1 + 2 ** -7);
});

it('converts whole arrays', () => {
  const values = [0, -1.5, 1 / 3, 65504, 1e-7];
  expect([...toFloat16Array(values)]).toEqual([0x0000, 0xbe00, 0x3555, 0x7bff, 0x0002]);
  expect([...toBfloat16Array(values)]).toEqual([0x0000, 0xbfc0, 0x3eab, 0x4780, 0x33d7]);
  expect([...fromFloat16Array(toFloat16Array(values))]).toEqual(values.map(roundToFloat16));
  expect([...fromBfloat16Array(toBfloat16Array(values))]).toEqual(values.map(roundToBfloat16));
});
