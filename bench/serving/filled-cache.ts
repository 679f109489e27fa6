import { randn, type Tensor } from '../../lib/index.js';
import {
  type CacheDType,
  KvCache,
  type KvCacheOptions,
  type Sequence,
} from '../../lib/serving/index.js';
import type { FloatDType } from '../context.js';

/** Llama 3 8B's attention. */
export const model = { heads: 32, kvHeads: 8, headDim: 128 } as const;

/** What caches are measured in. */
export const cacheDTypes = ['bfloat16', 'int8'] as const satisfies readonly CacheDType[];

/** What rows come in to a cache of a dtype. */
const rowDType = (cache: CacheDType = 'float32'): FloatDType =>
  cache === 'int8' || cache === 'float8_e4m3' ? 'bfloat16' : cache;

export interface Rows {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Queries, keys and values of so many tokens for a cache of a dtype. */
export function rowsOf(
  tokens: number,
  cache: CacheDType | undefined,
  { heads, kvHeads, headDim }: { heads: number; kvHeads: number; headDim: number } = model,
): Rows {
  const dtype = rowDType(cache);
  const rows = (count: number, seed: bigint) =>
    randn([tokens, count, headDim], { seed, dtype, device: 'cpu' });
  return { q: rows(heads, 1n), k: rows(kvHeads, 2n), v: rows(kvHeads, 3n) };
}

/** Those from `begin` to `end`, as rows of their own. */
export function rowsBetween({ q, k, v }: Rows, begin: number, end: number): Rows {
  const part = (of: Tensor) => of.slice([begin, end]);
  return { q: part(q), k: part(k), v: part(v) };
}

export function disposeRows({ q, k, v }: Rows): void {
  for (const each of [q, k, v]) each.dispose();
}

/** A cache on the CPU with pages for so many tokens. */
export function cacheFor(
  tokens: number,
  options: Pick<KvCacheOptions, 'layers' | 'dtype'> & Partial<KvCacheOptions>,
): KvCache {
  const { pageSize = 16 } = options;
  const { kvHeads, headDim } = model;
  const numPages = Math.ceil(tokens / pageSize);
  return new KvCache({ kvHeads, headDim, numPages, pageSize, device: 'cpu', ...options });
}

/** Keys and values of tokens, `[tokens, kvHeads, headDim]`. */
export interface TokenNumbers {
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** A token's key and value of a kv head. */
export function rowAt(
  { k, v }: TokenNumbers,
  token: number,
  kvHead: number,
): readonly [k: Float32Array, v: Float32Array] {
  const at = (token * model.kvHeads + kvHead) * model.headDim;
  return [k.subarray(at, at + model.headDim), v.subarray(at, at + model.headDim)];
}

const chunk = 2048;

/** What the k and v of a token are that `fill` appends at the beginning of a sequence. */
export async function filledNumbers(dtype: CacheDType): Promise<TokenNumbers> {
  const rows = rowsOf(chunk, dtype, { ...model, heads: 1 });
  const [k, v] = await Promise.all([rows.k.toFloat32(), rows.v.toFloat32()]);
  disposeRows(rows);
  return { k, v };
}

/** Which of the numbers above are those of a token. */
export const filledToken = (token: number): number => token % chunk;

/** Makes sequences `tokens` long, by tokens whose own attention costs nothing. */
export function fill(
  cache: KvCache,
  sequences: readonly Sequence[],
  tokens: number,
  {
    layers,
    dtype,
    kvHeads = model.kvHeads,
    headDim = model.headDim,
  }: Pick<KvCacheOptions, 'layers' | 'dtype'> & Partial<KvCacheOptions>,
): void {
  const all = rowsOf(chunk, dtype, { heads: kvHeads, kvHeads, headDim });
  for (const sequence of sequences) {
    while (sequence.length < tokens) {
      const count = Math.min(chunk, tokens - sequence.length);
      const { q, k, v } = rowsBetween(all, 0, count);
      using step = cache.step([{ sequence, tokens: count }]);
      for (let layer = 0; layer < layers; layer++) {
        step.attention(layer, q, k, v, { window: [0, 0] }).dispose();
      }
      step.commit();
      for (const each of [q, k, v]) each.dispose();
    }
  }
  disposeRows(all);
}
