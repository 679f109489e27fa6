import { checkProblem } from './check-problem.js';
import { gather, range, scatterAdd } from './layout.js';
import type { Range, Tile } from './machine.js';
import { dot, type Matrix, zeros } from './matrix.js';
import type { AttentionState } from './merge.js';
import { completeShape, type ReferenceProblem, type ReferenceResult } from './problem.js';
import { type Scoring, scoringOf } from './score.js';

/**
 * Attention of one head of one sequence: the problem the papers write about, and the pages of this
 * folder solve. Padding is cut off, so `k.length` is the actual number of keys.
 */
export interface Head extends Scoring {
  /** N x d */
  readonly q: Matrix;
  /** Nk x d */
  readonly k: Matrix;
  /** Nk x dv */
  readonly v: Matrix;
  /** d */
  readonly headDim: number;
  /** dv */
  readonly headDimV: number;
  readonly place: Place;
}

/** Where a head's rows lie in the flat arrays of the problem. */
export interface Place {
  readonly batch: number;
  readonly head: number;
  /**
   * The kv head that query head `head` reads: floor(head / (heads / kvHeads)) (GQA, Ainslie et al.
   * 2023, arXiv 2305.13245).
   */
  readonly kvHead: number;
  /** For each row of the head, its row in the result. */
  readonly rows: readonly number[];
}

/** The heads of a checked problem, one after another. */
export function* headsOf(problem: ReferenceProblem): Generator<Head> {
  const { q, k, v } = problem;
  const shape = completeShape(problem.shape);
  const { batch: batches, seqlenQ, seqlenK, heads, kvHeads, headDim, headDimV } = shape;
  const wanted = Array.from(problem.queryRows ?? range(seqlenQ));
  for (let batch = 0; batch < batches; batch++) {
    const lengthQ = problem.seqlensQ?.[batch] ?? seqlenQ;
    const lengthK = problem.seqlensK?.[batch] ?? seqlenK;
    const rows = range(wanted.length).filter((row) => wanted[row] < lengthQ);
    const queries = rows.map((row) => wanted[row]);
    const keys = range(lengthK);
    for (let head = 0; head < heads; head++) {
      const kvHead = Math.floor(head / (heads / kvHeads));
      yield {
        q: gather(q, [seqlenQ, heads, headDim], batch, head, queries),
        k: gather(k, [seqlenK, kvHeads, headDim], batch, kvHead, keys),
        v: gather(v, [seqlenK, kvHeads, headDimV], batch, kvHead, keys),
        headDim,
        headDimV,
        place: { batch, head, kvHead, rows },
        ...scoringOf(problem, batch, head, queries, lengthQ, lengthK),
      };
    }
  }
}

/** Solves a problem head by head. */
export function mapHeads(
  problem: ReferenceProblem,
  attend: (head: Head) => AttentionState,
): ReferenceResult {
  checkProblem(problem);
  const { batch: batches, heads, headDimV, seqlenQ } = completeShape(problem.shape);
  const rows = problem.queryRows?.length ?? seqlenQ;
  const out = new Float64Array(batches * rows * heads * headDimV);
  const lse = new Float64Array(batches * heads * rows).fill(-Infinity);
  for (const head of headsOf(problem)) {
    const { place } = head;
    const result = attend(head);
    scatterAdd(out, [rows, heads, headDimV], place.batch, place.head, place.rows, result.out);
    place.rows.forEach((row, r) => {
      lse[(place.batch * heads + place.head) * rows + row] = result.lse[r];
    });
  }
  return { out, lse };
}

/**
 * The scores of a tile of queries against a tile of keys, `S = score(Q K^T)`; -Infinity where a
 * query does not see a key.
 *
 * @param i0,j0 the rows of the head that the tiles begin with
 * @param product the inner product to use, for arithmetic other than float64
 */
export function scoreTile(
  head: Head,
  q: Matrix,
  k: Matrix,
  i0: number,
  j0: number,
  product: (a: Float64Array, b: Float64Array) => number = dot,
): Matrix {
  const s = zeros(q.length, k.length);
  for (let i = 0; i < q.length; i++) {
    for (let j = 0; j < k.length; j++) {
      s[i][j] = head.sees(i0 + i, j0 + j)
        ? head.score(product(q[i], k[j]), i0 + i, j0 + j)
        : -Infinity;
    }
  }
  return s;
}

/** The tile of `blockQ` queries from i0 on and `blockK` keys from j0 on, cut off at the ends. */
export function tileAt(head: Head, i0: number, blockQ: number, j0: number, blockK: number): Tile {
  const cut = (begin: number, size: number, length: number): Range => [
    Math.min(begin, length),
    Math.min(begin + size, length),
  ];
  return { queries: cut(i0, blockQ, head.q.length), keys: cut(j0, blockK, head.k.length) };
}

/** Whether any query of the tile sees any key of it. What no query sees need not be loaded. */
export function isVisible(head: Head, { queries, keys }: Tile): boolean {
  for (let i = queries[0]; i < queries[1]; i++) {
    for (let j = keys[0]; j < keys[1]; j++) if (head.sees(i, j)) return true;
  }
  return false;
}
