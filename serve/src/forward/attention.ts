import { type DeviceName, tensor } from 'flash-attention';
import type { KvCache, Step, StepAttentionOptions } from 'flash-attention/serving';
import type { CutModel } from '../cutter/cut.js';
import { DecodeGraphs } from './decode-graphs.js';
import type { NewTokens } from './packed-tokens.js';
import { Rotary } from './rotary.js';

/**
 * Appends keys and values of a layer and attends.
 *
 * @param projections of the layer's part, a row of each token: q, k and v, or all three side by
 * side.
 * @returns `[total, heads * headDim]`
 */
export type Attend = (
  layer: number,
  projections: readonly Float32Array[],
) => Promise<Float32Array> | Float32Array;

/** A layer, as far as its numbers do not depend on the step. */
interface Layer {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly options: Pick<StepAttentionOptions, 'scale' | 'softcap' | 'window' | 'sinks'>;
  readonly rotary?: { readonly table: number; readonly interleaved: boolean };
}

/** What decode steps are captured in. */
export interface GraphMemory {
  readonly cache: KvCache;
  /** The most tokens that a sequence of it has. */
  readonly maxSeqlen: number;
}

/** The attentions of a model, and what they need on their device. */
export class Attention {
  readonly #device: DeviceName;
  readonly #layers: readonly Layer[];
  readonly #tables: readonly Rotary[];
  /** By layer, where positions say which rows of a table tokens turn by. */
  readonly #options: readonly StepAttentionOptions[];
  /** Undefined on the CPU, which launches nothing. */
  readonly #graphs: DecodeGraphs | undefined;

  /** @param memory absent: decode steps are computed call by call. */
  constructor(device: DeviceName, { layers, tables }: CutModel, memory?: GraphMemory) {
    this.#device = device;
    this.#tables = tables.map((each) => new Rotary(each, device));
    this.#layers = layers.map(({ attention, sinks, table }) => {
      const { scale, softcap, window, heads, kvHeads, headDim, rotary } = attention;
      const options = {
        ...(scale === undefined ? {} : { scale }),
        ...(softcap === undefined ? {} : { softcap }),
        // A window counts the token itself; the later ones are cut off by causality.
        ...(window === undefined ? {} : { window: [window - 1, Infinity] as [number, number] }),
        ...(sinks === undefined ? {} : { sinks: tensor(sinks, [heads], { device }) }),
      };
      const layer = { heads, kvHeads, headDim, options };
      if (!rotary || table === undefined) return layer;
      return { ...layer, rotary: { table, interleaved: rotary.interleaved } };
    });
    this.#options = this.#layers.map((layer) => this.#optionsOf(layer, []));
    if (memory && device !== 'cpu') this.#graphs = this.#graphsIn(memory);
  }

  /**
   * Attention over new tokens in a step of the cache.
   *
   * @throws RangeError when a sequence gets longer than a rotary table.
   */
  of(step: Step, entries: readonly NewTokens[]): Attend {
    const { totalTokens } = step;
    const positions = this.#tables.map((table) => table.rowsOf(entries));
    const options = positions.every((own) => own === undefined)
      ? this.#options
      : this.#layers.map((layer) => this.#optionsOf(layer, positions));
    if (this.#device === 'cpu') {
      // This thread is the engine's own: it computes, and copies nothing.
      return (index, projections) => {
        const layer = this.#layers[index];
        const [q, k, v] = separate(projections, layer, totalTokens);
        return step.attention(index, q, k, v, { ...options[index], sync: true });
      };
    }
    const graphs = options === this.#options && this.#graphs?.fits(entries) && this.#graphs;
    if (graphs) {
      return async (index, projections) => {
        const [q, k, v] = separate(projections, this.#layers[index], totalTokens);
        return graphs.replay(step, index, { q, k, v }).take();
      };
    }
    return async (index, projections) => {
      const layer = this.#layers[index];
      const rows = separate(projections, layer, totalTokens);
      const { headDim } = layer;
      const tensors = rows.map((data) => {
        const shape = [totalTokens, data.length / (totalTokens * headDim), headDim];
        return tensor(data, shape, { device: this.#device });
      });
      try {
        const [q, k, v] = tensors;
        const out = step.attention(index, q, k, v, options[index]);
        return (await out.take()) as Float32Array;
      } finally {
        for (const each of tensors) each.dispose();
      }
    };
  }

  #optionsOf(
    { options, rotary }: Layer,
    positions: readonly (Int32Array | undefined)[],
  ): StepAttentionOptions {
    if (rotary === undefined) return options;
    const { cos, sin } = this.#tables[rotary.table];
    const { interleaved } = rotary;
    const own = positions[rotary.table];
    return {
      ...options,
      rotary: { cos, sin, interleaved, ...(own === undefined ? {} : { positions: own }) },
    };
  }

  #graphsIn({ cache, maxSeqlen }: GraphMemory): DecodeGraphs | undefined {
    const kinds = this.#layers.map(({ heads }, n) => ({ heads, ...this.#options[n] }));
    const rows = this.#tables.map(({ cos }) => cos.shape[0]);
    return DecodeGraphs.of(cache, kinds, Math.min(maxSeqlen, ...rows));
  }

  dispose(): void {
    this.#graphs?.dispose();
    for (const table of this.#tables) table.dispose();
    for (const { options } of this.#layers) options.sinks?.dispose();
  }
}

/** Rows of q, k and v, each for itself. */
function separate(
  projections: readonly Float32Array[],
  { heads, kvHeads, headDim }: Layer,
  total: number,
): readonly Float32Array[] {
  if (projections.length > 1) return projections;
  const [packed] = projections;
  const row = packed.length / total;
  let begin = 0;
  return [heads, kvHeads, kvHeads].map((count) => {
    const [from, width] = [begin, count * headDim];
    begin += width;
    if (total === 1) return packed.subarray(from, begin);
    const rows = new Float32Array(total * width);
    for (let t = 0; t < total; t++) {
      rows.set(packed.subarray(t * row + from, t * row + from + width), t * width);
    }
    return rows;
  });
}
