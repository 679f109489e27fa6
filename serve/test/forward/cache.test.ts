import { jest } from '@jest/globals';
import type { OnnxForward } from '../../src/forward/onnx-forward.js';
import { PartSession, type Tensors } from '../../src/forward/part-session.js';
import { modelsFolder, Random, variants } from '../models/index.js';
import { loadForward, relativeError } from './forward-tests.js';
import { WholeGraph } from './whole-graph.js';

const modelFolder = modelsFolder();
const random = new Random(11);
const prompt = (length: number) => random.integers(length, variants.llama.vocab);
const options = { scope: 'test', longRope: false };
const open: OnnxForward[] = [];

async function llama(given: Parameters<typeof loadForward>[1] = {}): Promise<OnnxForward> {
  const forward = await loadForward(modelFolder('llama'), given);
  open.push(forward);
  return forward;
}
afterEach(async () => {
  for (const forward of open.splice(0)) await forward.close();
});

test('a pass that finds too few pages changes no sequence', async () => {
  const forward = await llama({ maxTokensInCache: 64 });
  const [a, b] = [prompt(30), prompt(40)];
  const [one, other] = [a, b].map((tokens) => forward.createSequence(tokens, options));
  await forward.run([{ sequence: one, tokens: a, logitsOf: [] }]);
  const entries = [
    { sequence: one, tokens: prompt(4), logitsOf: [3] },
    { sequence: other, tokens: b, logitsOf: [39] },
  ];
  const refused = forward.run(entries);
  await expect(refused).rejects.toMatchObject({ code: 'ERR_CACHE_FULL', missingPages: 2 });
  expect([one.length, other.length]).toEqual([30, 0]);
  expect(forward.counts()).toMatchObject({ pages: 4, free: 2, used: 2, pageSize: 16 });
  one.dispose();
  other.dispose();
});

test.each([-1, variants.llama.vocab])('token %i is refused and changes no sequence', async (id) => {
  const forward = await llama();
  const tokens = prompt(20);
  const sequence = forward.createSequence(tokens, options);
  const pass = forward.run([{ sequence, tokens: Int32Array.of(5, id), logitsOf: [0] }]);
  await expect(pass).rejects.toThrow(`token ${id}, of a vocabulary of 384 tokens`);
  expect(sequence.length).toBe(0);
  await forward.run([{ sequence, tokens, logitsOf: [19] }]);
  expect(sequence.length).toBe(20);
  sequence.dispose();
});

test('a row that no token has is refused', async () => {
  const forward = await llama();
  const sequence = forward.createSequence(prompt(5), options);
  const pass = forward.run([{ sequence, tokens: prompt(5), logitsOf: [5] }]);
  await expect(pass).rejects.toThrow('logits of row 5, of 5 tokens');
  sequence.dispose();
});

test.each([1, 2, 3, 4])('a pass that fails in part %i changes no sequence', async (part) => {
  const forward = await llama();
  const tokens = prompt(20);
  const sequence = forward.createSequence(tokens, options);
  const { run } = PartSession.prototype;
  let runs = 0;
  const spy = jest.spyOn(PartSession.prototype, 'run').mockImplementation(function (
    this: PartSession,
    feeds: Tensors,
  ) {
    if (++runs === part) throw new Error('out of memory');
    return run.call(this, feeds);
  });
  const pass = forward.run([{ sequence, tokens, logitsOf: [19] }]);
  await expect(pass).rejects.toThrow('out of memory');
  spy.mockRestore();
  expect([runs, sequence.length, forward.counts().used]).toEqual([part, 0, 0]);
  await forward.run([{ sequence, tokens, logitsOf: [19] }]);
  expect(sequence.length).toBe(20);
  sequence.dispose();
});

test('a second pass beside one that runs is refused', async () => {
  const forward = await llama();
  const tokens = prompt(8);
  const [one, other] = [0, 1].map(() => forward.createSequence(tokens, options));
  const first = forward.run([{ sequence: one, tokens, logitsOf: [] }]);
  const second = forward.run([{ sequence: other, tokens, logitsOf: [] }]);
  await expect(second).rejects.toThrow('a pass is running already');
  await first;
  expect([one.length, other.length]).toEqual([8, 0]);
  one.dispose();
  other.dispose();
});

