/** The sizes of one attention call. */
export interface AttentionShape {
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly seqlenQ: number;
  readonly seqlenK: number;
  readonly headDim: number;
  /** Bottom-right aligned. */
  readonly causal: boolean;
}

/** Two products of 2 headDim operations per pair; causal pairs count as exactly half. */
export function flopsOf(shape: AttentionShape): number {
  const { batch, heads, seqlenQ, seqlenK, headDim, causal } = shape;
  return (4 * batch * heads * seqlenQ * seqlenK * headDim) / (causal ? 2 : 1);
}

/** Five products where the forward pass has two: S and dP, dQ, dK, dV. */
export const backwardFlopsOf = (shape: AttentionShape): number => 2.5 * flopsOf(shape);

/** Bytes of k and v. */
export function keyBytes(shape: AttentionShape, elementSize: number): number {
  return 2 * shape.batch * shape.kvHeads * shape.seqlenK * shape.headDim * elementSize;
}

/** Bytes of q, k, v and out: what any algorithm moves at least. */
export function inherentBytes(shape: AttentionShape, elementSize: number): number {
  const queries = shape.batch * shape.heads * shape.seqlenQ * shape.headDim;
  return 2 * queries * elementSize + keyBytes(shape, elementSize);
}

/** Bytes of q, k, v, out, dOut, lse, dq, dk and dv: what any backward pass moves at least. */
export function inherentBackwardBytes(shape: AttentionShape, elementSize: number): number {
  const { batch, heads, seqlenQ } = shape;
  return 2 * inherentBytes(shape, elementSize) + 4 * batch * heads * seqlenQ;
}
