import { intsAttribute } from '../onnx/attributes.js';
import type { OnnxNode } from '../onnx/format.js';
import type { Constant, Dependence, Tokens } from './dependence.js';

/** The shape of a row of every token: the axes of a token are known, those that count them not. */
export function shapeOf({ rank, lead, width }: Tokens): Constant {
  const values = new Array<number>(rank).fill(Number.NaN);
  if (rank === lead + 2 && width !== undefined) values[rank - 1] = width;
  return constant({ dims: [rank], values: () => values });
}

/** What a node makes of constants alone: as much of it as shapes are computed by. */
export function ofConstants(node: OnnxNode, inputs: readonly (Dependence | undefined)[]): Constant {
  const given = inputs.filter((input) => input?.kind === 'constant');
  const [first, second] = given;
  const fed = given.some((each) => each.fed);
  const counts = given.some((each) => each.counts);
  const known = first && folded(node, first, second, given);
  if (known && (known.values || !counts)) return constant({ ...known, fed });
  return { kind: 'constant', fed, counts };
}

type Known = Pick<Constant, 'dims' | 'values'>;

function folded(
  node: OnnxNode,
  first: Constant,
  second: Constant | undefined,
  all: readonly Constant[],
): Known | undefined {
  const { dims, values } = first;
  switch (node.opType) {
    case 'Cast':
    case 'Identity':
    case 'DequantizeLinear':
      return { dims, values };
    case 'Unsqueeze':
    case 'Squeeze':
      return { values };
    case 'Concat': {
      const lists = all.map((each) => each.values);
      if (lists.includes(undefined)) return undefined;
      return { values: () => lists.flatMap((list) => list?.() ?? []) };
    }
    case 'Gather': {
      const [list, at] = [values?.(), second?.values?.()];
      if (!list || !at) return undefined;
      return { dims: second?.dims, values: () => at.map((i) => list.at(i) ?? Number.NaN) };
    }
    case 'Reshape': {
      const target = second?.values?.();
      return target?.every((dim) => dim > 0) ? { dims: target } : undefined;
    }
    case 'Transpose': {
      const perm = intsAttribute(node, 'perm') ?? dims?.map((_, i) => dims.length - 1 - i);
      return dims && { dims: perm?.map((axis) => dims[axis]) };
    }
    default:
      return undefined;
  }
}

function constant({ dims, values, fed }: Known & { fed?: boolean }): Constant {
  const counts = values?.().some(Number.isNaN) ?? false;
  return { kind: 'constant', dims, values, fed, counts };
}
