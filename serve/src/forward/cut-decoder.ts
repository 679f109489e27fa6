import type { DeviceName } from 'flash-attention';
import type { Step } from 'flash-attention/serving';
import { Tensor } from 'onnxruntime-node';
import type { CutLayer } from '../cutter/cut.js';
import type { RotaryTables } from '../cutter/rotary-tables.js';
import type { DecoderModel } from '../model/decoder-model.js';
import { type Attend, attentionOn } from './attend.js';
import { gatherTokens, type NewTokens, packTokens } from './packed-tokens.js';
import { PartSession, type Tensors } from './part-session.js';

/** What is kept of a layer: the model's graph, which may have its weights in it, is not. */
type Layer = Pick<CutLayer, 'q' | 'k' | 'v' | 'output'> & { readonly width: number };

/** A decoder in parts, with attention of a step between them. */
export class CutDecoder {
  readonly #layers: readonly Layer[];
  readonly #tables: readonly RotaryTables[];
  readonly #parts: readonly PartSession[];
  readonly #attend: Attend;
  /** By layer: tensors that parts behind it take. */
  readonly #needed: readonly ReadonlySet<string>[];

  private constructor(
    { cut }: DecoderModel,
    parts: readonly PartSession[],
    device: DeviceName,
    needed: ReadonlySet<string>[],
  ) {
    this.#layers = cut.layers.map(({ q, k, v, output, attention }) => {
      return { q, k, v, output, width: attention.heads * attention.headDim };
    });
    this.#tables = cut.tables;
    this.#parts = parts;
    this.#attend = attentionOn(device, cut.layers);
    this.#needed = needed;
  }

  /** @throws what onnxruntime throws. */
  static async load(
    model: DecoderModel,
    { device, threads }: { device: DeviceName; threads: number },
  ): Promise<CutDecoder> {
    const { cut, graphFolder } = model;
    const parts: PartSession[] = [];
    try {
      for (const part of cut.parts) parts.push(await PartSession.load(part, graphFolder, threads));
    } catch (error) {
      for (const part of parts) await part.release();
      throw error;
    }
    const ends = [...cut.parts, ...(cut.hidden ? [cut.hidden] : [])];
    const needed = cut.layers.map(
      (_, layer) => new Set(ends.slice(layer + 1).flatMap(({ inputs }) => inputs)),
    );
    return new CutDecoder(model, parts, device, needed);
  }

  /** All parts but the last, with attention behind each: what a last one may take. */
  async throughLayers(step: Step, entries: readonly NewTokens[]): Promise<Tensors> {
    let tensors = packTokens(entries, this.#tables);
    for (const [layer, { q, k, v, output, width }] of this.#layers.entries()) {
      const made = await this.#parts[layer].run(tensors);
      const rows = { q: dataOf(made[q]), k: dataOf(made[k]), v: dataOf(made[v]) };
      const attended = await this.#attend(step, layer, rows);
      const dims = [step.totalTokens, 1, width];
      const all = { ...tensors, ...made, [output]: new Tensor('float32', attended, dims) };
      const needed = Object.entries(all).filter(([name]) => this.#needed[layer].has(name));
      tensors = Object.fromEntries(needed);
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
  async logits(tensors: Tensors, total: number, rows: readonly number[]): Promise<Float32Array> {
    const last = this.#parts[this.#parts.length - 1];
    const wanted = rows.length < total ? gatherTokens(tensors, total, rows) : tensors;
    return dataOf((await last.run(wanted)).logits);
  }

  async release(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.release()));
  }
}

function dataOf({ data }: Tensor): Float32Array {
  return data as Float32Array;
}
