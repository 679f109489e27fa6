import { cutModel } from '../../src/cutter/cut.js';
import { attribute } from '../../src/onnx/attributes.js';
import {
  elementType,
  makeNode,
  makeValue,
  type OnnxAttribute,
  type OnnxModel,
  type OnnxNode,
} from '../../src/onnx/format.js';
import { makeTensor } from '../../src/onnx/tensors.js';
import { buildDecoder } from '../models/decoder.js';
import { randomWeights } from '../models/random.js';
import { type Variant, type VariantName, variants } from '../models/index.js';

const decoder = (name: VariantName = 'llama', other: Partial<Variant> = {}) =>
  buildDecoder({ ...variants[name], ...other }, randomWeights(1));
const cut = (model: OnnxModel) => () => cutModel(model, '.');

/** Where nodes are put into the stream: what the first MLP makes, `[batch, seqlen, 64]`. */
const stream = '/model/layers.0/mlp/down_proj/MatMul/output_0';

/** A decoder in which a node stands in the stream; its other inputs are constants. */
function withNode(
  opType: string,
  constants: Record<string, BigInt64Array | Float32Array> = {},
  attributes: Record<string, OnnxAttribute> = {},
  input: (x: string) => string[] = (x) => [x, ...Object.keys(constants)],
): OnnxModel {
  const model = decoder();
  const { graph } = model;
  for (const [name, data] of Object.entries(constants)) {
    graph.initializer.push(makeTensor(name, data, [data.length]));
  }
  const at = graph.node.findIndex(({ output }) => output.includes(stream));
  for (const node of graph.node) {
    node.input = node.input.map((name) => (name === stream ? 'changed' : name));
  }
  const node = makeNode(opType, 'the/node', [input(stream), ['changed']], attributes);
  graph.node.splice(at + 1, 0, node);
  return model;
}

function attentionOf({ graph }: OnnxModel, layer: number): OnnxNode {
  return graph.node.filter(({ opType }) => opType === 'GroupQueryAttention')[layer];
}

const ints = (...values: number[]) => BigInt64Array.from(values, BigInt);
const one = { axes: ints(1) };
const [axis1, last] = [{ axis: attribute.int(1) }, { axis: attribute.int(-1) }];
const twice = (x: string) => [x, x];

test.each([
  ['DynamicQuantizeLinear', {}, {}, undefined, 'quantises all tokens of a batch by one scale'],
  ['LinearAttention', {}, {}, undefined, 'keeps a state of the tokens before'],
  ['Attention', {}, {}, twice, 'is attention without GroupQueryAttention'],
  ['MatMul', {}, {}, twice, 'multiplies tokens with tokens'],
  ['CumSum', one, {}, undefined, 'is no operator known to treat every token alone'],
  ['Softmax', {}, axis1, undefined, 'goes over the axis of tokens'],
  ['ReduceMean', one, {}, undefined, 'reduces the axis of tokens'],
  ['ReduceMean', {}, {}, undefined, 'reduces the axis of tokens'],
  ['ReduceMax', {}, { axes: attribute.ints([-2]) }, undefined, 'reduces the axis of tokens'],
  ['Concat', {}, axis1, twice, 'puts sequences together'],
  ['Transpose', {}, { perm: attribute.ints([0, 2, 1]) }, undefined, 'moves the axis of tokens'],
  ['Transpose', {}, {}, undefined, 'moves the axis of tokens'],
  ['Gather', { first: ints(0) }, axis1, undefined, 'picks some of the tokens'],
  ['Slice', { a: ints(0), b: ints(1), c: ints(1) }, {}, undefined, 'picks some of the tokens'],
  ['Reshape', { shape: ints(1, -1, 64) }, {}, undefined, 'fixes the number of sequences'],
  ['Reshape', { shape: ints(-1, 128) }, {}, undefined, 'may mix tokens in a row'],
  ['Unsqueeze', one, {}, undefined, 'moves the axis of tokens'],
  ['Squeeze', one, {}, undefined, 'removes the axis of tokens'],
  ['Add', {}, {}, (x) => [x, 'attention_mask'], 'depends on the lengths of all sequences'],
  ['If', {}, { then_branch: attribute.graph(decoder().graph) }, undefined, 'runs other graphs'],
] as [
  string,
  Record<string, BigInt64Array>,
  Record<string, OnnxAttribute>,
  ((x: string) => string[]) | undefined,
  string,
][])(
  '%s is refused where it looks across tokens (%#)',
  (opType, constants, attributes, input, why) => {
    const model = withNode(opType, constants, attributes, input);
    expect(cut(model)).toThrow(`node the/node (${opType}) ${why}`);
  },
);

