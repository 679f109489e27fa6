import {
  blockMeans,
  type GlobalMemory,
  globalMemoryAttention,
  standardAttention,
} from '../../lib/reference/index.js';
import { maxDifference, normal, randomInputs, shapeOf } from './random-problem.js';

const [batch, N, heads, kvHeads, headDim, headDimV, G] = [2, 23, 4, 2, 6, 5, 3];
const shape = shapeOf({ batch, seqlenQ: N, seqlenK: N, heads, kvHeads, headDim, headDimV });
const problem = randomInputs(shape, 1);
const memory: GlobalMemory = {
  blockSize: 5,
  length: G,
  k: normal(batch * G * kvHeads * headDim, 2),
  v: normal(batch * G * kvHeads * headDimV, 3),
};
const blockOf = (i: number) => Math.floor(i / 5);

/** Both sequences of the batch, one behind the other along the tokens. */
const joined = (a: Float64Array, b: Float64Array) => {
  const [rowsA, rowsB] = [a.length / batch, b.length / batch];
  return Float64Array.from(
    Array.from({ length: batch }, (_, n) => [
      ...a.subarray(n * rowsA, (n + 1) * rowsA),
      ...b.subarray(n * rowsB, (n + 1) * rowsB),
    ]).flat(),
  );
};

it.each([
  [false, undefined],
  [true, undefined],
  [true, (block: number, g: number) => g < block],
])('is one softmax over block and memory: causal %s', (causal, sees) => {
  const whole = standardAttention({
    shape: { ...shape, seqlenK: G + N },
    q: problem.q,
    k: joined(memory.k as Float64Array, problem.k),
    v: joined(memory.v as Float64Array, problem.v),
    scale: 0.4,
    visible: (_b, _h, i, j) =>
      j < G
        ? (sees?.(blockOf(i), j) ?? true)
        : blockOf(i) === blockOf(j - G) && (!causal || j - G <= i),
  });
  const merged = globalMemoryAttention({ ...problem, scale: 0.4, causal }, { ...memory, sees });
  expect(maxDifference(merged.out, whole.out)).toBeLessThan(1e-13);
  expect(maxDifference(merged.lse, whole.lse)).toBeLessThan(1e-13);
});

it('with the other blocks themselves as memory is attention over all keys', () => {
  const all = { blockSize: 5, length: N, k: problem.k, v: problem.v };
  const others = globalMemoryAttention(problem, { ...all, sees: (b, j) => b !== blockOf(j) });
  expect(maxDifference(others.out, standardAttention(problem).out)).toBeLessThan(1e-13);
  const causal = { ...problem, causal: true };
  const before = globalMemoryAttention(causal, { ...all, sees: (b, j) => blockOf(j) < b });
  expect(maxDifference(before.out, standardAttention(causal).out)).toBeLessThan(1e-13);
});

it('with one block and no memory is attention over all keys', () => {
  const none = { blockSize: N, length: 0, k: new Float64Array(0), v: new Float64Array(0) };
  const { out } = globalMemoryAttention(problem, none);
  expect(maxDifference(out, standardAttention(problem).out)).toBeLessThan(1e-13);
});

it('blockMeans are means, of a shorter last block too', () => {
  const x = Float64Array.from({ length: 14 }, (_, n) => n); // [1, 7, 1, 2]
  expect([...blockMeans(x, [1, 7, 1, 2], 3)]).toEqual([2, 3, 8, 9, 12, 13]);
});

it.each([
  ['memory', 'ERR_TYPE', null],
  ['memory.blockSize', 'ERR_OPTION', { ...memory, blockSize: 0 }],
  ['memory.length', 'ERR_SHAPE', { ...memory, length: 1.5 }],
  ['memory.k', 'ERR_SHAPE', { ...memory, k: new Float64Array(1) }],
  ['memory.sees', 'ERR_TYPE', { ...memory, sees: 1 }],
  ['memory.v', 'ERR_DTYPE', { ...memory, v: new Int8Array(1) }],
])('names %s when that is wrong: %s', (argument, code, wrong) => {
  const call = () => globalMemoryAttention(problem, wrong as GlobalMemory);
  expect(call).toThrow(expect.objectContaining({ argument, code }));
});
