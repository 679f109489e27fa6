// A transformer of two layers by hand, with random weights: what it says makes no sense, but it
// always says the same. Llama's architecture: RMSNorm, rotary embedding, grouped queries, SwiGLU.
import { tensor } from 'flash-attention';

export const layers = 2;
export const heads = 4;
export const kvHeads = 2;
export const headDim = 16;
const dim = heads * headDim;
const hidden = 2 * dim;

// The vocabulary: printable ASCII.
const first = 32;
const vocab = 127 - first;
export const encode = (text) => Array.from(text, (c) => c.charCodeAt(0) - first);
export const decode = (ids) => String.fromCharCode(...ids.map((id) => id + first));

let state = 15;
function random() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32 - 0.5;
}
const matrix = (rows, columns) =>
  Float32Array.from({ length: rows * columns }, () => random() * Math.sqrt(12 / columns));

const embedding = matrix(vocab, dim);
const blocks = Array.from({ length: layers }, () => ({
  q: matrix(dim, dim),
  k: matrix(kvHeads * headDim, dim),
  v: matrix(kvHeads * headDim, dim),
  out: matrix(dim, dim),
  gate: matrix(hidden, dim),
  up: matrix(hidden, dim),
  down: matrix(dim, hidden),
}));

const longest = 512;
const pairs = headDim / 2;
const table = (of) =>
  tensor(
    Float32Array.from({ length: longest * pairs }, (_, i) =>
      of(Math.floor(i / pairs) * 1e4 ** (-(i % pairs) / pairs)),
    ),
    [longest, pairs],
  );
/** Which way queries and keys turn at each position. */
export const rotary = { cos: table(Math.cos), sin: table(Math.sin) };

/** x [tokens, columns] times the transpose of weights [rows, columns]. */
function linear(x, weights, columns) {
  const rows = weights.length / columns;
  const result = new Float32Array((x.length / columns) * rows);
  for (let t = 0; t * columns < x.length; t++) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += x[t * columns + c] * weights[r * columns + c];
      result[t * rows + r] = sum;
    }
  }
  return result;
}

function norm(x) {
  const result = new Float32Array(x.length);
  for (let t = 0; t < x.length; t += dim) {
    const squares = x.subarray(t, t + dim).reduce((sum, value) => sum + value * value, 0);
    const factor = 1 / Math.sqrt(squares / dim + 1e-6);
    for (let c = t; c < t + dim; c++) result[c] = x[c] * factor;
  }
  return result;
}

/**
 * Logits of each token's successor. `attend(layer, q, k, v)` takes tensors [tokens, heads,
 * headDim] and resolves to the result as a Float32Array: it knows the tokens before these, and
 * turns q and k.
 */
export async function forward(ids, attend) {
  let x = new Float32Array(ids.length * dim);
  ids.forEach((id, t) => {
    x.set(embedding.subarray(id * dim, (id + 1) * dim), t * dim);
  });
  const add = (y) => {
    x = x.map((value, i) => value + y[i]);
  };
  for (let layer = 0; layer < layers; layer++) {
    const { q, k, v, out, gate, up, down } = blocks[layer];
    const input = norm(x);
    const split = (weights, count) =>
      tensor(linear(input, weights, dim), [ids.length, count, headDim]);
    const [queries, keys, values] = [split(q, heads), split(k, kvHeads), split(v, kvHeads)];
    add(linear(await attend(layer, queries, keys, values), out, dim));
    for (const each of [queries, keys, values]) each.dispose();
    const inner = norm(x);
    const gates = linear(inner, gate, dim).map((value) => value / (1 + Math.exp(-value)));
    const ups = linear(inner, up, dim);
    add(
      linear(
        gates.map((value, i) => value * ups[i]),
        down,
        hidden,
      ),
    );
  }
  return linear(norm(x), embedding, dim);
}

/** The likeliest successor of each token. */
export function likeliest(logits) {
  return Array.from({ length: logits.length / vocab }, (_, t) => {
    const row = logits.subarray(t * vocab, (t + 1) * vocab);
    return row.indexOf(Math.max(...row));
  });
}
