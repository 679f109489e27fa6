import type { Tensor } from 'flash-attention';
import type {
  DecodeGraph,
  DecodeGraphOptions,
  DecodeRows,
  KvCache,
  Step,
} from 'flash-attention/serving';
import type { NewTokens } from './packed-tokens.js';

/** What a layer's graph is captured for. */
export type GraphKind = Omit<DecodeGraphOptions, 'batch' | 'maxSeqlen' | 'dtype'>;

/** Each has memory for rows of all layers of the model. */
const mostKinds = 4;

/**
 * Decode steps of a model as CUDA graphs: layers that are alike share one, and each number of
 * sequences has that of the next power of two.
 */
export class DecodeGraphs {
  readonly #cache: KvCache;
  readonly #maxSeqlen: number;
  readonly #kinds: readonly GraphKind[];
  /** By layer, its kind. */
  readonly #kindOf: readonly number[];
  /** By kind and batch. */
  readonly #graphs = new Map<string, DecodeGraph<'float32'>>();

  private constructor(cache: KvCache, layers: readonly GraphKind[], maxSeqlen: number) {
    const kinds: GraphKind[] = [];
    this.#kindOf = layers.map((layer) => {
      const known = kinds.findIndex((kind) => alike(kind, layer));
      return known >= 0 ? known : kinds.push(layer) - 1;
    });
    this.#kinds = kinds;
    this.#cache = cache;
    this.#maxSeqlen = maxSeqlen;
  }

  /**
   * Undefined where nothing can be replayed: layers of more than four kinds, such as those with
   * learned sinks of their own, and kernels that no graph has.
   *
   * @param layers what each layer's graph is captured for.
   * @param maxSeqlen tokens of the longest sequence of a step that is replayed.
   * @throws what {@link KvCache.captureDecode} throws where memory is lacking.
   */
  static of(
    cache: KvCache,
    layers: readonly GraphKind[],
    maxSeqlen: number,
  ): DecodeGraphs | undefined {
    const graphs = new DecodeGraphs(cache, layers, maxSeqlen);
    if (graphs.#kinds.length > mostKinds) return undefined;
    try {
      for (let kind = 0; kind < graphs.#kinds.length; kind++) graphs.#graphOf(kind, 1);
      return graphs;
    } catch (error) {
      graphs.dispose();
      if ((error as { code?: unknown }).code === 'ERR_SHAPE') return undefined;
      throw error;
    }
  }

  /** Whether a step is one token of each sequence, none of them too long. */
  fits(entries: readonly NewTokens[]): boolean {
    return entries.every(({ tokens, first }) => tokens.length === 1 && first < this.#maxSeqlen);
  }

  /** As {@link Step.attention}, of a step of so many sequences that {@link DecodeGraphs.fits}. */
  replay(step: Step, layer: number, rows: DecodeRows<'float32'>): Tensor<'float32'> {
    const batch = 2 ** Math.ceil(Math.log2(step.totalTokens));
    const graph = this.#graphOf(this.#kindOf[layer], batch);
    return graph.replay(step, [rows], { firstLayer: layer })[0];
  }

  dispose(): void {
    for (const graph of this.#graphs.values()) graph.dispose();
    this.#graphs.clear();
  }

  #graphOf(kind: number, batch: number): DecodeGraph<'float32'> {
    const key = `${kind} ${batch}`;
    const known = this.#graphs.get(key);
    if (known) return known;
    const options = { ...this.#kinds[kind], batch, maxSeqlen: this.#maxSeqlen };
    const made = this.#cache.captureDecode<'float32'>(options);
    this.#graphs.set(key, made);
    return made;
  }
}

function alike(a: GraphKind, b: GraphKind): boolean {
  return (
    a.heads === b.heads &&
    a.scale === b.scale &&
    a.softcap === b.softcap &&
    a.window?.[0] === b.window?.[0] &&
    a.sinks === b.sinks &&
    a.rotary?.cos === b.rotary?.cos &&
    a.rotary?.interleaved === b.rotary?.interleaved
  );
}
