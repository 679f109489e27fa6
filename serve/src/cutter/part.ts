import {
  elementType,
  encodeModel,
  makeValue,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
} from '../onnx/format.js';
import { isAttention } from './attention-node.js';
import type { ModelGraph } from './graph.js';
import { UnsupportedModelError } from './refusal.js';

/** A model between two attentions: tokens `[total, 1, …]` in, tokens out. */
export interface Part {
  /** An ONNX model of a few kB, with the external data of the whole one. */
  readonly bytes: Uint8Array;
  /** The model's own inputs, tensors of parts before and results of attentions. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly nodes: number;
  /** Of its weights. */
  readonly initializers: readonly OnnxTensor[];
}

/** Collects what a part needs. */
export class PartBuilder {
  /** Tensors of parts before that it takes. */
  readonly carried = new Set<string>();
  readonly #graph: ModelGraph;
  readonly #level: number;
  readonly #inputs = new Set<string>();
  readonly #kept = new Set<OnnxNode>();
  readonly #added: OnnxNode[] = [];
  readonly #initializers = new Map<string, OnnxTensor>();
  readonly #outputs = new Set<string>();

  constructor(graph: ModelGraph, level: number) {
    this.#graph = graph;
    this.#level = level;
  }

  /** Takes in what makes a tensor of the model. */
  need(name: string): void {
    const graph = this.#graph;
    const tensor = graph.initializers.get(name);
    if (tensor) {
      this.#initializers.set(name, tensor);
      return;
    }
    const dependence = graph.dependenceOf(name);
    if (dependence.kind === 'refused') {
      throw UnsupportedModelError.at(dependence.node, dependence.reason);
    }
    if (dependence.kind === 'lengths') {
      throw new UnsupportedModelError(`tensor ${name} depends on the lengths of all sequences`);
    }
    const node = graph.producerOf(name);
    if (!node || isAttention(node)) {
      this.#inputs.add(name);
    } else if (dependence.kind === 'tokens' && graph.levelOf(name) !== this.#level) {
      this.#inputs.add(name);
      this.carried.add(name);
    } else if (!this.#kept.has(node)) {
      this.#kept.add(node);
      for (const each of node.input) if (each !== '') this.need(each);
    }
  }

  /** A node behind those of the model, whose inputs are needed or were added. */
  add(node: OnnxNode, constants: readonly OnnxTensor[] = []): string {
    for (const constant of constants) this.#initializers.set(constant.name, constant);
    this.#added.push(node);
    return node.output[0];
  }

  output(name: string): void {
    this.#outputs.add(name);
  }

  build({ irVersion, opsetImport }: OnnxModel): Part {
    const graph = this.#graph;
    const initializers = [...this.#initializers.values()];
    const [inputs, outputs] = [[...this.#inputs], [...this.#outputs]];
    const value = (name: string) => makeValue(name, this.#typeOf(name), this.#dimsOf(name));
    const node = [...graph.nodes.filter((each) => this.#kept.has(each)), ...this.#added];
    const bytes = encodeModel({
      irVersion,
      opsetImport,
      graph: {
        name: `part ${this.#level}`,
        node,
        initializer: initializers,
        input: inputs.map(value),
        output: outputs.map(value),
        valueInfo: [],
      },
    });
    return { bytes, inputs, outputs, nodes: node.length, initializers };
  }

  #typeOf(name: string): number {
    return name.startsWith('cut.') ? elementType.float32 : this.#graph.typeOf(name);
  }

  #dimsOf(name: string): string[] {
    if (name.startsWith('cut.')) return ['tokens', '', ''];
    const dependence = this.#graph.dependenceOf(name);
    const rank = dependence.kind === 'tokens' ? dependence.rank : 0;
    return Array.from({ length: rank }, (_, axis) => (axis === 0 ? 'tokens' : ''));
  }
}
