import type { Random } from '../random.js';
import type { Attention, AttentionShape } from './attention.js';
import {
  crossEntropy,
  embed,
  linear,
  type Pass,
  project,
  rmsNorm,
  type RotaryTables,
  rotaryTables,
  rotate,
  swiGlu,
} from './layers.js';
import type { DecoderSize } from '../../test/models/variants.js';
import { type Numbers, type Parameter, zerosLike } from './numbers.js';

/** A decoder in Llama's shape: RMSNorm, rotary embedding, grouped queries, SwiGLU. */
export interface DecoderShape extends DecoderSize {
  /** Base of the rotary embedding. */
  readonly theta: number;
}

/** Sequences one after the other, and the tokens that are to be foretold. */
export interface Batch {
  readonly tokens: Int32Array;
  readonly cuSeqlens: Int32Array;
  /** Rows of `tokens` whose successor is learnt, and that successor. */
  readonly rows: Int32Array;
  readonly targets: Int32Array;
}

interface Layer {
  readonly inputNorm: Parameter;
  readonly qkv: Parameter;
  readonly out: Parameter;
  readonly mlpNorm: Parameter;
  readonly gate: Parameter;
  readonly up: Parameter;
  readonly down: Parameter;
}

/** Rows go forth through parameters and come back as gradients. */
export class Decoder {
  readonly shape: DecoderShape;
  readonly embedding: Parameter;
  readonly layers: readonly Layer[];
  readonly finalNorm: Parameter;
  readonly #attention: Attention;
  readonly #rotary: RotaryTables;

  /** @param values of a parameter, by its name: see {@link initialValues}. */
  constructor(
    shape: DecoderShape,
    attention: Attention,
    values: (name: string, dims: readonly number[]) => Numbers,
  ) {
    const { hidden, heads, kvHeads, headDim, mlp } = shape;
    const parameter = (name: string, ...dims: number[]): Parameter => {
      const given = values(name, dims);
      return { name, dims, values: given, gradient: zerosLike(given, given.length) };
    };
    this.shape = shape;
    this.embedding = parameter('embedding', shape.vocab, hidden);
    this.layers = Array.from({ length: shape.layers }, (_, n) => ({
      inputNorm: parameter(`layers.${n}.inputNorm`, hidden),
      qkv: parameter(`layers.${n}.qkv`, hidden, (heads + 2 * kvHeads) * headDim),
      out: parameter(`layers.${n}.out`, heads * headDim, hidden),
      mlpNorm: parameter(`layers.${n}.mlpNorm`, hidden),
      gate: parameter(`layers.${n}.gate`, hidden, mlp),
      up: parameter(`layers.${n}.up`, hidden, mlp),
      down: parameter(`layers.${n}.down`, mlp, hidden),
    }));
    this.finalNorm = parameter('finalNorm', hidden);
    this.#attention = attention;
    this.#rotary = rotaryTables(shape.context, headDim, shape.theta);
  }

  get parameters(): Parameter[] {
    return [
      this.embedding,
      ...this.layers.flatMap((layer) => Object.values(layer)),
      this.finalNorm,
    ];
  }

  /** The mean loss over the batch's targets. */
  async loss(batch: Batch): Promise<number> {
    const { logits } = await this.#forward(batch);
    return crossEntropy(logits.out, batch.targets).loss;
  }

  /** The same; its gradients are added to those of the parameters. */
  async lossAndGradients(batch: Batch): Promise<number> {
    const { logits, backward } = await this.#forward(batch);
    const { loss, backward: dLogits } = crossEntropy(logits.out, batch.targets);
    await backward(logits.backward(dLogits()));
    return loss;
  }

