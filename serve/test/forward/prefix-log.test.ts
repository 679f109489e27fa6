import { KvCache } from 'flash-attention/serving';
import { pageHashes, prefixScope } from '../../src/engine/prefix-hash.js';
import { PrefixLog } from '../../src/forward/prefix-log.js';

const shape = { layers: 1, numPages: 6, pageSize: 4, kvHeads: 1, headDim: 8 };

function feed(cache: KvCache, scope: string, tokens: number[]): void {
  const sequence = cache.createSequence({ scope, tokens });
  const rest = tokens.slice(sequence.length);
  const rows = new Float32Array(8 * rest.length);
  using step = cache.step([{ sequence, tokens: rest }]);
  step.attention(0, rows, rows, rows, { sync: true });
  step.commit();
  sequence.dispose();
}

const counting = (from: number, length: number) => Array.from({ length }, (_, i) => from + i);

test('the pages of a cache are told by the hashes that a prompt has', () => {
  const log = new PrefixLog();
  using cache = new KvCache({ ...shape, prefixObserver: log });
  const [one, two] = [prefixScope('one', false), prefixScope('two', false)];
  const hashes = (scope: string, tokens: number[]) =>
    pageHashes(scope, Int32Array.from(tokens), shape.pageSize);
  expect(log.take()).toBeUndefined();
  feed(cache, one, counting(0, 13));
  const first = hashes(one, counting(0, 13));
  expect(first).toHaveLength(3);
  expect(log.take()).toEqual({ added: first, removed: [] });
  feed(cache, one, [...counting(0, 8), 90, 91, 92, 93]);
  const other = hashes(one, [...counting(0, 8), 90, 91, 92, 93]);
  expect(other.slice(0, 2)).toEqual(first.slice(0, 2));
  expect(log.take()).toEqual({ added: [other[2]], removed: [] });
  // Of another scope, and more than there is room for.
  feed(cache, two, counting(0, 16));
  const { added, removed } = log.take() ?? {};
  expect(added).toEqual(hashes(two, counting(0, 16)));
  expect(removed).toHaveLength(2);
  expect([...first, ...other]).toEqual(expect.arrayContaining(removed as number[]));
});

test('hashes of pages differ by scope, rope table and every token before', () => {
  const seen = new Set<number>();
  for (const scope of [prefixScope('a', false), prefixScope('a', true), prefixScope('b', false)]) {
    for (let change = 0; change < 64; change++) {
      const tokens = new Int32Array(64);
      tokens[change] = 1;
      // The pages from the changed token on are new, those before it are those of zeros.
      for (const hash of pageHashes(scope, tokens, 4).slice(change >> 2)) seen.add(hash);
    }
  }
  expect(seen.size).toBe((3 * 4 * (16 * 17)) / 2);
  expect(Math.max(...seen)).toBeLessThan(2 ** 53);
});
