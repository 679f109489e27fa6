import { onnx } from './proto.js';

/** int64 as protobufjs reads it. */
export type Int64 = number | { toNumber(): number };

/** A graph attribute's kind (AttributeProto.AttributeType). */
export const attributeType = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, ints: 7 } as const;

/** An element's type (TensorProto.DataType). */
export const elementType = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
  uint4: 21,
  int4: 22,
} as const;

export interface OnnxTensor {
  name: string;
  dims: Int64[];
  dataType: number;
  rawData?: Uint8Array;
  floatData?: number[];
  int32Data?: number[];
  int64Data?: Int64[];
  /** `location`, `offset`, `length` of data in another file. */
  externalData?: { key: string; value: string }[];
  dataLocation?: number;
}

export interface OnnxAttribute {
  name: string;
  type: number;
  f?: number;
  i?: Int64;
  s?: Uint8Array;
  t?: OnnxTensor;
  g?: OnnxGraph;
  ints?: Int64[];
}

export interface OnnxNode {
  name: string;
  opType: string;
  /** '' is ONNX's own. */
  domain: string;
  /** '' is an optional input that is left out. */
  input: string[];
  output: string[];
  attribute: OnnxAttribute[];
}

type Dimension = { dimValue?: Int64; dimParam?: string };

/** A graph's input or output. */
export interface OnnxValue {
  name: string;
  type?: { tensorType?: { elemType?: number; shape?: { dim?: Dimension[] } } };
}

export interface OnnxGraph {
  name: string;
  /** In topological order, as ONNX has it. */
  node: OnnxNode[];
  initializer: OnnxTensor[];
  input: OnnxValue[];
  output: OnnxValue[];
  valueInfo: OnnxValue[];
  sparseInitializer?: unknown[];
}

export interface OnnxModel {
  irVersion: Int64;
  opsetImport: { domain: string; version: Int64 }[];
  graph: OnnxGraph;
  functions?: { name: string }[];
}

/** @throws Error when the bytes are no ONNX model. */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  const model = onnx.ModelProto.decode(bytes);
  if (!model.graph || model.graph.node?.length === 0) throw new Error('there is no graph in it');
  return model as unknown as OnnxModel;
}

export function encodeModel(model: OnnxModel): Uint8Array {
  return onnx.ModelProto.encode(model as unknown as onnx.ModelProto.$Properties).finish();
}

export function int64(value: Int64): number {
  return typeof value === 'number' ? value : value.toNumber();
}

/** A node of the default domain, or of another. */
export function makeNode(
  opType: string,
  name: string,
  [input, output]: [input: string[], output: string[]],
  attributes: Record<string, OnnxAttribute | undefined> = {},
  domain = '',
): OnnxNode {
  const attribute = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : { ...value, name: key },
  );
  return { name, opType, domain, input, output, attribute };
}

/** A graph's input or output; names are dimensions of any length. */
export function makeValue(
  name: string,
  elemType: number,
  dims: readonly (number | string)[],
): OnnxValue {
  const dim = dims.map((each) =>
    typeof each === 'string' ? { dimParam: each } : { dimValue: each },
  );
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}
