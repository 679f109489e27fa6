import { dynamicConv, type Tensor, tensor, zeros } from '../lib/index.js';
import {
  type ConvolutionShape,
  dynamicConvolution,
  lightweightConvolution,
} from '../lib/reference/index.js';
import { type FloatDType, floatDTypes, maxError, normals, toBhsd } from './support/numerics.js';

/** Half a unit in the last place, of a number of size 1. */
const rounding: Record<FloatDType, number> = {
  float32: 2 ** -24,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
};

/** A result is a mean of inputs, so that they bound it: rounded once, after sums in float32. */
function allowed(dtype: FloatDType, x: Float32Array): number {
  const largest = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return largest * (rounding[dtype] + 2e-6);
}

const shapes: ConvolutionShape[] = [
  { batch: 1, seqlen: 1, heads: 1, headDim: 1, kernelSize: 1 },
  { batch: 2, seqlen: 9, heads: 3, headDim: 5, kernelSize: 3 },
  { batch: 1, seqlen: 200, heads: 2, headDim: 64, kernelSize: 31 },
  { batch: 3, seqlen: 65, heads: 4, headDim: 40, kernelSize: 7 },
  { batch: 1, seqlen: 40, heads: 1, headDim: 111, kernelSize: 100 },
  { batch: 2, seqlen: 130, heads: 1, headDim: 200, kernelSize: 15 },
  { batch: 1, seqlen: 3, heads: 16, headDim: 576, kernelSize: 63 },
  { batch: 1, seqlen: 1100, heads: 1, headDim: 8, kernelSize: 1024 },
];

const name = ({ batch, seqlen, heads, headDim, kernelSize }: ConvolutionShape) =>
  `[${batch}, ${seqlen}, ${heads}, ${headDim}], ${kernelSize} taps`;
const named = shapes.map((shape) => ({ name: name(shape), shape }));

function inputs(shape: ConvolutionShape, dtype: FloatDType) {
  const { batch, seqlen, heads, headDim, kernelSize } = shape;
  return {
    x: normals(batch * seqlen * heads * headDim, 1, dtype),
    weights: normals(batch * seqlen * heads * kernelSize, 2, dtype),
    state: normals(batch * (kernelSize - 1) * heads * headDim, 3, dtype),
  };
}

function tensors(shape: ConvolutionShape, dtype: FloatDType) {
  const { batch, seqlen, heads, headDim, kernelSize } = shape;
  const { x, weights, state } = inputs(shape, dtype);
  return {
    x: tensor(x, [batch, seqlen, heads, headDim], { dtype }),
    weights: tensor(weights, [batch, seqlen, heads, kernelSize], { dtype }),
    state: tensor(state, [batch, kernelSize - 1, heads, headDim], { dtype }),
  };
}

const swap = (x: Tensor) => x.transpose(0, 2, 1, 3);

describe.each(floatDTypes)('%s', (dtype) => {
  test.each(named)('$name: what the reference computes', async ({ shape }) => {
    const numbers = inputs(shape, dtype);
    const expected = dynamicConvolution({ shape, x: numbers.x, weights: numbers.weights });
    const { x, weights } = tensors(shape, dtype);
    const { out, state } = dynamicConv(x, weights, { returnState: true });
    expect(out).toMatchObject({ shape: x.shape, dtype });
    const most = allowed(dtype, numbers.x);
    expect(maxError(await out.toFloat32(), expected.out)).toBeLessThanOrEqual(most);
    expect(await state.toFloat32()).toEqual(Float32Array.from(expected.state));
  });

  test.each(named)('$name: after a state', async ({ shape }) => {
    const numbers = inputs(shape, dtype);
    const expected = dynamicConvolution({ shape, ...numbers });
    const { x, weights, state } = tensors(shape, dtype);
    const next = dynamicConv(x, weights, { state, returnState: true });
    const most = Math.max(allowed(dtype, numbers.x), allowed(dtype, numbers.state));
    expect(maxError(await next.out.toFloat32(), expected.out)).toBeLessThanOrEqual(most);
    expect(await next.state.toFloat32()).toEqual(Float32Array.from(expected.state));
  });

  test.each(named)('$name: weights that tokens share', async ({ shape }) => {
    const { heads, kernelSize } = shape;
    const kernels = normals(heads * kernelSize, 4, dtype);
    const { x } = inputs(shape, dtype);
    const expected = lightweightConvolution({ shape, x, weights: kernels });
    const weights = tensor(kernels, [heads, kernelSize], { dtype });
    const given = tensors(shape, dtype).x;
    const out = dynamicConv(given, weights);
    expect(maxError(await out.toFloat32(), expected.out)).toBeLessThanOrEqual(allowed(dtype, x));
    const expanded = weights.reshape([1, 1, heads, kernelSize]);
    const repeated = expanded.expand([shape.batch, shape.seqlen, heads, kernelSize]);
    const bits = await out.data();
    expect(await dynamicConv(given, repeated).data()).toEqual(bits);
    expect(await dynamicConv(given, repeated.contiguous()).data()).toEqual(bits);
  });

  test.each(named)('$name: the same bits in pieces, with and without an end', async ({ shape }) => {
    const { x, weights } = tensors(shape, dtype);
    const whole = dynamicConv(x, weights, { returnState: true });
    const { seqlen } = shape;
    const cuts = [0, 1, 2, 2, 3, 70, 71].filter((cut) => cut < seqlen);
    let state: Tensor | undefined;
    for (const [n, from] of cuts.entries()) {
      const rows = [null, [from, cuts[n + 1] ?? seqlen]] as const;
      const part = dynamicConv(x.slice(...rows), weights.slice(...rows), {
        state,
        returnState: true,
      });
      expect(await part.out.data()).toEqual(await whole.out.slice(...rows).data());
      state = part.state;
    }
    expect(await state?.data()).toEqual(await whole.state.data());
  });

  test.each(named)(
    '$name: the same bits in the other layout, of any strides',
    async ({ shape }) => {
      const { x, weights, state } = tensors(shape, dtype);
      const options = { state, returnState: true } as const;
      const plain = dynamicConv(x, weights, options);
      const expected = [await plain.out.data(), await plain.state.data()];
      const bhsd = dynamicConv(swap(x).contiguous(), swap(weights).contiguous(), {
        layout: 'bhsd',
        returnState: true,
        state: swap(state).contiguous(),
      });
      expect([await swap(bhsd.out).data(), await swap(bhsd.state).data()]).toEqual(expected);
      const turn = (of: Tensor) => of.transpose(3, 2, 1, 0).contiguous().transpose(3, 2, 1, 0);
      const turned = dynamicConv(turn(x), turn(weights), { state: turn(state), returnState: true });
      expect([await turned.out.data(), await turned.state.data()]).toEqual(expected);
    },
  );
});

