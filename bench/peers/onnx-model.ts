// Builds ONNX models in memory. Field numbers are those of onnx.proto3
// (https://github.com/onnx/onnx).
import { type Bytes, block, concat, float, integer } from './protobuf.js';

/** onnx.TensorProto.DataType */
const elementTypes = { float: 1, int32: 6, int64: 7 } as const;

export interface OnnxValue {
  readonly name: string;
  readonly type: keyof typeof elementTypes;
  readonly shape: readonly number[];
}

export interface OnnxNode {
  readonly op: string;
  /** The default is ONNX itself; `com.microsoft` are onnxruntime's own operators. */
  readonly domain?: 'com.microsoft';
  /** An empty name leaves an optional input out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Integers become INT, `{ float }` FLOAT and arrays INTS. */
  readonly attributes?: Readonly<Record<string, number | readonly number[] | { float: number }>>;
}

export interface OnnxGraph {
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly nodes: readonly OnnxNode[];
  /** Constants of one float. */
  readonly scalars?: Readonly<Record<string, number>>;
}

/** The first with the operator Attention. */
const opset = 23;
const irVersion = 11;

/** The bytes of a ModelProto, for InferenceSession.create. */
export function onnxModel(graph: OnnxGraph): Bytes {
  const imports = [
    concat([block(1, ''), integer(2, opset)]),
    concat([block(1, 'com.microsoft'), integer(2, 1)]),
  ];
  return concat([
    integer(1, irVersion),
    ...imports.map((entry) => block(8, entry)),
    block(7, graphProto(graph)),
  ]);
}

function graphProto(graph: OnnxGraph): Bytes {
  return concat([
    ...graph.nodes.map((node) => block(1, nodeProto(node))),
    block(2, 'attention'),
    ...Object.entries(graph.scalars ?? {}).map(([name, value]) => block(5, scalar(name, value))),
    ...graph.inputs.map((value) => block(11, valueInfo(value))),
    ...graph.outputs.map((value) => block(12, valueInfo(value))),
  ]);
}

function nodeProto({ op, domain, inputs, outputs, attributes }: OnnxNode): Bytes {
  return concat([
    ...inputs.map((name) => block(1, name)),
    ...outputs.map((name) => block(2, name)),
    block(4, op),
    ...Object.entries(attributes ?? {}).map(([name, value]) => block(5, attribute(name, value))),
    ...(domain ? [block(7, domain)] : []),
  ]);
}

/** AttributeProto; `type` is FLOAT 1, INT 2, INTS 7. */
function attribute(name: string, value: number | readonly number[] | { float: number }): Bytes {
  if (typeof value === 'number') {
    return concat([block(1, name), integer(3, value), integer(20, 2)]);
  }
  if ('float' in value) return concat([block(1, name), float(2, value.float), integer(20, 1)]);
  return concat([block(1, name), ...value.map((item) => integer(8, item)), integer(20, 7)]);
}

/** TensorProto without dimensions. */
function scalar(name: string, value: number): Bytes {
  return concat([integer(2, elementTypes.float), float(4, value), block(8, name)]);
}

function valueInfo({ name, type, shape }: OnnxValue): Bytes {
  const dimensions = shape.map((length) => block(1, integer(1, length)));
  const tensor = concat([integer(1, elementTypes[type]), block(2, concat(dimensions))]);
  return concat([block(1, name), block(2, block(1, tensor))]);
}
