/** Checks flashAttentionBackward like a forward result: see numerics.ts for the tolerance. */
import {
  type AttentionGradients,
  flashAttention,
  flashAttentionBackward,
  tensor,
} from '../../lib/index.js';
import {
  type Numbers,
  type ReferenceGradients,
  type ReferenceProblem,
  type ReferenceShape,
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

/**
 * Compares every gradient with float64. Of longer sequences `mostRows` rows, first and last included,
 * have a gradient of the output; that of the others is zero, and so is their dq.
 */
export async function expectGradients(
  shape: ReferenceShape,
  options: GradientOptions = {},
  { dtype = 'float32' as FloatDType, seed = 1, mostRows = Infinity } = {},
): Promise<void> {
  const { batch, seqlenQ, heads, headDim } = shape;
  const headDimV = shape.headDimV ?? headDim;
  const { deterministic: _, ...shared } = options;
  const problem = randomProblem(shape, shared, seed, dtype);
  let dOut: Numbers = normals(batch * seqlenQ * heads * headDimV, 77 + seed, dtype);
  const queryRows = sampledRows(seqlenQ, mostRows);
  const sampled = queryRows ? { ...problem, queryRows } : problem;
  const rowsOfDOut = Float64Array.from(pick(dOut, queryRows, batch, seqlenQ, heads * headDimV));
  if (queryRows) dOut = placed(rowsOfDOut, queryRows, [batch, seqlenQ, heads * headDimV]);

  const actual = await flashGradients(problem, dOut, options, dtype);
  const whole = (gradients: ReferenceGradients) => ({
    ...gradients,
    dq: queryRows
      ? placed(gradients.dq, queryRows, [batch, seqlenQ, heads * headDim])
      : gradients.dq,
  });
  const exact = whole(standardAttentionBackward(sampled, rowsOfDOut));
  const standard = whole(standardAttentionBackward(sampled, rowsOfDOut, { precision: dtype }));
  expect(Object.keys(actual)).toEqual(Object.keys(exact));
  for (const name of Object.keys(exact) as GradientName[]) {
    const truth = exact[name] ?? [];
    const error = maxError(actual[name] ?? [], truth);
    const allowed = bound(standard[name] ?? [], truth);
    expect({ name, error, allowed, within: error <= allowed }).toMatchObject({ within: true });
  }
}
