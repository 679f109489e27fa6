import path from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Variant } from '../models/index.js';

/** What of a model's shape its inputs and outputs need. */
type Shape = Pick<Variant, 'layers' | 'kvHeads' | 'headDim' | 'vocab'>;

/** The model as onnxruntime runs it as a whole: what the cut one has to compute. */
export class WholeGraph {
  readonly #session: InferenceSession;
  readonly #shape: Shape;

  private constructor(session: InferenceSession, shape: Shape) {
    this.#session = session;
    this.#shape = shape;
  }

  static async load(folder: string, shape: Shape): Promise<WholeGraph> {
    const options = {
      intraOpNumThreads: 1,
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    };
    const session = await InferenceSession.create(path.join(folder, 'model.onnx'), options);
    return new WholeGraph(session, shape);
  }

  /** Logits of every token, each seeing those before it. */
  async logits(tokens: Int32Array): Promise<Float32Array[]> {
    const { layers, kvHeads, headDim, vocab } = this.#shape;
    const length = tokens.length;
    const int64 = (values: Iterable<number>, dims: number[]) =>
      new Tensor('int64', BigInt64Array.from(values, BigInt), dims);
    const feeds: Record<string, Tensor> = {
      input_ids: int64(tokens, [1, length]),
      attention_mask: int64(new Array(length).fill(1), [1, length]),
      position_ids: int64(tokens.keys(), [1, length]),
      num_logits_to_keep: int64([0], []),
    };
    for (let layer = 0; layer < layers; layer++) {
      for (const what of ['key', 'value']) {
        const none = new Tensor('float32', new Float32Array(), [1, kvHeads, 0, headDim]);
        feeds[`past_key_values.${layer}.${what}`] = none;
      }
    }
    const own = this.#session.inputNames.map((name) => [name, feeds[name]]);
    const result = (await this.#session.run(Object.fromEntries(own))).logits;
    const all = result.data as Float32Array;
    return Array.from(tokens, (_, row) => all.subarray(row * vocab, (row + 1) * vocab));
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}
