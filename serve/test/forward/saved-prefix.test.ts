import { prefixScope } from '../../src/engine/prefix-hash.js';
import { modelsFolder, Random, variants } from '../models/index.js';
import { loadForward } from './forward-tests.js';

const modelFolder = modelsFolder();
const random = new Random(5);
const options = { scope: 'test', longRope: false };
const scope = prefixScope(options.scope, options.longRope);

test.each(['float32', 'bfloat16', 'int8'] as const)(
  'a prefix in %s that was saved and loaded gives the bits of the one that was computed',
  async (kvDtype) => {
    const given = { kvDtype, prefixChanges: true };
    const [from, to] = await Promise.all([
      loadForward(modelFolder('llama'), given),
      loadForward(modelFolder('llama'), { ...given, maxTokensInCache: 96 }),
    ]);
    const tokens = random.integers(70, variants.llama.vocab);
    const sequence = from.createSequence(tokens, options);
    await from.run([{ sequence, tokens: tokens.subarray(0, 64), logitsOf: [] }]);
    const rest = [{ sequence, tokens: tokens.subarray(64), logitsOf: [5] }];
    const [expected] = await from.run(rest);
    sequence.dispose();
    const [text] = from.storedTexts();
    expect(text).toEqual({ scope, tokens: tokens.slice(0, 64) });
    const saved = await from.savePrefix({ scope, tokens });
    expect(saved?.tokens).toBe(64);
    expect(await from.savePrefix({ scope: 'other', tokens })).toBeUndefined();
    const bytes = saved?.bytes as Uint8Array;
    // Its pages, in other words: what a token takes, and a header.
    const { layers, kvHeads, headDim } = from.info;
    const element = { float32: 4, bfloat16: 2, int8: 1 + 4 / headDim }[kvDtype];
    expect(bytes.length).toBeGreaterThanOrEqual(64 * 2 * layers * kvHeads * headDim * element);
    expect(bytes.length).toBeLessThan(64 * 2 * layers * kvHeads * headDim * element + 4096);
    expect(to.loadPrefix(bytes, scope)).toBe(64);
    const found = to.createSequence(tokens, options);
    expect(found.length).toBe(64);
    const next = [{ sequence: found, tokens: tokens.subarray(64), logitsOf: [5] }];
    expect(await to.run(next)).toEqual([expected]);
    // Of 6 pages, 5 are held: there is no room for 4 more, and that is no error.
    expect(to.loadPrefix(bytes, 'short:another')).toBe(0);
    found.dispose();
    expect(() => to.loadPrefix(bytes.subarray(0, 1000), scope)).toThrow();
    await Promise.all([from.close(), to.close()]);
  },
);
