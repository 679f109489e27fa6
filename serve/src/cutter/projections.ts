import { attribute } from '../onnx/attributes.js';
import { makeNode } from '../onnx/format.js';
import { makeTensor } from '../onnx/tensors.js';
import type { AttentionNode } from './attention-node.js';
import type { PartBuilder } from './part.js';

/**
 * Names of an attention's inputs among a part's outputs, in heads of headDim: q `[total, 1, heads]`,
 * k and v `[total, 1, kvHeads]`, or one tensor with those of a token side by side.
 */
export type Projections = readonly [qkv: string] | readonly [q: string, k: string, v: string];

const ints = (name: string, ...values: number[]) =>
  makeTensor(name, BigInt64Array.from(values, BigInt), [values.length]);

/**
 * Ends a part with what attention takes: normed, where the attention node did that itself. Rotation
 * is left to attention.
 */
export function addProjections(part: PartBuilder, attention: AttentionNode): Projections {
  const { node, heads, kvHeads, headDim, norms } = attention;
  const [query, key = '', value = ''] = node.input;
  for (const name of [query, key, value]) if (name !== '') part.need(name);
  // A part's output has to be made in it, and may be made by a part before (keys of other layers).
  const output = (x: string, name: string): string => {
    part.add(makeNode('Identity', `cut.${name}.Identity`, [[x], [`cut.${name}`]]));
    part.output(`cut.${name}`);
    return `cut.${name}`;
  };
  if (key === '' && !norms) return [output(query, 'qkv')];
  let [q, k, v] = [query, key, value];
  if (key === '') {
    const sizes = ints('cut.split.sizes', ...[heads, kvHeads, kvHeads].map((n) => n * headDim));
    [q, k, v] = ['cut.split.q', 'cut.split.k', 'cut.split.v'];
    const axis = attribute.int(-1);
    part.add(
      makeNode(
        'Split',
        'cut.split',
        [
          [query, sizes.name],
          [q, k, v],
        ],
        { axis },
      ),
      [sizes],
    );
  }
  if (norms) {
    q = norm(part, 'q', [q, norms.q], [heads, headDim, norms.epsilon]);
    k = norm(part, 'k', [k, norms.k], [kvHeads, headDim, norms.epsilon]);
  }
  return [output(q, 'q'), output(k, 'k'), output(v, 'v')];
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
