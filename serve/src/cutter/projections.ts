import { attribute } from '../onnx/attributes.js';
import { makeNode } from '../onnx/format.js';
import { makeTensor } from '../onnx/tensors.js';
import type { AttentionNode } from './attention-node.js';
import { type PartBuilder, rotaryInputs } from './part.js';

/** Names of an attention's inputs among a part's outputs. */
export interface Projections {
  readonly q: string;
  readonly k: string;
  readonly v: string;
}

const ints = (name: string, ...values: number[]) =>
  makeTensor(name, BigInt64Array.from(values, BigInt), [values.length]);

/**
 * Ends a part with q `[total, 1, heads * headDim]`, k and v `[total, 1, kvHeads * headDim]`, as
 * attention takes them: split, normed and rotated, all of which the attention node did itself.
 *
 * @param table its rotary table's number, and the pairs of elements that turn.
 */
export function addProjections(
  part: PartBuilder,
  attention: AttentionNode,
  table: { readonly index: number; readonly pairs: number } | undefined,
): Projections {
  const { node, heads, kvHeads, headDim, norms, rotary } = attention;
  const [query, key = '', value = ''] = node.input;
  part.need(query);
  let { q, k, v } = { q: query, k: key, v: value };
  if (key === '') {
    const sizes = ints('cut.split.sizes', ...[heads, kvHeads, kvHeads].map((n) => n * headDim));
    const output = ['cut.split.q', 'cut.split.k', 'cut.split.v'];
    const axis = attribute.int(-1);
    part.add(makeNode('Split', 'cut.split', [[query, sizes.name], output], { axis }), [sizes]);
    [q, k, v] = output;
  } else {
    part.need(key);
    part.need(value);
  }
  const rotate = (x: string, name: 'q' | 'k', count: number) => {
    const normed = norms ? norm(part, name, [x, norms[name]], [count, headDim, norms.epsilon]) : x;
    if (!rotary || table === undefined) return normed;
    const { index, pairs } = table;
    const inputs = [rotaryInputs.rows, rotaryInputs.cos(index), rotaryInputs.sin(index)];
    const attributes = {
      interleaved: attribute.int(rotary.interleaved ? 1 : 0),
      num_heads: attribute.int(count),
      rotary_embedding_dim: attribute.int(2 * pairs < headDim ? 2 * pairs : 0),
    };
    const rotated = makeNode(
      'RotaryEmbedding',
      `cut.rotary.${name}`,
      [[normed, ...inputs.map((input) => part.input(input))], [`cut.rotated.${name}`]],
      attributes,
      'com.microsoft',
    );
    return part.add(rotated);
  };
  // A part's output has to be made in it, and may be made by a part before (keys of other layers).
  const own = (x: string, name: string) =>
    part.add(makeNode('Identity', `cut.${name}.Identity`, [[x], [`cut.${name}`]]));
  const made = {
    q: own(rotate(q, 'q', heads), 'q'),
    k: own(rotate(k, 'k', kvHeads), 'k'),
    v: own(v, 'v'),
  };
  for (const name of Object.values(made)) part.output(name);
  return made;
}

/** RMS norm of each head. */
function norm(
  part: PartBuilder,
  name: string,
  [x, weight]: [x: string, weight: string],
  [heads, headDim, epsilon]: [heads: number, headDim: number, epsilon: number],
): string {
  part.need(weight);
  const split = ints(`cut.norm.${name}.heads`, 0, heads, headDim);
  const joined = ints(`cut.norm.${name}.row`, 0, 1, heads * headDim);
  const base = `cut.norm.${name}`;
  const inHeads = part.add(
    makeNode('Reshape', `${base}.split`, [[x, split.name], [`${base}.split`]]),
    [split],
  );
  const normed = part.add(
    makeNode('SimplifiedLayerNormalization', base, [[inHeads, weight], [`${base}.normed`]], {
      axis: attribute.int(-1),
      epsilon: attribute.float(epsilon),
      stash_type: attribute.int(1),
    }),
  );
  return part.add(
    makeNode('Reshape', `${base}.join`, [[normed, joined.name], [`${base}.joined`]]),
    [joined],
  );
}
