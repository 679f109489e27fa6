import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import {
  checkBoolean,
  checkFields,
  checkInteger,
  checkLength,
  checkNumbers,
  checkObject,
} from './check.js';
import type { Numbers } from './problem.js';

/** The sizes of what is rotated. */
export interface RotaryShape {
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
}

export interface RotaryOptions {
  /** `[positions, rotaryDim / 2]`: the cosine of the angle of a pair at a position. */
  readonly cos: Numbers;
  /** Likewise the sine. */
  readonly sin: Numbers;
  /** Even: elements of a row that turn. The others stay. Default: all from `rotaryOffset` on. */
  readonly rotaryDim?: number;
  /** Elements of a row before the first one that turns. Default 0. */
  readonly rotaryOffset?: number;
  /** `[tokens]`: rows of the tables. */
  readonly positions: ArrayLike<number>;
  /** Pair i is (2i, 2i + 1), or else (i, i + rotaryDim / 2), from there on. Default false. */
  readonly interleaved?: boolean;
}

/**
 * Rotary position embedding: pair i of a row at position p turns by the angle `p theta_i`,
 *
 *     a' = a cos - b sin        b' = b cos + a sin
 *
 * so that the product of a query and a key depends on how far they are apart, and not on where they
 * stand. Section 3.2 of Su et al., "RoFormer", 2021, arXiv 2104.09864, whose angles are `theta_i =
 * 10000^(-2i / rotaryDim)`; the tables may hold any others.
 *
 * @param x [tokens, heads, headDim]
 * @returns the same, rotated
 *
 * @throws FlashAttentionError ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the argument
 */
export function rotary(x: Numbers, shape: RotaryShape, options: RotaryOptions): Float64Array {
  checkObject('shape', shape);
  checkFields('options', options, [
    'cos',
    'sin',
    'rotaryDim',
    'rotaryOffset',
    'positions',
    'interleaved',
  ]);
  const { tokens, heads, headDim } = shape;
  const { cos, sin, positions, rotaryOffset = 0, interleaved = false } = options;
  const pairs = checkRotary(x, shape, options);
  const result = Float64Array.from(x);
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < heads; h++) {
      const row = result.subarray((t * heads + h) * headDim + rotaryOffset);
      for (let i = 0; i < pairs; i++) {
        const [first, second] = interleaved ? [2 * i, 2 * i + 1] : [i, i + pairs];
        const [a, b] = [row[first], row[second]];
        const [c, s] = [cos[positions[t] * pairs + i], sin[positions[t] * pairs + i]];
        row[first] = a * c - b * s;
        row[second] = b * c + a * s;
      }
    }
  }
  return result;
}

/** The number of pairs of a row, once everything is as it must be. */
function checkRotary(x: Numbers, shape: RotaryShape, options: RotaryOptions): number {
  const { tokens, heads, headDim } = shape;
  const { cos, sin, positions, rotaryOffset = 0, interleaved } = options;
  const { rotaryDim = headDim - rotaryOffset } = options;
  checkInteger('shape.tokens', tokens, 0, 'ERR_SHAPE');
  checkInteger('shape.heads', heads, 1, 'ERR_SHAPE');
  checkInteger('shape.headDim', headDim, 1, 'ERR_SHAPE');
  checkInteger('rotaryOffset', rotaryOffset, 0, 'ERR_OPTION');
  checkInteger('rotaryDim', rotaryDim, 2, 'ERR_OPTION');
  const most = headDim - rotaryOffset;
  if (rotaryDim % 2 !== 0 || rotaryDim > most) {
    const expected = `even and at most headDim less rotaryOffset, ${most},`;
    fail('ERR_OPTION', 'rotaryDim', expected, show(rotaryDim));
  }
  if (interleaved !== undefined) checkBoolean('interleaved', interleaved);
  checkNumbers('x', x, tokens * heads * headDim, '[tokens, heads, headDim]');
  const pairs = rotaryDim / 2;
  const rows = Math.floor(cos.length / pairs);
  checkNumbers('cos', cos, rows * pairs, '[positions, rotaryDim / 2]');
  checkNumbers('sin', sin, rows * pairs, '[positions, rotaryDim / 2]');
  checkLength('positions', positions, [tokens], '[tokens]');
  for (let t = 0; t < tokens; t++) {
    const position = positions[t];
    if (!Number.isInteger(position) || position < 0 || position >= rows) {
      fail(
        'ERR_OPTION',
        `positions[${t}]`,
        `a row of the tables, 0 to ${rows - 1},`,
        `${position}`,
      );
    }
  }
  return pairs;
}
