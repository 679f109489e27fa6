import { Tensor } from 'onnxruntime-node';
import type { Tensors } from './part-session.js';

/** New tokens of one sequence. */
export interface NewTokens {
  readonly tokens: Int32Array;
  /** Where the first of them stands. */
  readonly first: number;
  readonly longRope: boolean;
}

/**
 * What parts take of tokens, all sequences one behind the other. Each is fed as a sequence of one,
 * `[total, 1]`, and told where it stands: parts look at no other.
 */
export function packTokens(entries: readonly NewTokens[]): Tensors {
  const total = entries.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const [ids, positions] = [new BigInt64Array(total), new BigInt64Array(total)];
  let row = 0;
  for (const { tokens, first } of entries) {
    for (let i = 0; i < tokens.length; i++, row++) {
      ids[row] = BigInt(tokens[i]);
      positions[row] = BigInt(first + i);
    }
  }
  return {
    input_ids: new Tensor('int64', ids, [total, 1]),
    position_ids: new Tensor('int64', positions, [total, 1]),
    num_logits_to_keep: new Tensor('int64', BigInt64Array.of(1n), []),
  };
}

/** Rows of some tokens alone, of every tensor that has a row of each. */
export function gatherTokens(tensors: Tensors, total: number, rows: readonly number[]): Tensors {
  const gathered = Object.entries(tensors).map(([name, tensor]) => {
    const [first, ...rest] = tensor.dims;
    if (tensor.size === 0 || first === undefined || first % total !== 0) return [name, tensor];
    const data = tensor.data as Float32Array;
    const width = data.length / total;
    const Typed = data.constructor as new (length: number) => Float32Array;
    const picked = new Typed(rows.length * width);
    rows.forEach((row, n) => {
      picked.set(data.subarray(row * width, (row + 1) * width), n * width);
    });
    return [name, new Tensor(tensor.type, picked, [(first / total) * rows.length, ...rest])];
  });
  return Object.fromEntries(gathered) as Tensors;
}
