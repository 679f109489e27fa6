import { checkLength, checkObject } from './check.js';
import type { Matrix } from './matrix.js';

/**
 * Attention of some queries over a set of keys: normalised output and log of the denominator, per
 * query.
 */
export interface AttentionState {
  readonly out: Matrix;
  readonly lse: Float64Array;
}

/**
 * Attention over two disjoint sets of keys, from the attention over each:
 *
 *     lse = log(e^lse_a + e^lse_b)
 *     out = e^(lse_a - lse) out_a + e^(lse_b - lse) out_b
 *
 * Exact, because out_a e^lse_a is the numerator of the softmax over the first set and e^lse_a its
 * denominator, and both just add up. Associative and commutative, up to rounding. Section 2.2 of Ye
 * et al., "FlashInfer", 2025, arXiv 2501.01005; the same identity combines the blocks of Rabe and
 * Staats, arXiv 2112.05682.
 *
 * @throws FlashAttentionError ERR_TYPE or ERR_SHAPE, naming the field
 */
export function mergeStates(a: AttentionState, b: AttentionState): AttentionState {
  checkState('a', a, a?.lse?.length);
  checkState('b', b, a.lse.length);
  const lse = new Float64Array(a.lse.length);
  const out = a.out.map((rowA, i) => {
    const m = Math.max(a.lse[i], b.lse[i]);
    lse[i] = m === -Infinity ? m : m + Math.log(Math.exp(a.lse[i] - m) + Math.exp(b.lse[i] - m));
    // A side without keys has weight 0 and is left out; two such sides give 0.
    const weightA = a.lse[i] === -Infinity ? 0 : Math.exp(a.lse[i] - lse[i]);
    const weightB = b.lse[i] === -Infinity ? 0 : Math.exp(b.lse[i] - lse[i]);
    return rowA.map((x, c) => weightA * x + weightB * b.out[i][c]);
  });
  return { out, lse };
}

function checkState(argument: string, state: AttentionState, rows: number): void {
  checkObject(argument, state);
  checkLength(`${argument}.lse`, state.lse, [rows], '[rows]');
  checkLength(`${argument}.out`, state.out, [rows], '[rows]');
}
