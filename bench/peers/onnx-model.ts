// Builds ONNX models in memory, as messages of the one onnx.proto there is, which is the server's.
import { attribute } from '../../serve/src/onnx/attributes.js';
import { elementType, encodeModel, makeNode, makeValue } from '../../serve/src/onnx/format.js';

export interface OnnxValue {
  readonly name: string;
  readonly type: 'float32' | 'int8' | 'int32';
  readonly shape: readonly number[];
}

export interface OnnxNode {
  readonly op: string;
  /** The default is ONNX itself; `com.microsoft` are onnxruntime's own operators. */
  readonly domain?: 'com.microsoft';
  /** An empty name leaves an optional input out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Integers become INT, texts STRING and arrays INTS. */
  readonly attributes?: Readonly<Record<string, number | string | readonly number[]>>;
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

function attributeOf(value: number | string | readonly number[]) {
  if (typeof value === 'string') return attribute.string(value);
  return typeof value === 'number' ? attribute.int(value) : attribute.ints([...value]);
}

/** The bytes of a ModelProto, for InferenceSession.create. */
export function onnxModel({ inputs, outputs, nodes, scalars = {} }: OnnxGraph): Uint8Array {
  const valueFor = ({ name, type, shape }: OnnxValue) => makeValue(name, elementType[type], shape);
  return encodeModel({
    irVersion,
    opsetImport: [
      { domain: '', version: opset },
      { domain: 'com.microsoft', version: 1 },
    ],
    graph: {
      name: 'attention',
      node: nodes.map(({ op, domain, inputs, outputs, attributes = {} }) => {
        const values = Object.entries(attributes).map(([name, value]) => [
          name,
          attributeOf(value),
        ]);
        return makeNode(op, '', [[...inputs], [...outputs]], Object.fromEntries(values), domain);
      }),
      initializer: Object.entries(scalars).map(([name, value]) => {
        return { name, dims: [], dataType: elementType.float32, floatData: [value] };
      }),
      input: inputs.map(valueFor),
      output: outputs.map(valueFor),
      valueInfo: [],
    },
  });
}
