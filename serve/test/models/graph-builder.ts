import { Float16Array, f16round } from '@petamoriken/float16';
import { attribute } from '../../src/onnx/attributes.js';
import {
  elementType,
  makeNode,
  type OnnxAttribute,
  type OnnxNode,
  type OnnxTensor,
} from '../../src/onnx/format.js';
import { makeTensor, type TensorData } from '../../src/onnx/tensors.js';

/** How weights of projections and embeddings are kept; those in float16 are cast by the graph. */
export type Weights = 'float32' | 'float16' | { readonly int4: { readonly accuracyLevel: number } };

/**
 * Where weights come from. What has no others draws them, of the deviation around the mean.
 *
 * @param name the tensor's, as {@link GraphBuilder} names it.
 */
export type WeightSource = (
  name: string,
  length: number,
  likely: { readonly deviation: number; readonly mean?: number },
) => Float32Array;

/** Collects nodes and initialisers, named as onnxruntime-genai's builder names them. */
export class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxTensor[] = [];
  readonly source: WeightSource;
  readonly #weights: Weights;

  constructor(source: WeightSource, weights: Weights) {
    this.source = source;
    this.#weights = weights;
  }

  constant(name: string, data: TensorData, dims: readonly number[]): string {
    if (!this.initializers.some((each) => each.name === name)) {
      this.initializers.push(makeTensor(name, data, dims));
    }
    return name;
  }

  ints(...values: number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.constant(`/model/constants/INT64/[${values}]`, data, [values.length]);
  }

  int(value: number): string {
    return this.constant(`/model/constants/INT64/${value}`, BigInt64Array.of(BigInt(value)), []);
  }

  float(value: number): string {
    return this.constant(`/model/constants/FLOAT/${value}`, Float32Array.of(value), []);
  }

  /** A node of one output, which is named after it. */
  op(
    opType: string,
    name: string,
    input: string[],
    attributes: Record<string, OnnxAttribute | undefined> = {},
    domain = '',
  ): string {
    const output = `${name}/output_0`;
    this.nodes.push(makeNode(opType, name, [input, [output]], attributes, domain));
    return output;
  }

  contrib(
    opType: string,
    name: string,
    [input, output]: [string[], string[]],
    attributes: Record<string, OnnxAttribute | undefined>,
  ): void {
    this.nodes.push(makeNode(opType, name, [input, output], attributes, 'com.microsoft'));
  }

  /** x `[…, inner]` times a matrix of its own `[inner, outer]`, plus a bias if asked for. */
  projection(
    base: string,
    x: string,
    [inner, outer]: [inner: number, outer: number],
    bias = false,
  ): string {
    const weight = `${base.slice(1).replaceAll('/', '.')}.MatMul.weight`;
    const values = this.source(weight, inner * outer, { deviation: 1 / Math.sqrt(inner) });
    const product = this.#product(base, x, [weight, values], [inner, outer]);
    if (!bias) return product;
    const offsets = this.source(`${weight}.bias`, outer, { deviation: 0.3 });
    const added = this.constant(`${weight}.bias`, offsets, [outer]);
    return this.op('Add', `${base}/Add`, [product, added]);
  }

  #product(
    base: string,
    x: string,
    [weight, values]: [string, Float32Array],
    [inner, outer]: [number, number],
  ): string {
    if (typeof this.#weights === 'string') {
      return this.op('MatMul', `${base}/MatMul`, [x, this.matrix(weight, values, [inner, outer])]);
    }
    this.int4Weights(weight, values, [inner, outer]);
    return this.int4Product(base, x, weight, [inner, outer]);
  }

  /** A matrix as nodes take it, whatever it is kept in. */
  matrix(name: string, values: Float32Array, dims: readonly number[]): string {
    if (this.#weights !== 'float16') return this.constant(name, values, dims);
    const kept = this.constant(name, new Uint16Array(new Float16Array(values).buffer), dims);
    const to = attribute.int(elementType.float32);
    return this.op('Cast', `/${name.replaceAll('.', '/')}/Cast`, [kept], { to });
  }

  /** A matrix `[inner, outer]` in int4: names of its packed levels and of its scales. */
  int4Weights(
    name: string,
    values: Float32Array,
    [inner, outer]: [inner: number, outer: number],
  ): [packed: string, scales: string] {
    const { packed, scales } = quantize(values, inner, outer);
    const blocks = inner / block;
    return [
      this.constant(`${name}_Q4`, packed, [outer, blocks, block / 2]),
      this.constant(`${name}_scales`, scales, [outer, blocks]),
    ];
  }

  /** x times the matrix that {@link int4Weights} made. */
  int4Product(
    base: string,
    x: string,
    name: string,
    [inner, outer]: [inner: number, outer: number],
  ): string {
    const level = typeof this.#weights === 'string' ? 0 : this.#weights.int4.accuracyLevel;
    return this.op(
      'MatMulNBits',
      `${base}/MatMul_Q4`,
      [x, `${name}_Q4`, `${name}_scales`],
      {
        K: attribute.int(inner),
        N: attribute.int(outer),
        bits: attribute.int(4),
        block_size: attribute.int(block),
        accuracy_level: attribute.int(level),
      },
      'com.microsoft',
    );
  }

  /** RMS norm over the last axis, of `size` elements. */
  norm(name: string, x: string, size: number): string {
    const weight = this.#normWeight(name, size);
    return this.op('SimplifiedLayerNormalization', name, [x, weight], {
      axis: attribute.int(-1),
      epsilon: attribute.float(1e-5),
      stash_type: attribute.int(1),
    });
  }

  /** RMS norm of the sum of the residual and what a sublayer made: `[normed, sum]`. */
  skipNorm(name: string, residual: string, skip: string, size: number): [string, string] {
    const outputs: [string, string] = [`${name}/output_0`, `${name}/output_3`];
    this.contrib(
      'SkipSimplifiedLayerNormalization',
      name,
      [
        [residual, skip, this.#normWeight(name, size)],
        [outputs[0], '', '', outputs[1]],
      ],
      { epsilon: attribute.float(1e-5) },
    );
    return outputs;
  }

  #normWeight(name: string, size: number): string {
    const values = this.source(`${name}.weight`, size, { deviation: 0.1, mean: 1 });
    return this.constant(`${name}.weight`, values, [size]);
  }
}

/** Elements that share a scale. */
const block = 32;

/**
 * Symmetric int4, as MatMulNBits reads it: rows of the transposed matrix in blocks. Scales are
 * numbers of float16, so that formats that keep them as such hold the same weights.
 */
function quantize(values: Float32Array, inner: number, outer: number) {
  const packed = new Uint8Array((inner * outer) / 2);
  const scales = new Float32Array((inner * outer) / block);
  for (let n = 0; n < outer; n++) {
    for (let first = 0; first < inner; first += block) {
      let largest = 0;
      for (let k = first; k < first + block; k++) {
        largest = Math.max(largest, Math.abs(values[k * outer + n]));
      }
      const scale = f16round(largest / 7);
      scales[(n * inner + first) / block] = scale;
      for (let k = first; k < first + block; k++) {
        const level = Math.min(15, Math.max(0, Math.round(values[k * outer + n] / scale) + 8));
        packed[(n * inner + k) >> 1] |= level << (4 * (k & 1));
      }
    }
  }
  return { packed, scales };
}
