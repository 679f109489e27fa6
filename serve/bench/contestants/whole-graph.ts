// The graph of the bench's model as onnxruntime-node runs it whole.
import { Tensor } from 'onnxruntime-node';
import { benchVariant } from '../model/bench-model.js';

const { layers, kvHeads, headDim, vocab } = benchVariant;

/** Of a row of the cache. */
export const kvShape = { kvHeads, headDim };

/** Inputs and outputs that are the cache. */
export const cacheNames = Array.from({ length: layers }, (_, layer) => layer).flatMap((layer) =>
  ['key', 'value'].map((what) => ({
    past: `past_key_values.${layer}.${what}`,
    present: `present.${layer}.${what}`,
  })),
);

export const noCache = (): Record<string, Tensor> => {
  const none = () => new Tensor('float32', new Float32Array(), [1, kvHeads, 0, headDim]);
  return Object.fromEntries(cacheNames.map(({ past }) => [past, none()]));
};

export const int64 = (values: ArrayLike<number>, dims: number[]): Tensor =>
  new Tensor('int64', BigInt64Array.from(Array.from(values), BigInt), dims);

export const oneRow = (tokens: ArrayLike<number>): Tensor => int64(tokens, [1, tokens.length]);

export const ones = (rows: number, columns: number): Tensor =>
  new Tensor('int64', new BigInt64Array(rows * columns).fill(1n), [rows, columns]);

/** The likeliest token after the last of each row. */
export function nextTokens({ data, dims }: Tensor): number[] {
  const [rows, length] = dims;
  const logits = data as Float32Array;
  return Array.from({ length: rows }, (_, row) => {
    const from = ((row + 1) * length - 1) * vocab;
    let best = 0;
    for (let id = 1; id < vocab; id++) if (logits[from + id] > logits[from + best]) best = id;
    return best;
  });
}
