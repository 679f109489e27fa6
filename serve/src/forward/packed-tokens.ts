import { Tensor } from 'onnxruntime-node';
import { rotaryInputs } from '../cutter/part.js';
import type { RotaryTables } from '../cutter/rotary-tables.js';
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
export function packTokens(
  entries: readonly NewTokens[],
  tables: readonly RotaryTables[],
): Tensors {
  const ids = entries.flatMap(({ tokens }) => Array.from(tokens, BigInt));
  const positions = entries.flatMap(({ tokens, first }) =>
    Array.from(tokens, (_, i) => BigInt(first + i)),
  );
  const each = (values: bigint[]) =>
    new Tensor('int64', BigInt64Array.from(values), [ids.length, 1]);
  const feeds: Record<string, Tensor> = {
    input_ids: each(ids),
    position_ids: each(positions),
    num_logits_to_keep: new Tensor('int64', BigInt64Array.of(1n), []),
    [rotaryInputs.rows]: each(ids.map((_, row) => BigInt(row))),
  };
  tables.forEach((table, n) => {
    const [cos, sin] = (['cos', 'sin'] as const).map((name) => rowsOf(entries, table, name));
    feeds[rotaryInputs.cos(n)] = cos;
    feeds[rotaryInputs.sin(n)] = sin;
  });
  return feeds;
}

/** The table's row of every token. */
function rowsOf(
  entries: readonly NewTokens[],
  { short, long }: RotaryTables,
  name: 'cos' | 'sin',
): Tensor {
  const { pairs } = short;
  const total = entries.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const rows = new Float32Array(total * pairs);
  let end = 0;
  for (const { tokens, first, longRope } of entries) {
    const table = longRope && long ? long : short;
    const last = first + tokens.length;
    if (last > table.rows) {
      throw new RangeError(`${last} tokens of a sequence, of ${table.rows} in its rotary table`);
    }
    rows.set(table[name].subarray(first * pairs, last * pairs), end);
    end += tokens.length * pairs;
  }
  return new Tensor('float32', rows, [total, pairs]);
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
