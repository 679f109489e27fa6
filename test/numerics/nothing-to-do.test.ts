/**
 * Calls without sequences, queries or keys write every result all the same: memory that other
 * tensors have used before must not show through.
 */
import {
  flashAttention,
  flashAttentionBackward,
  flashAttentionVarlen,
  flashAttentionVarlenBackward,
  synchronize,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/index.js';

const [heads, dim] = [6, 16];

/** Has memory of these sizes, and of everything smaller here, hold NaN and freed. */
async function spoil(sizes: number[]) {
  const tensors = sizes.flatMap((size) =>
    Array.from({ length: 8 }, () => tensor(new Float32Array(size).fill(NaN), [size])),
  );
  await synchronize();
  for (const t of tensors) t.dispose();
}

const ones = (shape: number[]) =>
  tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1), shape);

async function expectAll(t: Tensor | undefined, value: number) {
  const data = await (t as Tensor).toFloat32();
  expect(data).toEqual(new Float32Array(data.length).fill(value));
}

const sinks = zeros([heads]);

test.each([
  ['no sequences', 5, [0], [0]],
  ['one without queries and keys', 5, [0, 0], [0, 0]],
  ['one without keys', 5, [0, 5], [0, 0]],
  ['one without queries', 5, [0, 0], [0, 5]],
])('packed: %s', async (_name, rows, cuSeqlensQ, cuSeqlensK) => {
  const make = () => ones([rows, heads, dim]);
  const [q, k, v, dOut] = [make(), make(), make(), make()];
  for (const numSplits of [1, 3]) {
    await spoil([rows * heads * dim, rows * heads]);
    const options = { cuSeqlensQ, cuSeqlensK, numSplits } as const;
    const { out, lse } = flashAttentionVarlen(q, k, v, { ...options, returnLse: true });
    await expectAll(out, 0);
    await expectAll(lse, -Infinity);
    const state = { q, k, v, out, lse };
    await spoil([rows * heads * dim, heads]);
    const gradients = flashAttentionVarlenBackward(dOut, state, { ...options, sinks });
    await expectAll(gradients.dq, 0);
    await expectAll(gradients.dk, 0);
    await expectAll(gradients.dv, 0);
    await expectAll(gradients.dSinks, 0);
  }
});

test.each([
  ['no batch', 0, 4, 4],
  ['no queries', 2, 0, 4],
  ['no keys', 2, 4, 0],
])('dense: %s', async (_name, batch, seqlenQ, seqlenK) => {
  const queries = () => ones([batch, seqlenQ, heads, dim]);
  const keys = () => ones([batch, seqlenK, heads, dim]);
  const [q, dOut, k, v] = [queries(), queries(), keys(), keys()];
  await spoil([batch * 4 * heads * dim, batch * 4 * heads]);
  const { out, lse } = flashAttention(q, k, v, { returnLse: true });
  await expectAll(out, 0);
  await expectAll(lse, -Infinity);
  await spoil([batch * 4 * heads * dim, heads]);
  const gradients = flashAttentionBackward(dOut, { q, k, v, out, lse }, { sinks });
  await expectAll(gradients.dq, 0);
  await expectAll(gradients.dk, 0);
  await expectAll(gradients.dv, 0);
  await expectAll(gradients.dSinks, 0);
});
