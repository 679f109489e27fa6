import { flashAttention, type Tensor, tensor } from '../../lib/index.js';
import { sized } from '../support/device.js';
import { maxError, normals } from '../support/numerics.js';

const [B, S, H, D] = sized([2, 300, 3, 40], [2, 300, 2, 40]);
const q = normals(B * S * H * D, 1);
const k = normals(B * S * H * D, 2);
const v = normals(B * S * H * D, 3);
const make = (data: Float32Array, batch = B) =>
  tensor(data, [batch, data.length / (batch * H * D), H, D]);
const read = (t: Tensor) => t.toFloat32();

test('two runs give the same bits', async () => {
  const [tq, tk, tv] = [q, k, v].map((x) => make(x));
  for (const options of [{}, { causal: true }, { numSplits: 3 }, { softcap: 5, causal: true }]) {
    const first = await read(flashAttention(tq, tk, tv, options));
    for (let i = 0; i < sized(5, 1); i++) {
      expect(await read(flashAttention(tq, tk, tv, options))).toEqual(first);
    }
  }
});

test.each([1, 2, 3])(
  'with numSplits %i a sequence does not depend on its batch',
  async (numSplits) => {
    const half = (B - 1) * S * H * D;
    for (const causal of [false, true]) {
      const whole = await read(flashAttention(make(q), make(k), make(v), { numSplits, causal }));
      const [oneQ, oneK, oneV] = [q, k, v].map((x) => make(x.slice(half), 1));
      const alone = await read(flashAttention(oneQ, oneK, oneV, { numSplits, causal }));
      expect(whole.slice(half)).toEqual(alone);
      // In a batch large enough to share packed tiles among many more panels.
      const repeat = (x: Float32Array) => {
        const many = new Float32Array(9 * half);
        for (let i = 0; i < 9; i++) many.set(x.subarray(half), i * half);
        return make(many, 9);
      };
      const many = await read(
        flashAttention(repeat(q), repeat(k), repeat(v), { numSplits, causal }),
      );
      expect(many.slice(8 * half)).toEqual(alone);
    }
  },
);

test('values of one are averaged to one', async () => {
  const ones = make(new Float32Array(B * S * H * D).fill(1));
  for (const options of [{}, { causal: true }, { window: [3, 4] as [number, number] }]) {
    const out = await read(flashAttention(make(q), make(k), ones, options));
    expect(maxError(out, new Float32Array(out.length).fill(1))).toBeLessThan(1e-6);
  }
});

test('keys and values may be permuted together', async () => {
  const order = Array.from({ length: S }, (_, j) => (j * 7) % S);
  const permute = (x: Float32Array) => {
    const y = new Float32Array(x.length);
    const row = H * D;
    for (let b = 0; b < B; b++) {
      order.forEach((from, to) => {
        y.set(x.subarray((b * S + from) * row, (b * S + from + 1) * row), (b * S + to) * row);
      });
    }
    return y;
  };
  const plain = await read(flashAttention(make(q), make(k), make(v)));
  const permuted = await read(flashAttention(make(q), make(permute(k)), make(permute(v))));
  expect(maxError(permuted, plain)).toBeLessThan(2e-6);
});

test('the future does not reach a causal prefix, not even as NaN', async () => {
  const prefix = 137;
  const later = (x: Float32Array, value: number) => {
    const y = x.slice();
    for (let b = 0; b < B; b++) y.fill(value, (b * S + prefix) * H * D, (b + 1) * S * H * D);
    return y;
  };
  const prefixOf = (x: Float32Array) => {
    const row = H * D;
    return Array.from({ length: B }, (_, b) => [
      ...x.subarray(b * S * row, (b * S + prefix) * row),
    ]).flat();
  };
  const plain = prefixOf(await read(flashAttention(make(q), make(k), make(v), { causal: true })));
  for (const value of [0, NaN, Infinity, -Infinity, 3e38]) {
    const [badK, badV] = [later(k, value), later(v, value)];
    const out = await read(flashAttention(make(q), make(badK), make(badV), { causal: true }));
    expect(prefixOf(out)).toEqual(plain);
  }
});

describe('NaN and infinity in keys and values that are hidden do not leak', () => {
  const hidden = (j: number) => j % 5 === 2 || j >= 250;
  const poisoned = (x: Float32Array, value: number) =>
    x.map((element, at) => (hidden(Math.floor(at / (H * D)) % S) ? value : element));

  test.each([NaN, Infinity, -Infinity])('%d under a bool mask', async (value) => {
    const mask = tensor(
      Uint8Array.from({ length: S }, (_, j) => (hidden(j) ? 0 : 1)),
      [1, S],
      { dtype: 'bool' },
    );
    const plain = await read(flashAttention(make(q), make(k), make(v), { mask }));
    const out = await read(
      flashAttention(make(q), make(poisoned(k, value)), make(poisoned(v, value)), { mask }),
    );
    expect(maxError(out, plain)).toBe(0);
  });

  test.each([NaN, Infinity, -Infinity])('%d under a float mask of -Infinity', async (value) => {
    const mask = tensor(
      Float32Array.from({ length: S }, (_, j) => (hidden(j) ? -Infinity : 0.5)),
      [1, S],
    );
    const plain = await read(flashAttention(make(q), make(k), make(v), { mask }));
    const out = await read(
      flashAttention(make(q), make(poisoned(k, value)), make(poisoned(v, value)), { mask }),
    );
    expect(maxError(out, plain)).toBe(0);
  });

  test('behind seqlensK', async () => {
    const seqlensK = tensor(Int32Array.of(250, 200), [2]);
    const beyond = (x: Float32Array) =>
      x.map((element, at) => {
        const row = Math.floor(at / (H * D));
        return row % S >= [250, 200][Math.floor(row / S)] ? NaN : element;
      });
    for (const causal of [false, true]) {
      const plain = await read(flashAttention(make(q), make(k), make(v), { seqlensK, causal }));
      const out = await read(
        flashAttention(make(q), make(beyond(k)), make(beyond(v)), { seqlensK, causal }),
      );
      expect(out).toEqual(plain);
    }
  });
});

test('NaN that is seen is not swallowed', async () => {
  const bad = k.slice();
  bad[5 * H * D] = NaN;
  const out = await read(flashAttention(make(q), make(bad), make(v)));
  for (let i = 0; i < S; i++) expect(out[i * H * D]).toBeNaN();
  expect(out[D]).not.toBeNaN(); // the next head
});

test('a row that sees nothing is 0, with lse -Infinity', async () => {
  const nothing = tensor(new Uint8Array(S * S), [S, S], { dtype: 'bool' });
  const { out, lse } = flashAttention(make(q), make(k), make(v), {
    mask: nothing,
    returnLse: true,
  });
  expect(new Set(await read(out))).toEqual(new Set([0]));
  expect(new Set(await read(lse))).toEqual(new Set([-Infinity]));
});