test('a constant that differs among tokens is refused', () => {
  const model = withNode('Add');
  model.graph.initializer.push(makeTensor('positions', new Float32Array(8 * 64), [8, 64]));
  const node = model.graph.node.find(({ name }) => name === 'the/node');
  node?.input.push('positions');
  expect(cut(model)).toThrow('(Add) combines tokens with a constant that differs among them');
});

test('the last tokens may become logits, but go to no other place', () => {
  const pick = (consumer: OnnxNode) => {
    const model = withNode('Identity');
    const { node, initializer } = model.graph;
    const at = node.findIndex(({ name }) => name === 'the/node');
    initializer.push(makeTensor('minus one', ints(-1), [1]));
    const gather = [[stream, 'minus one'], ['picked']] as [string[], string[]];
    node.splice(at, 1, makeNode('Gather', 'pick', gather, axis1), consumer);
    return cut(model);
  };
  const added = makeNode('Add', 'the/node', [[stream, 'picked'], ['changed']]);
  expect(pick(added)).toThrow('node the/node (Add) combines the last tokens with all');
  const model = decoder();
  const attention = attentionOf(model, 1);
  const [query] = attention.input;
  model.graph.initializer.push(makeTensor('minus one', ints(-1), [1]));
  const gather = [[query, 'minus one'], ['picked']] as [string[], string[]];
  const at = model.graph.node.indexOf(attention);
  model.graph.node.splice(at, 0, makeNode('Gather', 'pick', gather, axis1));
  attention.input[0] = 'picked';
  expect(cut(model)).toThrow('attends with the last tokens alone');
  expect(cut(decoder('pruned'))).not.toThrow();
});

test('operators of unknown domains are refused', () => {
  const model = withNode('Add', { bias: new Float32Array(64) });
  expect(cut(model)).not.toThrow();
  const node = model.graph.node.find(({ name }) => name === 'the/node');
  if (node) node.domain = 'com.example';
  expect(cut(model)).toThrow('node the/node (Add) is no operator known to treat every token alone');
});

test('a constant that counts tokens is refused', () => {
  const model = withNode('Mul');
  const { node } = model.graph;
  const at = node.findIndex(({ name }) => name === 'the/node');
  node[at].input.push('number');
  const shape = makeNode('Shape', 'shape', [[stream], ['shape']]);
  const count = makeNode('Gather', 'count', [['shape', '/model/constants/INT64/1'], ['count']]);
  const number = makeNode('Cast', 'number', [['count'], ['number']], { to: attribute.int(1) });
  node.splice(at, 0, shape, count, number);
  expect(cut(model)).toThrow('node the/node (Mul) depends on how many tokens there are');
});

test.each([
  ['Softmax', {}, last],
  ['ReduceMean', { axes: ints(-1) }, {}],
  ['Reshape', { shape: ints(-1, 32) }, {}],
  ['Reshape', { shape: ints(0, -1, 16) }, {}],
  ['Gather', { few: ints(0, 1) }, { axis: attribute.int(2) }],
  ['Slice', { a: ints(0), b: ints(8), c: ints(2) }, {}],
  ['Unsqueeze', { axes: ints(2) }, {}],
  ['Transpose', {}, { perm: attribute.ints([0, 1, 2]) }],
  ['Mul', { scale: new Float32Array(64) }, {}],
] as [string, Record<string, BigInt64Array>, Record<string, OnnxAttribute>][])(
  '%s is taken where it stays within a token (%#)',
  (opType, constants, attributes) => {
    const model = withNode(opType, constants, attributes);
    // What follows may not fit: only whether the node is refused is asked.
    const { graph } = model;
    const node = graph.node.find(({ name }) => name === 'the/node') as OnnxNode;
    const end = graph.node.findIndex(({ output }) => output.includes('logits'));
    graph.node[end] = makeNode('Identity', 'end', [[node.output[0]], ['logits']]);
    for (const each of graph.node) {
      if (each !== graph.node[end]) {
        each.input = each.input.map((name) => (name === 'changed' ? stream : name));
      }
    }
    expect(cut(model)().parts.length).toBe(4);
  },
);

