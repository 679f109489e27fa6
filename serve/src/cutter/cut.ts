import { elementType, type OnnxGraph, type OnnxModel } from '../onnx/format.js';
import { tensorNumbers } from '../onnx/tensors.js';
import { type AttentionNode, isAttention, readAttention } from './attention-node.js';
import { ModelGraph } from './graph.js';
import { type Part, PartBuilder } from './part.js';
import { addProjections, type Projections } from './projections.js';
import { UnsupportedModelError } from './refusal.js';
import { type RotaryTables, readRotaryTables } from './rotary-tables.js';

/** An attention between two parts. */
export interface CutLayer {
  readonly attention: AttentionNode;
  readonly projections: Projections;
  /** `[heads]` */
  readonly sinks?: Float32Array;
  /** Index into {@link CutModel.tables}. */
  readonly table?: number;
  /** What it makes, an input of the next part. */
  readonly output: string;
}

/** A model cut at its attentions: part 0, layer 0, part 1, …, the last part makes logits. */
export interface CutModel {
  readonly layers: readonly CutLayer[];
  readonly parts: readonly Part[];
  readonly tables: readonly RotaryTables[];
  /** The last part as far as the output projection: what that takes. */
  readonly hidden?: Part;
}

const logits = 'logits';

/**
 * Cuts a decoder at every GroupQueryAttention, the one operator of it that looks across tokens.
 * Parts have every node between two of them; weights stay in the files where they are.
 *
 * @param folder where the model file is.
 * @param headDim where the graph doesn't say how long a head is.
 * @throws {@link UnsupportedModelError} naming the node that can't be cut or fed.
 */
export function cutModel(model: OnnxModel, folder: string, headDim?: number): CutModel {
  if (model.functions?.length) {
    throw new UnsupportedModelError(`function ${model.functions[0].name} is not inlined`);
  }
  checkEnds(model.graph);
  const graph = new ModelGraph(model.graph, folder);
  const tables: { key: string; tables: RotaryTables }[] = [];
  const layers = graph.attentions.map((node, layer): Omit<CutLayer, 'projections'> => {
    if (graph.levelOf(node.output[0]) !== layer + 1) {
      throw UnsupportedModelError.at(node, 'is not the one attention behind the one before');
    }
    for (const name of node.input.slice(0, 3).filter((input) => input !== '')) {
      const dependence = graph.dependenceOf(name);
      if (dependence.kind === 'tokens' && dependence.last) {
        throw UnsupportedModelError.at(node, 'attends with the last tokens alone');
      }
    }
    const attention = readAttention(node, graph.inputs, headDim);
    return { attention, output: node.output[0], ...ofWeights(graph, attention, tables) };
  });
  checkAlike(layers.map(({ attention }) => attention));
  const parts: Part[] = [];
  const projections: Projections[] = [];
  // From the last one: each says what those before have to carry to it.
  const carried = new Set<string>();
  for (let level = layers.length; level >= 0; level--) {
    const part = new PartBuilder(graph, level);
    if (level === layers.length) {
      part.need(logits);
      part.output(logits);
    } else {
      projections[level] = addProjections(part, layers[level].attention);
    }
    for (const name of carried) {
      if (graph.levelOf(name) !== level) continue;
      part.need(name);
      part.output(name);
    }
    parts[level] = part.build(model);
    for (const name of part.carried) carried.add(name);
  }
  return {
    layers: layers.map((layer, i) => ({ ...layer, projections: projections[i] })),
    parts,
    tables: tables.map((each) => each.tables),
    ...hiddenPart(graph, model),
  };
}

function checkEnds({ input, output, node }: OnnxGraph): void {
  if (!input.some(({ name }) => name === 'input_ids')) {
    throw new UnsupportedModelError('the model has no input input_ids');
  }
  for (const { name, type } of input) {
    const rank = type?.tensorType?.shape?.dim?.length ?? 2;
    // Models of images count positions along three axes.
    if (['input_ids', 'position_ids'].includes(name) && rank !== 2) {
      throw new UnsupportedModelError(`the input ${name} has ${rank} axes, not those of text`);
    }
  }
  const made = output.find(({ name }) => name === logits);
  if (!made) throw new UnsupportedModelError('the model has no output logits');
  if ((made.type?.tensorType?.elemType ?? elementType.float32) !== elementType.float32) {
    throw new UnsupportedModelError('the logits are not float32: take a model in float32 or int4');
  }
  if (node.some(isAttention)) return;
  const other = node.find(({ opType }) => /Attention/.test(opType));
  if (other) throw UnsupportedModelError.at(other, 'is attention without GroupQueryAttention');
  throw new UnsupportedModelError('the model has no GroupQueryAttention node');
}

/** One cache holds keys and values of all layers. */
function checkAlike(attentions: readonly AttentionNode[]): void {
  const [first] = attentions;
  for (const { node, kvHeads, headDim } of attentions) {
    if (kvHeads === first.kvHeads && headDim === first.headDim) continue;
    const [has, others] = [
      [kvHeads, headDim],
      [first.kvHeads, first.headDim],
    ].map(([heads, dim]) => `${heads} key heads of ${dim}`);
    throw UnsupportedModelError.at(node, `has ${has}, layers before it have ${others}`);
  }
}

/** What an attention takes from weights: sinks, and tables, one for all layers that name them. */
function ofWeights(
  graph: ModelGraph,
  { node, rotary, sinks, heads }: AttentionNode,
  tables: { key: string; tables: RotaryTables }[],
): { sinks?: Float32Array; table?: number } {
  const result: { sinks?: Float32Array; table?: number } = {};
  if (sinks === 'zeros') {
    result.sinks = new Float32Array(heads);
  } else if (sinks !== undefined) {
    const tensor = graph.initializers.get(sinks);
    const numbers = tensor && tensorNumbers(tensor, graph.folder);
    if (!(numbers instanceof Float32Array)) {
      throw UnsupportedModelError.at(node, 'has sinks that are not constants in float32');
    }
    result.sinks = numbers;
  }
  if (!rotary) return result;
  const { cos, sin } = rotary;
  const key = JSON.stringify([cos, sin]);
  let table = tables.findIndex((each) => each.key === key);
  if (table < 0) {
    table = tables.push({ key, tables: readRotaryTables(graph, node, [cos, sin]) }) - 1;
  }
  return { ...result, table };
}

/** Projections of the vocabulary, and what may stand between them and the logits. */
const projections = ['MatMul', 'MatMulNBits', 'MatMulBnb4', 'Gemm'];
const behind = ['Add', 'Mul', 'Div', 'Tanh', 'Where', 'Cast', 'Identity', 'Reshape'];

function hiddenPart(graph: ModelGraph, model: OnnxModel): { hidden?: Part } {
  let node = graph.producerOf(logits);
  while (node && behind.includes(node.opType)) {
    const tokens = node.input.filter((name) => graph.dependenceOf(name).kind === 'tokens');
    node = tokens.length === 1 ? graph.producerOf(tokens[0]) : undefined;
  }
  if (!node || !projections.includes(node.opType)) return {};
  const [hidden] = node.input;
  const level = graph.attentions.length;
  if (graph.levelOf(hidden) !== level) return {};
  const part = new PartBuilder(graph, level);
  part.need(hidden);
  part.output(hidden);
  return { hidden: part.build(model) };
}
