import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  attribute,
  floatAttribute,
  graphAttribute,
  intAttribute,
  intsAttribute,
  stringAttribute,
  tensorAttribute,
} from '../../src/onnx/attributes.js';
import {
  decodeModel,
  elementType,
  encodeModel,
  int64,
  makeNode,
  makeValue,
  type OnnxModel,
  type OnnxTensor,
} from '../../src/onnx/format.js';
import {
  byteSize,
  dimsOf,
  externalData,
  makeTensor,
  missingData,
  tensorNumbers,
} from '../../src/onnx/tensors.js';

const model = (initializer: OnnxTensor[] = []): OnnxModel => ({
  irVersion: 10,
  opsetImport: [{ domain: '', version: 21 }],
  graph: {
    name: 'g',
    node: [
      makeNode('Clip', 'clip', [['x', '', 'most'], ['y']], {
        i: attribute.int(-3),
        zero: attribute.int(0),
        f: attribute.float(0.5),
        ints: attribute.ints([1, -1]),
        t: attribute.tensor(makeTensor('t', Float32Array.of(1, 2), [2])),
      }),
    ],
    initializer,
    input: [makeValue('x', elementType.float32, ['batch', 4])],
    output: [makeValue('y', elementType.float32, ['batch', 4])],
    valueInfo: [],
  },
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-serve-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('a model that is written and read again is the same', () => {
  const bytes = encodeModel(model([makeTensor('w', BigInt64Array.of(-1n, 2n ** 62n), [2])]));
  const { graph, opsetImport, irVersion } = decodeModel(bytes);
  expect([int64(irVersion), int64(opsetImport[0].version)]).toEqual([10, 21]);
  const [node] = graph.node;
  expect([node.opType, node.name, node.domain]).toEqual(['Clip', 'clip', '']);
  expect([node.input, node.output]).toEqual([['x', '', 'most'], ['y']]);
  const dims = graph.input[0].type?.tensorType?.shape?.dim;
  expect(dims?.map(({ dimParam, dimValue }) => dimParam ?? int64(dimValue ?? 0))).toEqual([
    'batch',
    4,
  ]);
  expect(encodeModel(decodeModel(bytes))).toEqual(bytes);
});

test('attributes are read by name, or are what they are by default', () => {
  const [node] = decodeModel(encodeModel(model())).graph.node;
  expect([intAttribute(node, 'i', 9), intAttribute(node, 'none', 9)]).toEqual([-3, 9]);
  expect(intAttribute(node, 'zero', 9)).toBe(0);
  expect([floatAttribute(node, 'f', 9), floatAttribute(node, 'none', 9)]).toEqual([0.5, 9]);
  expect(stringAttribute(node, 'none', 'by default')).toBe('by default');
  expect([intsAttribute(node, 'ints'), intsAttribute(node, 'none')]).toEqual([[1, -1], undefined]);
  const tensor = tensorAttribute(node, 't');
  expect(tensor && tensorNumbers(tensor, folder)).toEqual(Float32Array.of(1, 2));
  expect(graphAttribute(node, 't')).toBeUndefined();
});

test.each(['', 'not a model at all', '\u0000\u0000'])('%j is no model', (bytes) => {
  expect(() => decodeModel(Buffer.from(bytes))).toThrow();
});

const external = (
  name: string,
  entries: Record<string, string>,
  dims: number[] = [2],
): OnnxTensor => ({
  name,
  dims,
  dataType: elementType.float32,
  dataLocation: 1,
  externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
});

test('numbers come from the model file or from beside it', () => {
  writeFileSync(path.join(folder, 'data'), Buffer.from(Float32Array.of(1, 2, 3, 4).buffer));
  const tensor = external('w', { location: 'data', offset: '8', length: '8' });
  expect(externalData(tensor)).toEqual({ file: 'data', offset: 8, length: 8 });
  expect(tensorNumbers(tensor, folder)).toEqual(Float32Array.of(3, 4));
  const lists: OnnxTensor[] = [
    { name: 'f', dims: [2], dataType: elementType.float32, floatData: [5, 6] },
    { name: 'i', dims: [1], dataType: elementType.int32, int32Data: [7] },
    { name: 'l', dims: [1], dataType: elementType.int64, int64Data: [8] },
  ];
  expect(lists.map((each) => Array.from(tensorNumbers(each, folder)))).toEqual([[5, 6], [7], [8]]);
  expect(tensorNumbers(makeTensor('b', BigInt64Array.of(-1n), []), folder)).toEqual([-1]);
  expect(tensorNumbers(makeTensor('n', Int32Array.of(-2), [1]), folder)).toEqual([-2]);
});

test('numbers that are missing, cut short or of another type are refused', () => {
  const short = makeTensor('w', Float32Array.of(1), [2]);
  expect(() => tensorNumbers(short, folder)).toThrow('w has 4 of 8 bytes');
  const beyond = external('w', { location: 'data', offset: '12' });
  expect(() => tensorNumbers(beyond, folder)).toThrow('w has 4 of 8 bytes in data');
  const bytes = makeTensor('w', Uint8Array.of(1), [1]);
  expect(() => tensorNumbers(bytes, folder)).toThrow('w has elements of type 2, not float32');
});

test('sizes of tensors count bits', () => {
  const size = (dataType: number, dims: number[]) => byteSize({ name: '', dims, dataType });
  const { int4, float16, int64: long, uint8, bool } = elementType;
  expect([size(int4, [3]), size(float16, [3]), size(long, [2, 2])]).toEqual([2, 6, 32]);
  expect([size(uint8, [5]), size(bool, []), size(long, [0])]).toEqual([5, 1, 0]);
  expect(dimsOf(makeTensor('w', new Float32Array(6), [2, 3]))).toEqual([2, 3]);
});

test('data files are looked at before anything is loaded', () => {
  const at = (entries: Record<string, string>) => missingData([external('w', entries)], folder);
  expect(at({ location: 'data', offset: '8' })).toBeUndefined();
  expect(at({ location: 'data', offset: '12' })).toBe(
    'the data file data has 16 bytes, 20 are needed',
  );
  expect(at({ location: 'none' })).toBe('the data file none is missing');
  const outside = "w names data outside of the model's folder";
  expect([at({ location: '../data' }), at({ location: '/etc/passwd' })]).toEqual([
    outside,
    outside,
  ]);
});
