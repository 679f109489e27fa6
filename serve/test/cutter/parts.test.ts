import { readFileSync } from 'node:fs';
import path from 'node:path';
import { cutModel } from '../../src/cutter/cut.js';
import { decodeModel, elementType, makeValue, type OnnxModel } from '../../src/onnx/format.js';
import { attribute } from '../../src/onnx/attributes.js';
import { externalData } from '../../src/onnx/tensors.js';
import {
  modelsFolder,
  type TestModelOptions,
  type VariantName,
  variants,
} from '../models/index.js';

const modelFolder = modelsFolder();

function load(name: VariantName, options?: TestModelOptions) {
  const folder = modelFolder(name, options);
  const model = decodeModel(readFileSync(path.join(folder, 'model.onnx')));
  return { model, cut: cutModel(model, folder) };
}

const operators = ({ graph }: OnnxModel) => graph.node.map(({ opType }) => opType);
const count = (names: string[], name: string) => names.filter((each) => each === name).length;

test('parts have all nodes but attention and what only it takes', () => {
  const { model, cut } = load('llama');
  const parts = cut.parts.map(({ bytes }) => decodeModel(bytes));
  const [whole, cutUp] = [operators(model), parts.flatMap(operators)];
  for (const name of ['MatMul', 'SkipSimplifiedLayerNormalization', 'Sigmoid', 'Mul', 'Gather']) {
    // One Gather is of the attention mask's shape.
    expect(count(cutUp, name)).toBe(count(whole, name) - (name === 'Gather' ? 1 : 0));
  }
  expect(count(cutUp, 'GroupQueryAttention')).toBe(0);
  expect(count(cutUp, 'ReduceSum')).toBe(0);
  // Attention rotates, and takes q, k and v side by side.
  expect(count(cutUp, 'RotaryEmbedding') + count(cutUp, 'Split')).toBe(0);
});

test('parts take weights from where they lie, and the whole of it is in them once', () => {
  const { model, cut } = load('llama', { dataFiles: 3 });
  const places = (all: OnnxModel[]) =>
    all
      .flatMap(({ graph }) => graph.initializer)
      .flatMap((tensor) => externalData(tensor) ?? [])
      .map(({ file, offset }) => `${file} ${offset}`)
      .sort();
  const parts = cut.parts.map(({ bytes }) => decodeModel(bytes));
  const tables = new Set(
    model.graph.initializer
      .filter(({ name }) => /^(cos|sin)_cache/.test(name))
      .map((tensor) => `${externalData(tensor)?.file} ${externalData(tensor)?.offset}`),
  );
  expect(places(parts)).toEqual(places([model]).filter((place) => !tables.has(place)));
  for (const { bytes } of cut.parts) expect(bytes.length).toBeLessThan(10_000);
});

test('a tied embedding is in the first part and in the last', () => {
  const { cut } = load('tied');
  const having = cut.parts.map(({ initializers }) =>
    initializers.some(({ name }) => name === 'model.embed_tokens.weight'),
  );
  expect(having).toEqual([true, false, false, true]);
});

test('what attention does is read from each node', () => {
  const { cut } = load('gemma2');
  expect(cut.layers.map(({ attention }) => attention.window)).toEqual([
    24,
    undefined,
    24,
    undefined,
  ]);
  expect(cut.layers[0].attention.softcap).toBe(5);
  expect(cut.layers[0].attention.scale).toBeCloseTo(0.2);
  expect(load('gpt-oss').cut.layers[1].sinks?.length).toBe(4);
  expect(load('smooth-softmax').cut.layers[0].sinks).toEqual(new Float32Array(4));
  const { layers, tables } = load('gemma3').cut;
  expect([layers.map(({ table }) => table), tables.length]).toEqual([[0, 1, 0, 1], 2]);
  expect(load('smollm3').cut.layers.map(({ table }) => table)).toEqual([0, 0, 0, undefined]);
});

test('an If on the length becomes two tables', () => {
  const { tables, parts } = load('phi3').cut;
  expect(tables.length).toBe(1);
  expect([tables[0].short.rows, tables[0].long?.rows]).toEqual([64, variants.phi3.context]);
  expect(parts.flatMap(({ bytes }) => operators(decodeModel(bytes)))).not.toContain('If');
});

test('hidden states end where the vocabulary is projected to', () => {
  const { cut } = load('gemma2');
  const names = operators(decodeModel(cut.hidden?.bytes ?? new Uint8Array()));
  expect(names).not.toContain('Tanh');
  expect(names[names.length - 1]).toBe('SimplifiedLayerNormalization');
  expect(cut.hidden?.initializers.map(({ name }) => name)).not.toContain(
    'model.embed_tokens.weight',
  );
});

test('what a quantised cache takes is left out: keys and values have pages of their own', () => {
  const folder = modelFolder('llama');
  const model = decodeModel(readFileSync(path.join(folder, 'model.onnx')));
  const { int8 } = elementType;
  for (const node of model.graph.node.filter(({ opType }) => opType === 'GroupQueryAttention')) {
    node.attribute.push({ ...attribute.string('PER_TENSOR'), name: 'k_quant_type' });
    node.input = [...node.input, '', '', '', 'k_scale', 'v_scale'];
  }
  model.graph.input = model.graph.input.map((value) =>
    value.name.startsWith('past_') ? makeValue(value.name, int8, ['b', 2, 'p', 8]) : value,
  );
  const { layers, parts } = cutModel(model, folder, 16);
  expect(layers.map(({ attention }) => attention.headDim)).toEqual([16, 16, 16]);
  expect(parts.flatMap(({ inputs }) => inputs)).not.toContain('k_scale');
  expect(() => cutModel(model, folder)).toThrow('has heads of unknown size');
});
