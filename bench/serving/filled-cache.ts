import { randn, type Tensor } from '../../lib/index.js';
import { KvCache, type KvCacheOptions, type Sequence } from '../../lib/serving/index.js';

/** Llama 3 8B's attention. */
export const model = { heads: 32, kvHeads: 8, headDim: 128 } as const;

/** What caches are measured in. Another dtype that they may have belongs into this list. */
export const cacheDTypes: readonly NonNullable<KvCacheOptions['dtype']>[] = ['bfloat16'];

export interface Rows {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Queries, keys and values of so many tokens. */
export function rowsOf(
  tokens: number,
  dtype: KvCacheOptions['dtype'],
  { heads, kvHeads, headDim }: { heads: number; kvHeads: number; headDim: number } = model,
): Rows {
  const rows = (count: number, seed: bigint) =>
    randn([tokens, count, headDim], { seed, dtype, device: 'cpu' });
  return { q: rows(heads, 1n), k: rows(kvHeads, 2n), v: rows(kvHeads, 3n) };
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

const chunk = 2048;

/** Makes sequences `tokens` long, by tokens whose own attention costs nothing. */
export function fill(
  cache: KvCache,
  sequences: readonly Sequence[],
  tokens: number,
  {
    layers,
    ...more
  }: { layers: number; dtype?: KvCacheOptions['dtype'] } & Partial<
    Pick<KvCacheOptions, 'kvHeads' | 'headDim'>
  >,
): void {
  const { dtype, kvHeads = model.kvHeads, headDim = model.headDim } = more;
  const all = rowsOf(chunk, dtype, { heads: kvHeads, kvHeads, headDim });
  for (const sequence of sequences) {
    while (sequence.length < tokens) {
      const count = Math.min(chunk, tokens - sequence.length);
      const [q, k, v] = [all.q, all.k, all.v].map((rows) => rows.slice([0, count]));
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