test('weights may have another dtype than x', async () => {
  const shape = shapes[1];
  const { x } = tensors(shape, 'float32');
  const { weights } = tensors(shape, 'bfloat16');
  const out = dynamicConv(x, weights);
  expect(out.dtype).toBe('float32');
  const same = dynamicConv(x, weights.to('float32'));
  expect(await out.data()).toEqual(await same.data());
});

test('toBhsd of the result is the result in bhsd', async () => {
  const shape = shapes[1];
  const { batch, seqlen, heads, headDim } = shape;
  const { x, weights } = tensors(shape, 'float32');
  const out = await dynamicConv(swap(x), swap(weights), { layout: 'bhsd' }).toFloat32();
  const plain = await dynamicConv(x, weights).toFloat32();
  expect(out).toEqual(toBhsd(plain, [batch, seqlen, heads, headDim]));
});

describe('extremes', () => {
  const x = (...values: number[]) => tensor(values, [1, values.length, 1, 1]);
  const weights = (...rows: number[][]) => tensor(rows.flat(), [1, rows.length, 1, rows[0].length]);
  const outOf = async (inputs: Tensor, logits: Tensor, state?: Tensor) => [
    ...(await dynamicConv(inputs, logits, { state }).toFloat32()),
  ];

  test('a tap of -Infinity does not exist: NaN behind it stays there', async () => {
    const w = weights([0, 0], [-Infinity, 3], [0, 0]);
    expect(await outOf(x(NaN, 2, 4), w)).toEqual([NaN, 2, 3]);
    expect(await outOf(x(Infinity, 2, 4), w)).toEqual([Infinity, 2, 3]);
  });

  test('where no tap exists out is 0', async () => {
    const w = weights([-Infinity, -Infinity], [-Infinity, -Infinity]);
    expect(await outOf(x(NaN, 2), w)).toEqual([0, 0]);
  });

  test('NaN and +Infinity among the logits give NaN, to that token alone', async () => {
    const w = weights([0, 0], [NaN, 0], [0, 0], [Infinity, 0], [NaN, NaN], [0, 0]);
    const out = await outOf(x(2, 2, 2, 2, 2, 2), w);
    expect(out).toEqual([1, NaN, 2, NaN, NaN, 2]);
  });

  test("logits at the ends of float32's range", async () => {
    const most = 3.4028234663852886e38;
    const w = weights([most, most], [-most, -most], [most, -most], [-most, most]);
    expect(await outOf(x(1, 3, 5, 9), w)).toEqual([0.5, 2, 3, 9]);
  });

  test('inputs before the first keep their share of the softmax', async () => {
    const w = weights([0, Math.log(3)]);
    expect((await outOf(x(4), w))[0]).toBeCloseTo(3, 6);
    expect((await outOf(x(4), w, x(8)))[0]).toBeCloseTo(5, 6);
  });

  test('nothing to do', async () => {
    const nothing = dynamicConv(zeros([2, 0, 3, 4]), zeros([2, 0, 3, 5]), { returnState: true });
    expect(nothing.out.shape).toEqual([2, 0, 3, 4]);
    expect(await nothing.state.toFloat32()).toEqual(new Float32Array(2 * 4 * 3 * 4));
    const before = tensor(normals(2 * 4 * 3 * 4, 1), [2, 4, 3, 4]);
    const kept = dynamicConv(zeros([2, 0, 3, 4]), zeros([3, 5]), {
      state: before,
      returnState: true,
    });
    expect(await kept.state.data()).toEqual(await before.data());
    expect((await dynamicConv(zeros([0, 3, 1, 4]), zeros([1, 5])).data()).length).toBe(0);
  });
});
