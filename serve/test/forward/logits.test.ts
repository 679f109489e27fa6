import type { ForwardSequence } from '../../src/engine/contract.js';
import type { OnnxForward } from '../../src/forward/onnx-forward.js';
import { modelsFolder, Random, type VariantName, variants } from '../models/index.js';
import { loadForward, relativeError } from './forward-tests.js';
import { WholeGraph } from './whole-graph.js';

/** Variants that the oracle can't run, or not for all rows: it runs an equal one. */
const oracles: Partial<Record<VariantName, VariantName>> = {
  'qwen3-fused': 'qwen3',
  pruned: 'llama',
};
const { mid: _, 'int4-level4': __, ...exact } = variants;
const options = { scope: 'test', longRope: false };

const modelFolder = modelsFolder();

const all = (length: number) => Array.from({ length }, (_, row) => row);
const tolerance = 1e-4;

describe.each(Object.keys(exact) as VariantName[])('%s', (name) => {
  const variant = variants[name];
  const random = new Random(7);
  const prompt = (length: number) => random.integers(length, variant.vocab);
  let forward: OnnxForward;
  let oracle: WholeGraph;

  beforeAll(async () => {
    const oracleName = oracles[name] ?? name;
    oracle = await WholeGraph.load(modelFolder(oracleName), variants[oracleName]);
    forward = await loadForward(modelFolder(name));
  });
  afterAll(async () => {
    await forward.close();
    await oracle.release();
  });

  const feed = (sequence: ForwardSequence, tokens: Int32Array, logitsOf = all(tokens.length)) =>
    forward.run([{ sequence, tokens, logitsOf }]);
  const copies = async (rows: Promise<Float32Array[]>) => (await rows).map((row) => row.slice());

  test('a prompt gives the logits of the whole graph, in one pass and in chunks', async () => {
    const tokens = prompt(50);
    const expected = await oracle.logits(tokens);
    const whole = forward.createSequence(tokens, { scope: 'whole', longRope: false });
    expect(relativeError(await feed(whole, tokens), expected)).toBeLessThan(tolerance);
    const chunked = forward.createSequence(tokens, { scope: 'chunked', longRope: false });
    const got: Float32Array[] = [];
    for (const [first, end] of [
      [0, 7],
      [7, 23],
      [23, 40],
      [40, 41],
      [41, 50],
    ]) {
      got.push(...(await copies(feed(chunked, tokens.slice(first, end)))));
    }
    expect(relativeError(got, expected)).toBeLessThan(tolerance);
    expect(chunked.length).toBe(50);
    whole.dispose();
    chunked.dispose();
  });

  test('eight ragged sequences decode beside prompts as each would alone', async () => {
    const lengths = [1, 5, 16, 17, 30, 33, 47, 56];
    const texts = lengths.map((length) => prompt(length + 4));
    const sequences = texts.map((text) => forward.createSequence(text, options));
    const got: Float32Array[][] = texts.map(() => []);
    const done = texts.map(() => 0);
    // Four begin a step later than the others, so that prompts and decoding share steps.
    for (let step = 0; step < 6; step++) {
      const now = texts.flatMap((text, i) => {
        const fed = done[i];
        if ((i >= 4 && step === 0) || fed === text.length) return [];
        const tokens = text.slice(fed, fed === 0 ? lengths[i] : fed + 1);
        return [{ i, tokens }];
      });
      const rows = await copies(
        forward.run(
          now.map(({ i, tokens }) => ({
            sequence: sequences[i],
            tokens,
            logitsOf: [tokens.length - 1],
          })),
        ),
      );
      now.forEach(({ i, tokens }, n) => {
        got[i].push(rows[n]);
        done[i] += tokens.length;
      });
    }
    for (const [i, text] of texts.entries()) {
      const expected = (await oracle.logits(text)).slice(lengths[i] - 1);
      expect(relativeError(got[i], expected)).toBeLessThan(tolerance);
    }
    for (const sequence of sequences) sequence.dispose();
    expect(forward.counts().used).toBe(0);
  });

  test('forks go their own ways', async () => {
    const [start, left, right] = [prompt(21), prompt(6), prompt(9)];
    const one = forward.createSequence(start, options);
    await feed(one, start, []);
    const other = one.fork();
    const entries = [
      { sequence: one, tokens: left, logitsOf: all(6) },
      { sequence: other, tokens: right, logitsOf: all(9) },
    ];
    const got = await copies(forward.run(entries));
    const after = async (tokens: Int32Array) =>
      (await oracle.logits(Int32Array.of(...start, ...tokens))).slice(21);
    const expected = [...(await after(left)), ...(await after(right))];
    expect(relativeError(got, expected)).toBeLessThan(tolerance);
    one.truncate(25);
    const again = await copies(feed(one, right));
    const joined = Int32Array.of(...start, ...left.slice(0, 4), ...right);
    expect(relativeError(again, (await oracle.logits(joined)).slice(25))).toBeLessThan(tolerance);
    one.dispose();
    other.dispose();
  });

  test('what follows a stored prefix is as if all had been computed', async () => {
    const tokens = prompt(50);
    const scope = { scope: 'stored', longRope: false };
    const first = forward.createSequence(tokens, scope);
    await feed(first, tokens, []);
    first.dispose();
    const second = forward.createSequence(tokens, scope);
    expect(second.length).toBe(48);
    const got = await feed(second, tokens.slice(48));
    expect(relativeError(got, (await oracle.logits(tokens)).slice(48))).toBeLessThan(tolerance);
    second.dispose();
    const stranger = forward.createSequence(tokens, options);
    expect(stranger.length).toBe(0);
    stranger.dispose();
  });
});
