/**
 * Checks flashAttentionBackward like a forward result: see numerics.ts for the tolerance. A
 * backward call is given `out` as the forward call rounded it, and no algorithm can undo that:
 * where it matters, what Algorithm 2 in float64 makes of such an `out` is allowed in addition.
 */
import {
  type AttentionGradients,
  flashAttention,
  flashAttentionBackward,
  tensor,
} from '../../lib/index.js';
import {
  flashAttentionBackward as flashReference,
  type Numbers,
  type ReferenceGradients,
  type ReferenceProblem,
  type ReferenceShape,
  standardAttention,
  standardAttentionBackward,
} from '../../lib/reference/index.js';
import {
  attentionOptions,
  bound,
  type FloatDType,
  maxError,
  normals,
  pick,
  qkvTensors,
  randomProblem,
  rounding,
  type SharedOptions,
  sampledRows,
  toBhsd,
} from './numerics.js';

export type GradientOptions = SharedOptions & { readonly deterministic?: boolean };
export type GradientName = keyof AttentionGradients;

/** The library's gradients in bshd, as float32. */
export async function flashGradients(
  problem: ReferenceProblem,
  dOut: Numbers,
  options: GradientOptions,
  dtype: FloatDType = 'float32',
): Promise<Record<'dq' | 'dk' | 'dv', Float32Array> & { dSinks?: Float32Array }> {
  const { shape } = problem;
  const { batch, seqlenQ, seqlenK, heads, headDim } = shape;
  const { kvHeads = heads, headDimV = headDim } = shape;
  const { deterministic, layout = 'bshd', ...shared } = options;
  const { q, k, v } = qkvTensors(problem, dtype, layout);
  const given = { ...attentionOptions(shared, shape), layout, deterministic };
  const outShape = [batch, seqlenQ, heads, headDimV];
  const gradient =
    layout === 'bshd'
      ? tensor(dOut, outShape, { dtype })
      : tensor(toBhsd(dOut, outShape), [batch, heads, seqlenQ, headDimV], { dtype });
  const { out, lse } = flashAttention(q, k, v, { ...given, returnLse: true });
  const { dq, dk, dv, dSinks } = flashAttentionBackward(gradient, { q, k, v, out, lse }, given);
  // [b, h, s, d] -> [b, s, h, d] is the same exchange of axes as back.
  const back = (data: Float32Array, s: number, h: number, d: number) =>
    layout === 'bshd' ? data : toBhsd(data, [batch, h, s, d]);
  const result = {
    dq: back(await dq.toFloat32(), seqlenQ, heads, headDim),
    dk: back(await dk.toFloat32(), seqlenK, kvHeads, headDim),
    dv: back(await dv.toFloat32(), seqlenK, kvHeads, headDimV),
    ...(dSinks && { dSinks: await dSinks.toFloat32() }),
  };
  for (const t of [q, k, v, out, lse, gradient, dq, dk, dv]) t.dispose();
  return result;
}

/** Rows of [outer, rows, inner] where they stand in [outer, seqlen, inner], with zeros between. */
function placed(
  data: Float64Array,
  rows: readonly number[],
  [outer, seqlen, inner]: readonly [number, number, number],
): Float64Array {
  const result = new Float64Array(outer * seqlen * inner);
  for (let o = 0; o < outer; o++) {
    rows.forEach((row, n) => {
      const from = (o * rows.length + n) * inner;
      result.set(data.subarray(from, from + inner), (o * seqlen + row) * inner);
    });
  }
  return result;
}

/** A problem with a gradient of its output, of which all but a few rows are zero. */
export interface Differentiated {
  /** Asks for those rows only. */
  readonly problem: ReferenceProblem;
  /** Of those rows, as the reference wants it. */
  readonly rowsOfDOut: Float64Array;
  readonly dOut: Numbers;
  /** Gradients of the reference with dq for all rows: zero where dOut is. */
  whole(gradients: ReferenceGradients): ReferenceGradients;
}

/** Of longer sequences `mostRows` rows, first and last included, have a gradient. */
export function differentiated(
  problem: ReferenceProblem,
  { dtype, seed, mostRows }: { dtype: FloatDType; seed: number; mostRows: number },
): Differentiated {
  const { batch, seqlenQ, heads, headDim, headDimV = headDim } = problem.shape;
  const dOut = normals(batch * seqlenQ * heads * headDimV, 77 + seed, dtype);
  const queryRows = sampledRows(seqlenQ, mostRows);
  const rowsOfDOut = Float64Array.from(pick(dOut, queryRows, batch, seqlenQ, heads * headDimV));
  if (!queryRows) return { problem, rowsOfDOut, dOut, whole: (gradients) => gradients };
  return {
    problem: { ...problem, queryRows },
    rowsOfDOut,
    dOut: placed(rowsOfDOut, queryRows, [batch, seqlenQ, heads * headDimV]),
    whole: (gradients) => ({
      ...gradients,
      dq: placed(gradients.dq, queryRows, [batch, seqlenQ, heads * headDim]),
    }),
  };
}

/** Compares every gradient of a random problem with float64. */
export async function expectGradients(
  shape: ReferenceShape,
  { deterministic, ...options }: GradientOptions = {},
  { dtype = 'float32' as FloatDType, seed = 1, mostRows = Infinity } = {},
): Promise<void> {
  await expectGradientsOf(
    randomProblem(shape, options, seed, dtype),
    { ...options, deterministic },
    { dtype, seed, mostRows },
  );
}

/** The same of this problem, which has these options. */
export async function expectGradientsOf(
  given: ReferenceProblem,
  { deterministic, ...options }: GradientOptions = {},
  { dtype = 'float32' as FloatDType, seed = 1, mostRows = Infinity } = {},
): Promise<void> {
  const of = differentiated(given, { dtype, seed, mostRows });
  const actual = await flashGradients(of.problem, of.dOut, { ...options, deterministic }, dtype);
  compareGradients(actual, of, dtype);
}

/** Each within the tolerance. */
export function compareGradients(
  actual: { readonly [name in GradientName]?: Numbers },
  { problem, rowsOfDOut, whole }: Omit<Differentiated, 'dOut'>,
  dtype: FloatDType,
): void {
  const exact = whole(standardAttentionBackward(problem, rowsOfDOut));
  const standard = whole(standardAttentionBackward(problem, rowsOfDOut, { precision: dtype }));
  let ofGivenOut: ReferenceGradients[] | undefined;
  expect(Object.keys(actual)).toEqual(Object.keys(exact));
  for (const name of Object.keys(exact) as GradientName[]) {
    const truth = exact[name] ?? [];
    const error = maxError(actual[name] ?? [], truth);
    let allowed = bound(standard[name] ?? [], truth);
    if (error > allowed) {
      // Flash gradients take delta from out. What that is in this dtype, with or without rounded
      // probabilities (products of 16 bits have them), is an error that they are given.
      const { out, lse } = standardAttention(problem);
      ofGivenOut ??= [
        out.map(rounding[dtype]),
        standardAttention(problem, { precision: dtype }).out,
      ].map((given) => whole(flashReference(problem, { dOut: rowsOfDOut, out: given, lse })));
      allowed += Math.max(...ofGivenOut.map((given) => maxError(given[name] ?? [], truth)));
    }
    expect({ name, error }).toEqual({ name, error: Math.min(error, allowed) });
  }
}
