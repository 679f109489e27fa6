import { type Numbers, type Parameter, zerosLike } from './numbers.js';
import { addProduct, rowMajor, transposed } from './product.js';

/**
 * What a layer made, and the way back: from the gradient of the loss by `out` to that by the
 * layer's input. The way back also adds to the gradients of the layer's parameters.
 */
export interface Pass {
  readonly out: Numbers;
  backward(dOut: Numbers): Numbers;
}

/** x `[rows, inner]` times a weight `[inner, outer]`. */
export function linear(x: Numbers, { dims, values, gradient }: Parameter): Pass {
  const [inner, outer] = dims;
  const rows = x.length / inner;
  const weight = rowMajor(values, outer);
  const out = zerosLike(x, rows * outer);
  addProduct(out, rowMajor(x, inner), weight, [rows, outer, inner]);
  return {
    out,
    backward(dOut) {
      const dx = zerosLike(x, x.length);
      const d = rowMajor(dOut, outer);
      addProduct(gradient, transposed(rowMajor(x, inner)), d, [inner, outer, rows]);
      addProduct(dx, d, transposed(weight), [rows, inner, outer]);
      return dx;
    },
  };
}

/** Rows of a table `[vocab, width]`. The way back ends here: tokens have no gradient. */
export function embed(
  tokens: Int32Array,
  { dims: [, width], values, gradient }: Parameter,
): { out: Numbers; backward(dOut: Numbers): void } {
  const out = zerosLike(values, tokens.length * width);
  tokens.forEach((token, row) => {
    out.set(values.subarray(token * width, (token + 1) * width), row * width);
  });
  return {
    out,
    backward(dOut) {
      tokens.forEach((token, row) => {
        for (let c = 0; c < width; c++) gradient[token * width + c] += dOut[row * width + c];
      });
    },
  };
}

/** x `[rows, width]` times a table `[vocab, width]`, transposed: logits by tied embeddings. */
export function project(x: Numbers, { dims, values, gradient }: Parameter): Pass {
  const [vocab, width] = dims;
  const rows = x.length / width;
  const table = rowMajor(values, width);
  const out = zerosLike(x, rows * vocab);
  addProduct(out, rowMajor(x, width), transposed(table), [rows, vocab, width]);
  return {
    out,
    backward(dOut) {
      const dx = zerosLike(x, x.length);
      const d = rowMajor(dOut, vocab);
      addProduct(gradient, transposed(d), rowMajor(x, width), [vocab, width, rows]);
      addProduct(dx, d, table, [rows, width, vocab]);
      return dx;
    },
  };
}

/** Added to the mean of squares, as the exported graph does. */
const normEpsilon = 1e-5;

/** RMSNorm (Zhang and Sennrich 2019): x / sqrt(mean(x²) + ε) times a weight `[width]`. */
export function rmsNorm(x: Numbers, { values: weight, gradient }: Parameter): Pass {
  const width = weight.length;
  const rows = x.length / width;
  const factors = new Float64Array(rows);
  const out = zerosLike(x, x.length);
  for (let row = 0; row < rows; row++) {
    const at = row * width;
    let squares = 0;
    for (let c = 0; c < width; c++) squares += x[at + c] * x[at + c];
    const factor = 1 / Math.sqrt(squares / width + normEpsilon);
    factors[row] = factor;
    for (let c = 0; c < width; c++) out[at + c] = x[at + c] * factor * weight[c];
  }
  return {
    out,
    backward(dOut) {
      const dx = zerosLike(x, x.length);
      for (let row = 0; row < rows; row++) {
        const at = row * width;
        const factor = factors[row];
        let along = 0; // of the gradient, along x
        for (let c = 0; c < width; c++) {
          gradient[c] += dOut[at + c] * x[at + c] * factor;
          along += dOut[at + c] * weight[c] * x[at + c];
        }
        const share = (along * factor * factor) / width;
        for (let c = 0; c < width; c++) {
          dx[at + c] = factor * (dOut[at + c] * weight[c] - share * x[at + c]);
        }
      }
      return dx;
    },
  };
}

