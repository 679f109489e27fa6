import { checkOut, checkProblem } from './check-problem.js';
import { type Head, headsOf } from './heads.js';
import { gather, range, scatterAdd } from './layout.js';
import type { Matrix } from './matrix.js';
import {
  completeShape,
  type Numbers,
  type ReferenceGradients,
  type ReferenceProblem,
} from './problem.js';

/** What a backward algorithm computes of one head. */
export interface HeadGradients {
  /** N x d */
  readonly dq: Matrix;
  /** Nk x d */
  readonly dk: Matrix;
  /** Nk x dv */
  readonly dv: Matrix;
  readonly dSink: number;
}

/**
 * Solves the backward pass head by head. Query heads that share a kv head add to the same dk and
 * dv, and the sink of a head gets a share from every sequence of the batch.
 */
export function mapHeadsBackward(
  problem: ReferenceProblem,
  dOut: Numbers,
  attendBackward: (head: Head, dOut: Matrix) => HeadGradients,
): ReferenceGradients {
  checkProblem(problem);
  checkOut('dOut', dOut, problem);
  const { batch, seqlenQ, seqlenK, heads, kvHeads, headDim, headDimV } = completeShape(
    problem.shape,
  );
  const rows = problem.queryRows?.length ?? seqlenQ;
  const dq = new Float64Array(batch * rows * heads * headDim);
  const dk = new Float64Array(batch * seqlenK * kvHeads * headDim);
  const dv = new Float64Array(batch * seqlenK * kvHeads * headDimV);
  const dSinks = new Float64Array(heads);
  for (const head of headsOf(problem)) {
    const { batch: b, head: h, kvHead, rows: queries } = head.place;
    const keys = range(head.k.length);
    const dO = gather(dOut, [rows, heads, headDimV], b, h, queries);
    const gradients = attendBackward(head, dO);
    scatterAdd(dq, [rows, heads, headDim], b, h, queries, gradients.dq);
    scatterAdd(dk, [seqlenK, kvHeads, headDim], b, kvHead, keys, gradients.dk);
    scatterAdd(dv, [seqlenK, kvHeads, headDimV], b, kvHead, keys, gradients.dv);
    dSinks[h] += gradients.dSink;
  }
  return { dq, dk, dv, ...(problem.sinks && { dSinks }) };
}
