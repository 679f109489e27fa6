import { graphAttribute, tensorAttribute } from '../onnx/attributes.js';
import type { OnnxGraph, OnnxNode, OnnxTensor } from '../onnx/format.js';
import { dimsOf, tensorNumbers } from '../onnx/tensors.js';
import type { ModelGraph } from './graph.js';
import { UnsupportedModelError } from './refusal.js';

/** Cosines and sines of angles, row by position. */
export interface RotaryTable {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly rows: number;
  /** Pairs of elements that turn. */
  readonly pairs: number;
}

/** The tables of a layer: longrope models have another one for long sequences. */
export interface RotaryTables {
  readonly short: RotaryTable;
  readonly long?: RotaryTable;
}

/**
 * Tables as an attention node names them: weights, or what an `If` on the total length chooses
 * (longrope, Ding et al. 2024, arXiv 2402.13753). That is decided per sequence here, by what it may
 * grow to, for the cache keeps rotated keys.
 *
 * @throws {@link UnsupportedModelError}
 */
export function readRotaryTables(
  graph: ModelGraph,
  node: OnnxNode,
  [cos, sin]: [cos: string, sin: string],
): RotaryTables {
  const choice = graph.producerOf(cos);
  if (choice?.opType !== 'If') {
    return { short: table(graph, node, [constantOf(graph, cos), constantOf(graph, sin)]) };
  }
  const [then, otherwise] = ['then_branch', 'else_branch'].map((name) => {
    const branch = graphAttribute(choice, name);
    const pick = (tensor: string) => {
      const output = branch?.output[choice.output.indexOf(tensor)]?.name;
      return branch && output ? constantIn(branch, graph, output) : undefined;
    };
    return table(graph, choice, [pick(cos), pick(sin)]);
  });
  if (then.pairs !== otherwise.pairs) {
    throw UnsupportedModelError.at(choice, 'chooses among rotary tables of different widths');
  }
  return { short: otherwise, long: then };
}

function table(
  { folder }: ModelGraph,
  node: OnnxNode,
  tensors: [OnnxTensor | undefined, OnnxTensor | undefined],
): RotaryTable {
  const [cos, sin] = tensors.map((tensor) => {
    const numbers = tensor && dimsOf(tensor).length === 2 && tensorNumbers(tensor, folder);
    if (numbers instanceof Float32Array) return numbers;
    throw UnsupportedModelError.at(node, 'has rotary tables that are not constants in float32');
  });
  const [rows, pairs] = dimsOf(tensors[0] as OnnxTensor);
  return { cos, sin, rows, pairs };
}

function constantOf(graph: ModelGraph, name: string): OnnxTensor | undefined {
  const tensor = graph.initializers.get(name);
  if (tensor) return tensor;
  const node = graph.producerOf(name);
  if (node?.opType === 'Identity') return constantOf(graph, node.input[0]);
  return node?.opType === 'Constant' ? tensorAttribute(node, 'value') : undefined;
}

/** A constant of a branch; a branch sees what is around it. */
function constantIn(branch: OnnxGraph, graph: ModelGraph, name: string): OnnxTensor | undefined {
  const own = branch.initializer.find((tensor) => tensor.name === name);
  if (own) return own;
  const node = branch.node.find(({ output }) => output.includes(name));
  if (node?.opType === 'Constant') return tensorAttribute(node, 'value');
  if (node?.opType === 'Identity') return constantIn(branch, graph, node.input[0]);
  return node ? undefined : constantOf(graph, name);
}
