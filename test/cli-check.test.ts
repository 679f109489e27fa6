import { allowedError, checkResult, sampleRows } from '../lib/cli/check-result.js';
import { floatDTypes } from '../lib/tensor/host-tensor.js';
import {
  type AttentionOptions,
  type AttentionResult,
  type DType,
  flashAttention,
  randn,
  type Tensor,
  tensor,
} from '../lib/index.js';

type Qkv = [q: Tensor, k: Tensor, v: Tensor];

/** Two sequences, grouped heads, a value head of its own width. */
function problem(dtype: DType, layout: 'bshd' | 'bhsd' = 'bshd'): Qkv {
  const make = (seqlen: number, heads: number, dim: number, seed: bigint) =>
    randn(layout === 'bshd' ? [2, seqlen, heads, dim] : [2, heads, seqlen, dim], { seed, dtype });
  return [make(21, 6, 16, 1n), make(34, 2, 16, 2n), make(34, 2, 24, 3n)];
}

function attend(qkv: Qkv, options: AttentionOptions): AttentionResult {
  return flashAttention(...qkv, { ...options, returnLse: true });
}

async function changed(t: Tensor, change: (x: number, i: number) => number): Promise<Tensor> {
  return tensor((await t.toFloat32()).map(change), t.shape, { dtype: t.dtype });
}

describe('the check against float64', () => {
  const optionSets: AttentionOptions[] = [
    {},
    { causal: true },
    { layout: 'bhsd', causal: true, softcap: 5 },
    { window: [3, 2], sinkTokens: 2, scale: 0.4 },
    { window: [-20, Infinity], numSplits: 2 }, // the first rows see nothing
  ];
  const cases = floatDTypes.flatMap((dtype) => optionSets.map((options) => ({ dtype, options })));

  test.each(cases)('passes what is right: $dtype, $options', async ({ dtype, options }) => {
    const qkv = problem(dtype, options.layout);
    const result = await checkResult(qkv, attend(qkv, options), options);
    expect(result).toMatchObject({ ok: true, seqlenQ: 21 });
    expect(result.rows).toHaveLength(21);
    expect(result.out.allowed).toBe(allowedError(result.out.standardError));
    expect(result.out.error).toBeLessThanOrEqual(result.out.allowed);
  });

  test.each(floatDTypes)('finds one wrong element of out: %s', async (dtype) => {
    const qkv = problem(dtype);
    const result = attend(qkv, {});
    const out = await changed(result.out, (x, i) => (i === 5000 ? x + 0.25 : x));
    const check = await checkResult(qkv, { ...result, out }, {});
    expect(check.ok).toBe(false);
    expect(check.out.error).toBeCloseTo(0.25, 1);
  });

  test('finds a wrong lse, a NaN and other options than were used', async () => {
    const qkv = problem('float32');
    const result = attend(qkv, { causal: true });
    const lse = await changed(result.lse, (x, i) => (i === 100 ? x + 0.01 : x));
    expect((await checkResult(qkv, { ...result, lse }, { causal: true })).ok).toBe(false);
    const out = await changed(result.out, (x, i) => (i === 7 ? Number.NaN : x));
    const withNan = await checkResult(qkv, { ...result, out }, { causal: true });
    expect(withNan).toMatchObject({ ok: false, out: { error: Infinity } });
    expect((await checkResult(qkv, result, {})).ok).toBe(false);
    expect((await checkResult(qkv, result, { causal: true })).ok).toBe(true);
  });

  test('has nothing against an empty problem', async () => {
    const [q, k, v] = problem('float32');
    const none = q.slice([0, 0]);
    const qkv: Qkv = [none, k.slice([0, 0]), v.slice([0, 0])];
    const result = await checkResult(qkv, attend(qkv, {}), {});
    expect(result).toMatchObject({ ok: true, out: { error: 0 } });
  });
});

describe('the rows that are checked', () => {
  test('are all of them when that is cheap', () => {
    expect(sampleRows(5, 1000)).toEqual([0, 1, 2, 3, 4]);
    expect(sampleRows(1, 1e12)).toEqual([0]);
    expect(sampleRows(0, 0)).toEqual([]);
  });

  test('go from the first to the last otherwise, each once', () => {
    expect(sampleRows(4097, 1e12)).toEqual([0, 2048, 4096]);
    const rows = sampleRows(100_000, 1e6);
    expect(rows).toHaveLength(200);
    expect(new Set(rows).size).toBe(200);
    expect([rows[0], rows.at(-1)]).toEqual([0, 99_999]);
  });
});
