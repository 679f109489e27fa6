// What a contestant of the benchmark is held against.
import { model } from '../../bench/serving/filled-cache.js';
import { TokensOracle } from '../../bench/serving/tokens-oracle.js';

describe('the oracle of tokens', () => {
  const { heads, headDim } = model;
  const key = new Float32Array(headDim);
  const value = new Float32Array(headDim).fill(2);
  const q = new Float32Array(heads * headDim).fill(1);
  const oracle = new TokensOracle(q, () => ({ keys: 3, rowsOf: () => [key, value] }));
  const right = () => new Float32Array(heads * headDim).fill(2);

  it('finds no deviation of what is right', () => {
    expect(oracle.deviation(right())).toBe(0);
  });

  it('gives the largest, in units of the root mean square', () => {
    const off = right();
    off[0] = 2.5;
    off[headDim - 1] = 1;
    expect(oracle.deviation(off)).toBe(0.5);
  });

  it.each([0, headDim - 1])('NaN at %i is not forgotten by what comes after it', (at) => {
    const off = right();
    off[at] = NaN;
    expect(oracle.deviation(off)).toBeNaN();
  });
});
