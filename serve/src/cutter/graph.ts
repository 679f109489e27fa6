import { graphAttribute, tensorAttribute } from '../onnx/attributes.js';
import {
  elementType,
  type OnnxGraph,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValue,
} from '../onnx/format.js';
import { dimsOf, elementCount, tensorNumbers } from '../onnx/tensors.js';
import { isAttention } from './attention-node.js';
import type { Constant, Dependence } from './dependence.js';
import { dependenceOf } from './operators.js';
import { UnsupportedModelError } from './refusal.js';

/** Inputs of decoders that are known here, and what they are made of. */
const knownInputs: Readonly<Record<string, Dependence>> = {
  input_ids: { kind: 'tokens', rank: 2, lead: 1, width: 1 },
  position_ids: { kind: 'tokens', rank: 2, lead: 1, width: 1 },
  num_logits_to_keep: { kind: 'constant', dims: [], fed: true },
  attention_mask: { kind: 'lengths' },
};

/** Longer constants are no axes or shapes. */
const mostValues = 64;

/** A model's graph: where tensors come from, what they depend on, how many attentions are above. */
export class ModelGraph {
  readonly nodes: readonly OnnxNode[];
  readonly attentions: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, OnnxTensor>;
  readonly inputs: ReadonlyMap<string, OnnxValue>;
  readonly outputs: ReadonlyMap<string, OnnxValue>;
  readonly folder: string;
  readonly #producers = new Map<string, OnnxNode>();
  readonly #dependences = new Map<string, Dependence>();
  readonly #levels = new Map<string, number>();
  readonly #types = new Map<string, number>();

  /** @param folder where external data are. */
  constructor(graph: OnnxGraph, folder: string) {
    const named = <T extends { name: string }>(values: readonly T[]) =>
      new Map(values.map((value) => [value.name, value]));
    this.folder = folder;
    this.nodes = graph.node;
    this.initializers = named(graph.initializer);
    this.inputs = named(graph.input.filter(({ name }) => !this.initializers.has(name)));
    this.outputs = named(graph.output);
    for (const { name, type } of [...graph.input, ...graph.valueInfo]) {
      if (type?.tensorType?.elemType) this.#types.set(name, type.tensorType.elemType);
    }
    for (const name of this.inputs.keys()) {
      this.#dependences.set(name, knownInputs[name] ?? { kind: 'lengths' });
    }
    this.attentions = this.nodes.filter(isAttention);
    for (const node of this.nodes) this.#add(node);
  }

  #add(node: OnnxNode): void {
    const attention = isAttention(node);
    // What else attention takes are tables and lengths: they put nothing above it.
    const inputs = attention ? node.input.slice(0, 3) : node.input;
    const above = Math.max(0, ...inputs.map((name) => this.levelOf(name)));
    const dependence = attention ? attended : this.#dependenceOf(node);
    node.output.forEach((name, index) => {
      if (name === '') return;
      this.#producers.set(name, node);
      this.#levels.set(name, attention ? above + 1 : above);
      const cache = attention && index > 0;
      this.#dependences.set(name, cache ? { kind: 'lengths' } : dependence);
    });
  }

  #dependenceOf(node: OnnxNode): Dependence {
    if (node.opType === 'Constant') {
      const value = tensorAttribute(node, 'value');
      return value ? this.#constant(value) : { kind: 'constant' };
    }
    const inputs = node.input.map((name) => (name === '' ? undefined : this.dependenceOf(name)));
    if (graphAttribute(node, 'then_branch') ?? graphAttribute(node, 'body')) {
      return { kind: 'refused', node, reason: 'runs other graphs' };
    }
    return dependenceOf(node, inputs);
  }

  #constant(tensor: OnnxTensor): Constant {
    const integers = [elementType.int32, elementType.int64] as readonly number[];
    const dims = dimsOf(tensor);
    if (!integers.includes(tensor.dataType) || elementCount(tensor) > mostValues) {
      return { kind: 'constant', dims };
    }
    return {
      kind: 'constant',
      dims,
      values: () => Array.from(tensorNumbers(tensor, this.folder)),
    };
  }

  /** Attentions above a tensor; 0 of inputs and weights. */
  levelOf(name: string): number {
    return this.#levels.get(name) ?? 0;
  }

  dependenceOf(name: string): Dependence {
    const found = this.#dependences.get(name);
    if (found) return found;
    const tensor = this.initializers.get(name);
    if (!tensor) throw new UnsupportedModelError(`tensor ${name} comes from nowhere`);
    const constant = this.#constant(tensor);
    this.#dependences.set(name, constant);
    return constant;
  }

  producerOf(name: string): OnnxNode | undefined {
    return this.#producers.get(name);
  }

  /** Element type, as far as the model tells; float32 else. */
  typeOf(name: string): number {
    return this.#types.get(name) ?? elementType.float32;
  }
}

const attended: Dependence = { kind: 'tokens', rank: 3, lead: 1 };
