/**
 * Decoding holds as much in every step: tables, results and scratch of one step, and pages of its
 * tokens. test/native/steady_state_test.cc counts the allocations of a layer: there are none.
 */
import { memory, randn, synchronize, type Tensor } from '../../lib/index.js';
import { type CacheDType, KvCache, type Sequence } from '../../lib/serving/index.js';
import { sized } from '../support/device.js';
import { settledMemory } from '../support/gc.js';

const shape = { layers: 2, numPages: 40, pageSize: 32, kvHeads: 2, headDim: 64 };
const heads = 8;
const dtypes: readonly CacheDType[] = ['float32', 'bfloat16', 'int8', 'float8_e4m3'];

function rowsOf(tokens: number): [q: Tensor, k: Tensor, v: Tensor] {
  const rows = (count: number, seed: bigint) =>
    randn([tokens, count, shape.headDim], { seed, dtype: 'float32' });
  return [rows(heads, 1n), rows(shape.kvHeads, 2n), rows(shape.kvHeads, 3n)];
}

const disposeAll = (tensors: readonly Tensor[]) => {
  for (const each of tensors) each.dispose();
};

/** The layers of a step of one token each, what is held while it is open, and its end. */
async function decode(cache: KvCache, sequences: readonly Sequence[], inPlace: boolean) {
  const rows = rowsOf(sequences.length);
  const numbers = await Promise.all(rows.map((each) => each.toFloat32()));
  const [[q, k, v], [qs, ks, vs]] = [rows, numbers];
  const step = cache.step(sequences.map((sequence) => ({ sequence, tokens: 1 })));
  const opened = memory();
  const outs: Tensor[] = [];
  for (let layer = 0; layer < shape.layers; layer++) {
    if (inPlace) step.attention(layer, qs, ks, vs, { sync: true });
    else outs.push(step.attention(layer, q, k, v));
  }
  await synchronize();
  const attended = memory();
  disposeAll([...outs, ...rows]);
  step.commit();
  return { opened, attended, ended: memory(), free: cache.stats().free };
}

describe.each(dtypes)('%s', (dtype) => {
  describe.each([false, true])('in place: %s', (inPlace) => {
    // Six sequences of four query heads per kv head share what they begin with, if it is long.
    test.each([1, 6])('%d sequences on one prefix', async (count) => {
      const cache = new KvCache({ ...shape, dtype });
      const prefix = sized<number>(576, 64);
      const root = cache.createSequence();
      const step = cache.step([{ sequence: root, tokens: prefix }]);
      const rows = rowsOf(prefix);
      for (let layer = 0; layer < shape.layers; layer++) {
        step.attention(layer, ...rows, { window: [0, 0] }).dispose();
      }
      step.commit();
      disposeAll(rows);
      const sequences = [root, ...Array.from({ length: count - 1 }, () => root.fork())];
      // What earlier files dropped is collected now, not between two steps.
      await settledMemory();
      // The first one takes a page for each, the others fill it.
      await decode(cache, sequences, inPlace);
      const first = await decode(cache, sequences, inPlace);
      for (let n = 0; n < sized(25, 2); n++) {
        expect(await decode(cache, sequences, inPlace)).toEqual(first);
      }
      expect(first.ended.tensors).toBeLessThan(first.opened.tensors);
      expect(first.ended.scratch).toBe(0);
      cache.dispose();
    });
  });
});
