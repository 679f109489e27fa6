// One program, unchanged, on every device that is here.
import {
  type DeviceName,
  devices,
  flashAttention,
  flashAttentionBackward,
  flashAttentionVarlen,
  mergeAttentionStates,
  randn,
  type Tensor,
} from '../../lib/index.js';
import { device as deviceUnderTest } from '../support/device.js';
import { maxError } from '../support/numerics.js';

/** Dense, split and packed attention, a merge, gradients: what comes out, by name. */
async function program(device: DeviceName): Promise<Record<string, Float32Array>> {
  const make = (seed: bigint, ...shape: number[]) => randn(shape, { seed, device });
  const q = make(1n, 1, 70, 4, 48);
  const k = make(2n, 1, 90, 2, 48);
  const v = make(3n, 1, 90, 2, 48);
  const forward = flashAttention(q, k, v, { causal: true, returnLse: true });
  const gradients = flashAttentionBackward(
    make(4n, 1, 70, 4, 48),
    { q, k, v, ...forward },
    { causal: true, deterministic: true },
  );
  const [first, second] = [
    [0, 40],
    [40, 90],
  ].map(([begin, end]) => {
    const keys = [k, v].map((t) => t.slice(null, [begin, end]));
    return flashAttention(q, keys[0], keys[1], { returnLse: true });
  });
  const packed = flashAttentionVarlen(
    q.reshape([70, 4, 48]),
    k.reshape([90, 2, 48]),
    v.reshape([90, 2, 48]),
    { cuSeqlensQ: [0, 20, 70], cuSeqlensK: [0, 25, 90], causal: true },
  );
  const results: Record<string, Tensor> = {
    ...forward,
    dq: gradients.dq,
    dk: gradients.dk,
    dv: gradients.dv,
    merged: mergeAttentionStates([first, second]).out,
    packed,
  };
  const read = Object.entries(results).map(async ([name, t]) => [name, await t.toFloat32()]);
  return Object.fromEntries(await Promise.all(read));
}

test('gives the same results', async () => {
  const usable = devices().filter(({ available }) => available);
  expect(usable.map(({ name }) => name)).toEqual(expect.arrayContaining(['cpu', deviceUnderTest]));
  const expected = await program('cpu');
  for (const { name } of usable) {
    const results = await program(name);
    for (const [what, values] of Object.entries(results)) {
      const error = maxError(values, expected[what]);
      expect({ name, what, error, same: error < 2e-5 }).toMatchObject({ same: true });
    }
  }
});