test('an attention with a bias, without causality or with its scores told is refused', () => {
  const change = (edit: (node: OnnxNode) => void) => {
    const model = decoder();
    edit(attentionOf(model, 1));
    return cut(model);
  };
  const name = 'node /model/layers.1/attn/GroupQueryAttention (GroupQueryAttention)';
  const bias = change((node) => {
    node.input[9] = '';
    node.input[10] = 'attention_mask';
  });
  expect(bias).toThrow(`${name} has an attention_bias`);
  const causal = change((node) => {
    node.attribute.push({ ...attribute.int(0), name: 'causal' });
  });
  expect(causal).toThrow(`${name} is not causal`);
  const scores = change((node) => {
    node.output.push('scores');
  });
  expect(scores).toThrow(`${name} tells its scores`);
});

test('attention that is no chain of GroupQueryAttention is refused', () => {
  const beside = decoder();
  const [first, second] = [attentionOf(beside, 0), attentionOf(beside, 1)];
  second.input = second.input.map((name, i) => (i < 3 ? first.input[i] : name));
  expect(cut(beside)).toThrow('is not the one attention behind the one before');
  const other = decoder();
  for (const node of other.graph.node) {
    if (node.opType === 'GroupQueryAttention') node.opType = 'MultiHeadAttention';
  }
  expect(cut(other)).toThrow('(MultiHeadAttention) is attention without GroupQueryAttention');
  const none = decoder();
  none.graph.node = none.graph.node.slice(0, 3);
  expect(cut(none)).toThrow('the model has no GroupQueryAttention node');
});

test('what one cache of float32 rows can not hold is refused', () => {
  const half = decoder();
  const { float16 } = elementType;
  half.graph.input = half.graph.input.map((value) =>
    value.name === 'past_key_values.0.key'
      ? makeValue(value.name, float16, ['b', 2, 'p', 16])
      : value,
  );
  expect(cut(half)).toThrow('computes in another type than float32');
  const uneven = decoder();
  const attributes = attentionOf(uneven, 2).attribute;
  attributes.splice(1, 1, { ...attribute.int(4), name: 'kv_num_heads' });
  expect(cut(uneven)).toThrow('has 4 key heads of 16, layers before it have 2 key heads of 16');
});

test('a model with other inputs or outputs, or with functions, is refused', () => {
  const change = (edit: (model: OnnxModel) => void) => {
    const model = decoder();
    edit(model);
    return cut(model);
  };
  const ids = change(({ graph }) => {
    graph.input[0].name = 'inputs_embeds';
  });
  expect(ids).toThrow('the model has no input input_ids');
  const positions = change(({ graph }) => {
    graph.input.push(makeValue('position_ids', elementType.int64, [3, 'b', 's']));
  });
  expect(positions).toThrow('the input position_ids has 3 axes, not those of text');
  const logits = change(({ graph }) => {
    graph.output[0].name = 'hidden_states';
  });
  expect(logits).toThrow('the model has no output logits');
  const half = change(({ graph }) => {
    graph.output[0] = makeValue('logits', elementType.float16, ['b', 's', 384]);
  });
  expect(half).toThrow('the logits are not float32');
  const functions = change((model) => {
    model.functions = [{ name: 'Swiglu' }];
  });
  expect(functions).toThrow('function Swiglu is not inlined');
});

test('rotary tables that are computed are refused', () => {
  const model = decoder();
  const { graph } = model;
  graph.initializer = graph.initializer.filter(({ name }) => name !== 'cos_cache');
  graph.node.unshift(makeNode('Cos', 'compute', [['sin_cache'], ['cos_cache']]));
  expect(cut(model)).toThrow('has rotary tables that are not constants in float32');
});
