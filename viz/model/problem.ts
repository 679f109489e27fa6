import { philox4x32, type ReferenceProblem } from '../../lib/reference/index.js';
import { seesOf } from './pattern.js';
import type { Settings } from './settings.js';

/** Normally distributed numbers, from the counter-based generator of the reference. */
export function normals(count: number, seed: number, stream: number): Float64Array {
  const values = new Float64Array(count);
  const unit = (word: number) => (word + 0.5) / 2 ** 32;
  for (let at = 0; at < count; at += 2) {
    const [a, b] = philox4x32([at, stream, 0, 0], [seed, 0]);
    const radius = Math.sqrt(-2 * Math.log(unit(a))); // Box and Muller 1958
    values[at] = radius * Math.cos(2 * Math.PI * unit(b));
    if (at + 1 < count) values[at + 1] = radius * Math.sin(2 * Math.PI * unit(b));
  }
  return values;
}

/** Scores of a standard deviation of two, so that a softmax has something to show. */
const spread = Math.SQRT2;

/** The attention problem of the controls: one sequence, one kv head, `group` query heads. */
export function problemOf(settings: Settings): ReferenceProblem {
  const { n, d, group, seed, causal, window } = settings;
  const seqlenQ = settings.algorithm === 'decoding' ? 1 : n;
  const sees = seesOf(settings);
  return {
    shape: { batch: 1, seqlenQ, seqlenK: n, heads: group, kvHeads: 1, headDim: d },
    q: normals(seqlenQ * group * d, seed, 0).map((x) => x * spread),
    k: normals(n * d, seed, 1).map((x) => x * spread),
    v: normals(n * d, seed, 2),
    causal,
    ...(window > 0 && { window: [window, window] }),
    // Position i of the pattern is token i; the queries are the last tokens.
    ...(sees && { visible: (_batch, _head, i, j) => sees(i + n - seqlenQ, j) }),
  };
}
