// The decoder that the demo is trained with: its gradients, and that training goes down.
import { AdamW } from '../../demo/decoder/adamw.js';
import { type Attention, nativeAttention } from '../../demo/decoder/attention.js';
import {
  type Batch,
  Decoder,
  type DecoderShape,
  initialValues,
} from '../../demo/decoder/decoder.js';
import type { Numbers } from '../../demo/decoder/numbers.js';
import { addProduct, rowMajor, transposed } from '../../demo/decoder/product.js';
import { Random } from '../../demo/random.js';
import { referenceAttention } from './reference-attention.js';

const shape: DecoderShape = {
  ...{ layers: 2, hidden: 24, heads: 3, kvHeads: 1, headDim: 8, mlp: 20, vocab: 17, context: 16 },
  theta: 100,
};

/** Three sequences of 7, 1 and 5 tokens, some of whose successors are learnt. */
function batchOf(seed: number): Batch {
  const random = new Random(seed);
  const rows = Int32Array.of(0, 2, 5, 7, 8, 11);
  return {
    tokens: random.integers(13, shape.vocab),
    cuSeqlens: Int32Array.of(0, 7, 8, 13),
    rows,
    targets: random.integers(rows.length, shape.vocab),
  };
}

/** Values that leave no gradient at zero, norms' weights included. */
function decoderIn(type: typeof Float32Array | typeof Float64Array, attention: Attention): Decoder {
  const random = new Random(3);
  const initial = initialValues(shape, random);
  return new Decoder(shape, attention, (name, dims) => {
    const values = initial(name, dims);
    const shift = random.normal(values.length, 0.2);
    return new type(values.map((value, i) => value + shift[i]));
  });
}

/** The greatest difference, by the greatest number expected. */
function relativeError(got: Numbers, expected: Numbers): number {
  let [error, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]));
    error = Math.max(error, Math.abs(expected[i] - got[i]));
  }
  return error / largest;
}

describe('a product', () => {
  // Around the borders of tiles and of packed blocks.
  it.each([
    [1, 1, 1],
    [2, 4, 256],
    [3, 5, 257],
    [7, 9, 600],
  ])('of %i x %i sums of %i terms', (m, n, k) => {
    const random = new Random(1);
    const [a, b] = [random.normal(m * k, 1), random.normal(k * n, 1)];
    const expected = Float64Array.from({ length: m * n }, (_, at) => {
      let sum = 1;
      for (let i = 0; i < k; i++) sum += a[Math.floor(at / n) * k + i] * b[i * n + (at % n)];
      return sum;
    });
    const c = new Float64Array(m * n).fill(1);
    addProduct(c, rowMajor(a, k), rowMajor(b, n), [m, n, k]);
    const turned = new Float64Array(m * n).fill(1);
    addProduct(turned, transposed(rowMajor(b, n)), transposed(rowMajor(a, k)), [n, m, k]);
    for (let i = 0; i < c.length; i++) {
      expect(c[i]).toBeCloseTo(expected[i], 10);
      const [row, column] = [Math.floor(i / n), i % n];
      expect(turned[column * m + row]).toBeCloseTo(expected[i], 10);
    }
  });
});

describe('gradients of the whole decoder', () => {
  it('are those of finite differences, in float64', async () => {
    const decoder = decoderIn(Float64Array, referenceAttention);
    const batch = batchOf(5);
    await decoder.lossAndGradients(batch);
    const random = new Random(7);
    const step = 1e-5;
    for (const { name, values, gradient } of decoder.parameters) {
      for (let n = 0; n < 4; n++) {
        const i = Math.floor(random.next() * values.length);
        const value = values[i];
        values[i] = value + step;
        const above = await decoder.loss(batch);
        values[i] = value - step;
        const below = await decoder.loss(batch);
        values[i] = value;
        // The error of a central difference is of the order of step², that of the losses 1e-16.
        const difference = (above - below) / (2 * step);
        expect({ name, i, close: Math.abs(difference - gradient[i]) < 1e-8 }).toEqual({
          ...{ name, i, close: true },
        });
      }
      expect({ name, zero: gradient.every((each) => each === 0) }).toEqual({ name, zero: false });
    }
  });

  it('are the same by flash-attention in float32', async () => {
    const exact = decoderIn(Float64Array, referenceAttention);
    const decoder = decoderIn(Float32Array, nativeAttention);
    const batch = batchOf(5);
    const expected = await exact.lossAndGradients(batch);
    expect(Math.abs((await decoder.lossAndGradients(batch)) - expected)).toBeLessThan(1e-5);
    decoder.parameters.forEach(({ name, gradient }, n) => {
      const error = relativeError(gradient, exact.parameters[n].gradient);
      expect({ name, close: error < 1e-5 }).toEqual({ name, close: true });
    });
  });
});

describe('AdamW', () => {
  it('goes down: one batch is learnt by heart', async () => {
    const decoder = decoderIn(Float32Array, nativeAttention);
    const optimizer = new AdamW(decoder.parameters);
    const batch = batchOf(5);
    const losses: number[] = [];
    for (let step = 0; step < 30; step++) {
      losses.push(await decoder.lossAndGradients(batch));
      optimizer.step(0.01);
    }
    expect(losses[0]).toBeGreaterThan(1);
    expect(await decoder.loss(batch)).toBeLessThan(losses[0] / 10);
  });

  it('takes the first step by the learning rate, decays matrices alone, and forgets gradients', () => {
    const parameter = (name: string, dims: number[], value: number, slope: number) => ({
      ...{ name, dims },
      values: Float64Array.of(value),
      gradient: Float64Array.of(slope),
    });
    const parameters = [parameter('matrix', [1, 1], 2, 0.3), parameter('norm', [1], 2, -0.4)];
    const optimizer = new AdamW(parameters, { weightDecay: 0.5, epsilon: 0 });
    optimizer.step(0.1);
    // The first step is that of the sign of the gradient (Kingma and Ba 2015, section 2.1).
    expect(parameters[0].values[0]).toBeCloseTo(2 * (1 - 0.1 * 0.5) - 0.1, 6);
    expect(parameters[1].values[0]).toBeCloseTo(2 + 0.1, 6);
    expect(parameters.map(({ gradient }) => gradient[0])).toEqual([0, 0]);
  });
});
