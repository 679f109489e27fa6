import type { ForwardSequence } from '../../src/engine/contract.js';
import { modelsFolder, Random, type VariantName, variants } from '../models/index.js';
import { loadForward, relativeError } from './forward-tests.js';
import { WholeGraph } from './whole-graph.js';

const modelFolder = modelsFolder();

/** A sequence, and what it should hold. */
interface Text {
  sequence: ForwardSequence;
  tokens: number[];
  /** What of its prompt is not fed yet. */
  rest: number[];
}

test.each([
  ['llama', 1],
  ['gemma2', 2],
  ['qwen3-fused', 3],
] as [VariantName, number][])(
  '%s: whatever is done to sequences in a small cache, logits are those of the whole graph',
  async (name, seed) => {
    const forward = await loadForward(modelFolder(name), { maxTokensInCache: 256 });
    const oracleName = name === 'qwen3-fused' ? 'qwen3' : name;
    const whole = await WholeGraph.load(modelFolder(oracleName), variants[oracleName]);
    const random = new Random(seed);
    const below = (n: number) => Math.floor(random.next() * n);
    // Prompts share beginnings, so that prefixes are found.
    const system = [...random.integers(40, 384)];
    const texts: Text[] = [];
    let [full, found, checked] = [0, 0, 0];

    const begin = () => {
      const rest = [...system.slice(0, 20 + below(21)), ...random.integers(1 + below(30), 384)];
      const sequence = forward.createSequence(Int32Array.from(rest), {
        scope: 's',
        longRope: false,
      });
      if (sequence.length > 0) found++;
      texts.push({
        sequence,
        tokens: rest.slice(0, sequence.length),
        rest: rest.slice(sequence.length),
      });
    };
    const feed = async () => {
      const now = texts.filter(() => random.next() < 0.7);
      if (now.length === 0) return;
      const entries = now.map(({ sequence, rest }) => {
        const ids = rest.length > 0 ? rest.slice(0, 1 + below(24)) : [...random.integers(1, 384)];
        return { sequence, tokens: Int32Array.from(ids), logitsOf: [ids.length - 1] };
      });
      const lengths = now.map(({ sequence }) => sequence.length);
      let rows: Float32Array[];
      try {
        rows = await forward.run(entries);
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_CACHE_FULL' });
        expect(now.map(({ sequence }) => sequence.length)).toEqual(lengths);
        full++;
        texts.splice(below(texts.length), 1)[0].sequence.dispose();
        return;
      }
      now.forEach((text, i) => {
        const { tokens } = entries[i];
        text.tokens.push(...tokens);
        text.rest = text.rest.slice(tokens.length);
        expect(text.sequence.length).toBe(text.tokens.length);
      });
      const one = below(now.length);
      const expected = await whole.logits(Int32Array.from(now[one].tokens));
      expect(relativeError([rows[one]], expected.slice(-1))).toBeLessThan(1e-4);
      checked++;
    };
    const change = () => {
      const text = texts[below(texts.length)];
      const { sequence, tokens, rest } = text;
      const what = below(3);
      if (what === 0) {
        texts.push({ sequence: sequence.fork(), tokens: [...tokens], rest: [...rest] });
      } else if (what === 1) {
        const length = below(tokens.length + 1);
        sequence.truncate(length);
        text.rest = [...tokens.slice(length), ...rest];
        text.tokens = tokens.slice(0, length);
      } else {
        sequence.dispose();
        texts.splice(texts.indexOf(text), 1);
      }
    };

    for (let n = 0; n < 120; n++) {
      if (texts.length === 0 || (texts.length < 8 && random.next() < 0.2)) begin();
      else if (random.next() < 0.25) change();
      else await feed();
      const { free, used, stored, pages } = forward.counts();
      expect(free + used + stored).toBe(pages);
    }
    // The seeds are such that each of these happened.
    expect(Math.min(full, found, checked - 30)).toBeGreaterThan(0);
    for (const { sequence } of texts) sequence.dispose();
    expect(forward.counts().used).toBe(0);
    await forward.close();
    await whole.release();
  },
);
