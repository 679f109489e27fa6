import { dropoutFactor } from './philox.js';
import { completeShape, type ReferenceMask, type ReferenceProblem } from './problem.js';

/**
 * Everything that happens between `q_i . k_j` and the softmax, for one head. Rows i count from its
 * first query.
 */
export interface Scoring {
  /** Whether query i may look at key j. If not, the pair takes part in nothing. */
  sees(i: number, j: number): boolean;
  /** The score s_ij of a pair that is seen, from its dot product q_i . k_j. */
  score(dot: number, i: number, j: number): number;
  /** The derivative of the score by the dot product. */
  slope(dot: number): number;
  /**
   * What dropout multiplies the probability of the pair by: 0 or 1 / (1 - p); 1 without dropout.
   */
  keep(i: number, j: number): number;
  /** The sink's logit; -Infinity without one. */
  readonly sink: number;
}

/**
 * Reads a mask at (i, j) of one head: a dimension that is 1, or not there, is the same everywhere.
 */
function maskReader(
  mask: ReferenceMask,
  batch: number,
  head: number,
): (i: number, j: number) => number {
  const sizes = [1, 1, 1, 1, ...mask.shape].slice(-4);
  const strides = [0, 0, 0, 0];
  let stride = 1;
  for (let dim = 3; dim >= 0; dim--) {
    strides[dim] = sizes[dim] === 1 ? 0 : stride;
    stride *= sizes[dim];
  }
  const base = batch * strides[0] + head * strides[1];
  const { data } = mask;
  return (i, j) => data[base + i * strides[2] + j * strides[3]];
}

/** By name and not by `instanceof`, which a Buffer or an array of another realm would fail. */
function isBoolean(mask: ReferenceMask | undefined): boolean {
  return mask?.data[Symbol.toStringTag] === 'Uint8Array';
}

/**
 * The scoring of one head.
 *
 * @param rows the queries that the head's rows stand for
 * @param seqlenQ,seqlenK the actual lengths of this sequence
 */
export function scoringOf(
  problem: ReferenceProblem,
  batch: number,
  head: number,
  rows: ArrayLike<number>,
  seqlenQ: number,
  seqlenK: number,
): Scoring {
  const { causal = false, sinkTokens = 0, softcap = 0, visible, dropout } = problem;
  const { heads, headDim } = completeShape(problem.shape);
  const scale = problem.scale ?? 1 / Math.sqrt(headDim);
  const left = problem.window?.[0] ?? Infinity;
  const right = Math.min(problem.window?.[1] ?? Infinity, causal ? 0 : Infinity);
  const slopes = problem.alibiSlopes;
  const alibi = slopes ? slopes[(slopes.length > heads ? batch * heads : 0) + head] : 0;
  const maskAt = problem.mask && maskReader(problem.mask, batch, head);
  const excluded = isBoolean(problem.mask) ? 0 : -Infinity;
  const bias = problem.mask && excluded !== 0 ? maskAt : undefined;
  const position = (i: number) => rows[i] + seqlenK - seqlenQ;
  const factor = dropout && dropoutFactor(dropout, batch * heads + head);

  return {
    sees(i, j) {
      const p = position(i);
      if (j > p + right || (j < p - left && j >= sinkTokens)) return false;
      if (maskAt && maskAt(rows[i], j) === excluded) return false;
      return visible ? visible(batch, head, rows[i], j) : true;
    },
    score(dot, i, j) {
      let s = scale * dot;
      if (softcap > 0) s = softcap * Math.tanh(s / softcap);
      if (alibi !== 0) s -= alibi * Math.abs(position(i) - j);
      if (bias) s += bias(rows[i], j);
      return s;
    },
    slope(dot) {
      return softcap > 0 ? scale * (1 - Math.tanh((scale * dot) / softcap) ** 2) : scale;
    },
    keep: factor ? (i, j) => factor(rows[i], j) : () => 1,
    sink: problem.sinks ? problem.sinks[head] : -Infinity,
  };
}
