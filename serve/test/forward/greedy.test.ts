import type { OnnxForward } from '../../src/forward/onnx-forward.js';
import { modelsFolder, Random, type VariantName, variants } from '../models/index.js';
import { argmax, loadForward } from './forward-tests.js';
import { WholeGraph } from './whole-graph.js';

const modelFolder = modelsFolder();

/** Greedy answers to all prompts at once. */
async function answers(
  forward: OnnxForward,
  prompts: readonly Int32Array[],
  count: number,
): Promise<number[][]> {
  const options = { scope: 'test', longRope: false };
  const sequences = prompts.map((prompt) => forward.createSequence(prompt, options));
  const result: number[][] = prompts.map(() => []);
  let next = prompts.map((prompt, i) => prompt.slice(sequences[i].length));
  for (let n = 0; n < count; n++) {
    const entries = next.map((tokens, i) => ({
      sequence: sequences[i],
      tokens,
      logitsOf: [tokens.length - 1],
    }));
    const drawn = (await forward.run(entries)).map(argmax);
    drawn.forEach((token, i) => {
      result[i].push(token);
    });
    next = drawn.map((token) => Int32Array.of(token));
  }
  for (const sequence of sequences) sequence.dispose();
  return result;
}

test.each(['int4-level1', 'llama', 'gemma2', 'qwen3'] satisfies VariantName[])(
  '%s answers greedily as its whole graph does, alone and among eight',
  async (name) => {
    const folder = modelFolder(name);
    const [whole, forward] = [
      await WholeGraph.load(folder, variants[name]),
      await loadForward(folder),
    ];
    const random = new Random(3);
    const prompts = [2, 3, 9, 16, 17, 25, 31, 40].map((n) => random.integers(n, 384));
    const expected: number[][] = [];
    for (const prompt of prompts) {
      const tokens = [...prompt];
      for (let n = 0; n < 16; n++) {
        const rows = await whole.logits(Int32Array.from(tokens));
        tokens.push(argmax(rows[rows.length - 1]));
      }
      expected.push(tokens.slice(prompt.length));
    }
    expect(await answers(forward, prompts, 16)).toEqual(expected);
    expect(await answers(forward, [prompts[5]], 16)).toEqual([expected[5]]);
    await forward.close();
    await whole.release();
  },
);

test('int8 activations (accuracy level 4) stay near the whole graph', async () => {
  const folder = modelFolder('int4-level4');
  const whole = await WholeGraph.load(folder, variants['int4-level4']);
  const forward = await loadForward(folder);
  const tokens = new Random(3).integers(40, 384);
  const sequence = forward.createSequence(tokens, { scope: '', longRope: false });
  const rows = await forward.run([{ sequence, tokens, logitsOf: [...tokens.keys()] }]);
  const expected = await whole.logits(tokens);
  // Rounding to int8 turns differences of 1e-7 into steps of 1/127.
  let [squares, norm] = [0, 0];
  expected.forEach((row, n) => {
    row.forEach((value, i) => {
      squares += (value - rows[n][i]) ** 2;
      norm += value ** 2;
    });
  });
  expect(Math.sqrt(squares / norm)).toBeLessThan(0.02);
  await forward.close();
  await whole.release();
});