/** SwiGLU (Shazeer 2020): silu(gate) times up, of the same shape. */
export function swiGlu(
  gate: Numbers,
  up: Numbers,
): { out: Numbers; backward(dOut: Numbers): [dGate: Numbers, dUp: Numbers] } {
  const out = zerosLike(gate, gate.length);
  for (let i = 0; i < gate.length; i++) out[i] = (gate[i] / (1 + Math.exp(-gate[i]))) * up[i];
  return {
    out,
    backward(dOut) {
      const dGate = zerosLike(gate, gate.length);
      const dUp = zerosLike(gate, gate.length);
      for (let i = 0; i < gate.length; i++) {
        const sigmoid = 1 / (1 + Math.exp(-gate[i]));
        dUp[i] = dOut[i] * gate[i] * sigmoid;
        dGate[i] = dOut[i] * up[i] * sigmoid * (1 + gate[i] * (1 - sigmoid));
      }
      return [dGate, dUp];
    },
  };
}

/** Angles by position and pair: rows of `[positions, headDim / 2]`. */
export interface RotaryTables {
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

export function rotaryTables(positions: number, headDim: number, theta: number): RotaryTables {
  const pairs = headDim / 2;
  const angles = Float64Array.from(
    { length: positions * pairs },
    (_, i) => Math.floor(i / pairs) * theta ** (-(i % pairs) / pairs),
  );
  return { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
}

/**
 * Turns element i of every head with element i + headDim / 2 by the token's position (RoFormer, Su
 * et al. 2021, in Llama's order), in place. The gradient is turned back.
 *
 * @param x `[tokens, heads, headDim]`
 */
export function rotate(
  x: Numbers,
  positions: Int32Array,
  { cos, sin }: RotaryTables,
  [headDim, direction]: readonly [headDim: number, direction: 1 | -1],
): void {
  const pairs = headDim / 2;
  const width = x.length / positions.length;
  for (let row = 0; row < positions.length; row++) {
    const angle = positions[row] * pairs;
    for (let at = row * width; at < (row + 1) * width; at += headDim) {
      for (let i = 0; i < pairs; i++) {
        const [c, s] = [cos[angle + i], sin[angle + i] * direction];
        const [a, b] = [x[at + i], x[at + i + pairs]];
        x[at + i] = a * c - b * s;
        x[at + i + pairs] = b * c + a * s;
      }
    }
  }
}

/** Mean of -log softmax(logits)[target] over the rows; `backward` gives its gradient. */
export function crossEntropy(
  logits: Numbers,
  targets: Int32Array,
): { loss: number; backward(): Numbers } {
  const vocab = logits.length / targets.length;
  const maxima = new Float64Array(targets.length);
  const sums = new Float64Array(targets.length);
  let loss = 0;
  targets.forEach((target, row) => {
    const at = row * vocab;
    let largest = -Infinity;
    for (let c = 0; c < vocab; c++) largest = Math.max(largest, logits[at + c]);
    let sum = 0;
    for (let c = 0; c < vocab; c++) sum += Math.exp(logits[at + c] - largest);
    [maxima[row], sums[row]] = [largest, sum];
    loss += Math.log(sum) + largest - logits[at + target];
  });
  return {
    loss: loss / targets.length,
    backward() {
      const gradient = zerosLike(logits, logits.length);
      targets.forEach((target, row) => {
        const at = row * vocab;
        const share = 1 / (sums[row] * targets.length);
        for (let c = 0; c < vocab; c++) {
          gradient[at + c] = Math.exp(logits[at + c] - maxima[row]) * share;
        }
        gradient[at + target] -= 1 / targets.length;
      });
      return gradient;
    },
  };
}
