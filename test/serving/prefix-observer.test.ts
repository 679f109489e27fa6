// Who hears of the pages knows what a prompt will find.
import fc from 'fast-check';
import { KvCache, type PrefixObserver } from '../../lib/serving/index.js';
import { expectThrow, wrong } from '../support/expect-error.js';

const shape = { layers: 1, numPages: 8, pageSize: 2, kvHeads: 1, headDim: 8 };

/** The texts that end with a findable page, by what was told. */
class Heard implements PrefixObserver {
  readonly texts = new Map<number, string>();

  stored(...[page, { scope, before, tokens }]: Parameters<PrefixObserver['stored']>): void {
    expect(this.texts.has(page)).toBe(false);
    const start = before === undefined ? `${scope}:` : this.texts.get(before);
    expect(start).toBeDefined();
    this.texts.set(page, `${start} ${Array.from(tokens).join(' ')}`);
  }

  forgotten(page: number): void {
    expect(this.texts.delete(page)).toBe(true);
  }

  /** Tokens of the longest prefix that leaves one to compute. */
  found(scope: string, tokens: readonly number[]): number {
    const texts = new Set(this.texts.values());
    let length = 0;
    for (let end = 2; end < tokens.length; end += 2) {
      if (!texts.has(`${scope}: ${tokens.slice(0, end).join(' ')}`)) break;
      length = end;
    }
    return length;
  }
}

function feed(cache: KvCache, heard: Heard, scope: string, tokens: number[], keep: number): void {
  const sequence = cache.createSequence({ scope, tokens });
  expect(sequence.length).toBe(heard.found(scope, tokens));
  const rest = tokens.slice(sequence.length);
  const rows = new Float32Array(8 * rest.length);
  using step = cache.step([{ sequence, tokens: rest }]);
  step.attention(0, rows, rows, rows, { sync: true });
  step.commit();
  // What is written over afterwards is not findable by its former tokens.
  if (keep < tokens.length) {
    sequence.truncate(keep);
    using again = cache.step([{ sequence, tokens: [9] }]);
    const row = new Float32Array(8);
    again.attention(0, row, row, row, { sync: true });
    again.commit();
  }
  sequence.dispose();
}

test('what is findable is what was told, whatever is stored, given up and written over', () => {
  const prompt = fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 12 });
  const action = fc.tuple(fc.constantFrom('a', 'b'), prompt, fc.nat(14));
  fc.assert(
    fc.property(fc.array(action, { maxLength: 30 }), (actions) => {
      const heard = new Heard();
      using cache = new KvCache({ ...shape, device: 'cpu', prefixObserver: heard });
      for (const [scope, tokens, keep] of actions) feed(cache, heard, scope, tokens, keep);
      expect(heard.texts.size).toBe(cache.stats().stored);
    }),
    { numRuns: 60 },
  );
});

test.each([null, 1, {}, { stored() {} }])('%p is no observer', (prefixObserver) => {
  const options = { ...shape, prefixObserver: wrong(prefixObserver) };
  expectThrow(() => new KvCache(options), 'ERR_TYPE', 'options.prefixObserver');
});
