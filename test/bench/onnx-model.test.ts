// The models of peers, read again.
import * as graphs from '../../bench/peers/onnx-graphs.js';
import { onnxModel } from '../../bench/peers/onnx-model.js';
import { intAttribute, intsAttribute } from '../../serve/src/onnx/attributes.js';
import { decodeModel, int64 } from '../../serve/src/onnx/format.js';

const shape = {
  batch: 1,
  heads: 4,
  kvHeads: 2,
  seqlenQ: 3,
  seqlenK: 5,
  headDim: 8,
  causal: true,
};
const none = new Float32Array(0);
const arrays = { q: none, k: none, v: none };

describe('onnxModel', () => {
  it('names its operator sets and its inputs, with their shapes', () => {
    const { graph } = graphs.groupQueryAttention(shape, arrays);
    const model = decodeModel(onnxModel(graph));
    expect(model.opsetImport.map(({ domain, version }) => [domain, int64(version)])).toEqual([
      ['', 23],
      ['com.microsoft', 1],
    ]);
    const shapes = model.graph.input.map(({ name, type }) => [
      name,
      type?.tensorType?.elemType,
      type?.tensorType?.shape?.dim?.map(({ dimValue }) => int64(dimValue ?? 0)),
    ]);
    expect(shapes).toEqual([
      ['q', 1, [1, 3, 32]],
      ['k', 1, [1, 5, 16]],
      ['v', 1, [1, 5, 16]],
      ['last', 6, [1]],
      ['total', 6, [1]],
    ]);
    expect(model.graph.node[0].input).toEqual(['q', 'k', 'v', '', '', 'last', 'total']);
    expect(model.graph.node[0].domain).toBe('com.microsoft');
  });

  it('keeps attributes that are 0, negative or lists, and constants', () => {
    const { graph } = graphs.standardGraph(shape, arrays);
    const model = decodeModel(onnxModel(graph));
    const nodes = new Map(model.graph.node.map((node) => [node.opType, node]));
    expect(intsAttribute(nodes.get('Transpose') as never, 'perm')).toEqual([0, 1, 3, 2]);
    expect(intAttribute(nodes.get('Softmax') as never, 'axis', 7)).toBe(-1);
    const [scale] = model.graph.initializer;
    expect(scale).toMatchObject({ name: 'scale', dataType: 1 });
    expect(scale.floatData?.[0]).toBe(Math.fround(1 / Math.sqrt(8)));
    const full = graphs.multiHeadAttention({ ...shape, causal: false }, arrays);
    const [node] = decodeModel(onnxModel(full.graph)).graph.node;
    expect(intAttribute(node, 'unidirectional', 7)).toBe(0);
  });
});