  /** Logits `[tokens, vocab]` of the successor of each token of one sequence. */
  async logits(tokens: Int32Array): Promise<Numbers> {
    const cuSeqlens = Int32Array.of(0, tokens.length);
    const rows = Int32Array.from(tokens.keys());
    return (await this.#forward({ tokens, cuSeqlens, rows })).logits.out;
  }

  async #forward({ tokens, cuSeqlens, rows }: Omit<Batch, 'targets'>): Promise<{
    logits: Pass;
    backward(dWanted: Numbers): Promise<void>;
  }> {
    const embedded = embed(tokens, this.embedding);
    const blocks: Block[] = [];
    let x = embedded.out;
    for (const layer of this.layers) {
      for (const next of [this.#attend, this.#transform]) {
        const block = await next.call(this, layer, x, cuSeqlens);
        x = sum(x, block.out);
        blocks.push(block);
      }
    }
    const normed = rmsNorm(x, this.finalNorm);
    const { hidden } = this.shape;
    const logits = project(gatherRows(normed.out, rows, hidden), this.embedding);
    return {
      logits,
      backward: async (dWanted) => {
        const dNormed = scatterRows(dWanted, rows, tokens.length * hidden);
        let dOut = normed.backward(dNormed);
        for (const block of blocks.reverse()) dOut = sum(dOut, await block.backward(dOut));
        embedded.backward(dOut);
      },
    };
  }

  /** Norm, projections, rotary embedding, attention and its output projection. */
  async #attend(layer: Layer, x: Numbers, cuSeqlens: Int32Array): Promise<Block> {
    const { heads, kvHeads, headDim } = this.shape;
    const widths = [heads, kvHeads, kvHeads].map((count) => count * headDim);
    const positions = positionsOf(cuSeqlens);
    const turn = (rows: Numbers, direction: 1 | -1) =>
      rotate(rows, positions, this.#rotary, [headDim, direction]);
    const normed = rmsNorm(x, layer.inputNorm);
    const projected = linear(normed.out, layer.qkv);
    const [q, k, v] = splitColumns(projected.out, widths);
    turn(q, 1);
    turn(k, 1);
    const shape: AttentionShape = { heads, kvHeads, headDim, cuSeqlens };
    const attended = await this.#attention(q, k, v, shape);
    const out = linear(attended.out, layer.out);
    return {
      out: out.out,
      async backward(dOut) {
        const [dq, dk, dv] = await attended.backward(out.backward(dOut));
        turn(dq, -1);
        turn(dk, -1);
        return normed.backward(projected.backward(joinColumns([dq, dk, dv], widths)));
      },
    };
  }

  /** Norm and MLP. */
  async #transform(layer: Layer, x: Numbers): Promise<Block> {
    const normed = rmsNorm(x, layer.mlpNorm);
    const gate = linear(normed.out, layer.gate);
    const up = linear(normed.out, layer.up);
    const activated = swiGlu(gate.out, up.out);
    const down = linear(activated.out, layer.down);
    return {
      out: down.out,
      async backward(dOut) {
        const [dGate, dUp] = activated.backward(down.backward(dOut));
        return normed.backward(sum(gate.backward(dGate), up.backward(dUp)));
      },
    };
  }
}

/** What a layer adds to the residual, and the gradient by that residual, without its own. */
interface Block {
  readonly out: Numbers;
  backward(dOut: Numbers): Promise<Numbers>;
}

/**
 * Values to begin with: weights of norms are 1, matrices normally distributed by how many numbers a
 * sum has; those that add to the residual smaller by the number of layers (GPT-2).
 */
export function initialValues({ layers }: DecoderShape, random: Random) {
  return (name: string, dims: readonly number[]): Float32Array => {
    if (dims.length === 1) return new Float32Array(dims[0]).fill(1);
    const length = dims[0] * dims[1];
    if (name === 'embedding') return random.normal(length, 0.05);
    const residual = /\.(out|down)$/.test(name) ? Math.sqrt(2 * layers) : 1;
    return random.normal(length, 1 / (Math.sqrt(dims[0]) * residual));
  };
}

function sum(a: Numbers, b: Numbers): Numbers {
  const result = zerosLike(a, a.length);
  for (let i = 0; i < a.length; i++) result[i] = a[i] + b[i];
  return result;
}

/** Each token's place in its sequence. */
function positionsOf(cuSeqlens: Int32Array): Int32Array {
  const positions = new Int32Array(cuSeqlens[cuSeqlens.length - 1]);
  for (let n = 1; n < cuSeqlens.length; n++) {
    for (let row = cuSeqlens[n - 1]; row < cuSeqlens[n]; row++) {
      positions[row] = row - cuSeqlens[n - 1];
    }
  }
  return positions;
}

function gatherRows(x: Numbers, rows: Int32Array, width: number): Numbers {
  const result = zerosLike(x, rows.length * width);
  rows.forEach((row, n) => {
    result.set(x.subarray(row * width, (row + 1) * width), n * width);
  });
  return result;
}

/** The gradient of {@link gatherRows}: rows that were not taken have none. */
function scatterRows(x: Numbers, rows: Int32Array, length: number): Numbers {
  const result = zerosLike(x, length);
  const width = x.length / rows.length;
  rows.forEach((row, n) => {
    result.set(x.subarray(n * width, (n + 1) * width), row * width);
  });
  return result;
}

/** Rows `[q | k | v]` as three matrices. */
function splitColumns(x: Numbers, widths: readonly number[]): Numbers[] {
  const total = widths.reduce((all, width) => all + width, 0);
  const rows = x.length / total;
  let first = 0;
  return widths.map((width) => {
    const part = zerosLike(x, rows * width);
    for (let row = 0; row < rows; row++) {
      const from = row * total + first;
      part.set(x.subarray(from, from + width), row * width);
    }
    first += width;
    return part;
  });
}

function joinColumns(parts: readonly Numbers[], widths: readonly number[]): Numbers {
  const total = widths.reduce((all, width) => all + width, 0);
  const rows = parts[0].length / widths[0];
  const result = zerosLike(parts[0], rows * total);
  let first = 0;
  parts.forEach((part, n) => {
    for (let row = 0; row < rows; row++) {
      const from = row * widths[n];
      result.set(part.subarray(from, from + widths[n]), row * total + first);
    }
    first += widths[n];
  });
  return result;
}