test('rows of logits come in the order of the entries, and none where none is wanted', async () => {
  const forward = await llama();
  const whole = await WholeGraph.load(modelFolder('llama'), variants.llama);
  const [a, b, c] = [prompt(12), prompt(20), prompt(9)];
  const [x, y, z] = [a, b, c].map((tokens) => forward.createSequence(tokens, options));
  const got = await forward.run([
    { sequence: x, tokens: a, logitsOf: [11, 2] },
    { sequence: y, tokens: b, logitsOf: [] },
    { sequence: z, tokens: c, logitsOf: [8] },
  ]);
  const [first, last] = [await whole.logits(a), await whole.logits(c)];
  expect(relativeError(got, [first[11], first[2], last[8]])).toBeLessThan(1e-4);
  for (const sequence of [x, y, z]) sequence.dispose();
  await whole.release();
});

test('without the prefix cache nothing is stored', async () => {
  const forward = await llama({ prefixCache: false });
  const tokens = prompt(50);
  const sequence = forward.createSequence(tokens, options);
  await forward.run([{ sequence, tokens, logitsOf: [] }]);
  sequence.dispose();
  expect(forward.counts()).toMatchObject({ used: 0, stored: 0 });
  expect(forward.createSequence(tokens, options).length).toBe(0);
});

test.each([
  ['float16', 2e-3],
  ['bfloat16', 2e-2],
] as const)('%s pages keep the logits near', async (kvDtype, bound) => {
  const forward = await llama({ kvDtype });
  const whole = await WholeGraph.load(modelFolder('llama'), variants.llama);
  const tokens = prompt(60);
  const sequence = forward.createSequence(tokens, options);
  await forward.run([{ sequence, tokens: tokens.slice(0, 50), logitsOf: [] }]);
  const rest = tokens.slice(50);
  const got = await forward.run([{ sequence, tokens: rest, logitsOf: [...rest.keys()] }]);
  const error = relativeError(got, (await whole.logits(tokens)).slice(50));
  expect(error).toBeGreaterThan(0);
  expect(error).toBeLessThan(bound);
  sequence.dispose();
  await whole.release();
});

test('an embedding is the mean of hidden states, whatever it is computed in', async () => {
  const forward = await llama();
  expect(forward.info.embeddings).toBe(true);
  const tokens = prompt(33);
  const inPieces = async (text: Int32Array, length: number) => {
    const embedding = forward.createEmbedding(text.length);
    for (let first = 0; first < text.length; first += length) {
      await embedding.advance(text.subarray(first, first + length));
    }
    const mean = embedding.mean();
    embedding.dispose();
    return mean;
  };
  const embedding = await inPieces(tokens, 33);
  expect(embedding.length).toBe(variants.llama.hidden);
  expect(relativeError([await inPieces(tokens, 7)], [embedding])).toBeLessThan(1e-5);
  expect(relativeError([await inPieces(prompt(33), 33)], [embedding])).toBeGreaterThan(0.1);
  expect(forward.counts()).toMatchObject({ used: 0, stored: 0 });
});

test('weights give the same logits wherever their files put them', async () => {
  const tokens = prompt(20);
  const layouts = [
    modelFolder('llama'),
    modelFolder('llama', { dataFiles: 0 }, 'inside'),
    modelFolder('llama', { dataFiles: 3 }, 'in-three'),
    modelFolder('llama', { layout: 'transformers.js', dataFiles: 2 }, 'hub'),
  ];
  const logits: Float32Array[] = [];
  for (const folder of layouts) {
    const forward = await loadForward(folder);
    const sequence = forward.createSequence(tokens, options);
    const [row] = await forward.run([{ sequence, tokens, logitsOf: [19] }]);
    logits.push(row.slice());
    await forward.close();
  }
  for (const row of logits) expect(row).toEqual(logits[0]);
});
