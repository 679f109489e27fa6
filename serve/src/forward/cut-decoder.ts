import type { DeviceName } from 'flash-attention';
import type { Step } from 'flash-attention/serving';
import { Tensor } from 'onnxruntime-node';
import type { CutLayer } from '../cutter/cut.js';
import type { DecoderModel } from '../model/decoder-model.js';
import { Attention, type GraphMemory } from './attention.js';
import { gatherTokens, type NewTokens, packTokens } from './packed-tokens.js';
import { PartSession, type Tensors } from './part-session.js';

/** What is kept of a layer: the model's graph, which may have its weights in it, is not. */
type Layer = Pick<CutLayer, 'projections' | 'output'> & {
  readonly width: number;
  /** Tensors that parts behind it take. */
  readonly needed: readonly string[];
};

/** A decoder in parts, with attention of a step between them. */
export class CutDecoder {
  readonly #layers: readonly Layer[];
  readonly #parts: readonly PartSession[];
  readonly #attention: Attention;

  private constructor({ cut }: DecoderModel, parts: readonly PartSession[], attention: Attention) {
    const ends = [...cut.parts, ...(cut.hidden ? [cut.hidden] : [])];
    this.#layers = cut.layers.map(({ projections, output, attention }, layer) => ({
      ...{ projections, output, width: attention.heads * attention.headDim },
      needed: [...new Set(ends.slice(layer + 1).flatMap(({ inputs }) => inputs))],
    }));
    this.#parts = parts;
    this.#attention = attention;
  }

  /**
   * @param options.graphs absent: decode steps are computed call by call.
   * @throws what onnxruntime throws, and the device where memory is lacking.
   */
  static load(
    model: DecoderModel,
    { device, threads, graphs }: { device: DeviceName; threads: number; graphs?: GraphMemory },
  ): CutDecoder {
    const { cut, graphFolder } = model;
    const parts: PartSession[] = [];
    try {
      for (const part of cut.parts) parts.push(new PartSession(part, graphFolder, threads));
      return new CutDecoder(model, parts, new Attention(device, cut, graphs));
    } catch (error) {
      for (const part of parts) part.release();
      throw error;
    }
  }

  /**
   * All parts but the last, with attention behind each: what a last one may take.
   *
   * @throws RangeError when a sequence gets longer than its rotary table.
   */
  async throughLayers(step: Step, entries: readonly NewTokens[]): Promise<Tensors> {
    const attend = this.#attention.of(step, entries);
    let tensors = packTokens(entries);
    for (const [layer, { projections, output, width, needed }] of this.#layers.entries()) {
      const made = this.#parts[layer].run(tensors);
      const rows = projections.map((name) => dataOf(made[name]));
      const attended = await attend(layer, rows);
      const out = new Tensor('float32', attended, [step.totalTokens, 1, width]);
      const kept: Record<string, Tensor> = {};
      for (const name of needed) {
        const tensor = name === output ? out : (made[name] ?? tensors[name]);
        if (tensor !== undefined) kept[name] = tensor;
      }
      tensors = kept;
    }
    return tensors;
  }

  /**
   * The part behind the last attention.
   *
   * @param tensors of {@link CutDecoder.throughLayers}, for `total` tokens.
   * @param rows tokens whose logits are wanted; the others aren't computed.
   * @returns `[rows, vocabSize]`
   */
  logits(tensors: Tensors, total: number, rows: readonly number[]): Float32Array {
    const last = this.#parts[this.#parts.length - 1];
    const wanted = rows.length < total ? gatherTokens(tensors, total, rows) : tensors;
    return dataOf(last.run(wanted).logits);
  }

  release(): void {
    this.#attention.dispose();
    for (const part of this.#parts) part.release();
  }
}

function dataOf({ data }: Tensor): Float32Array {
  return data as Float32Array;
}
