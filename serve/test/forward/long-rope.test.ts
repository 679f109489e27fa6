import type { OnnxForward } from '../../src/forward/onnx-forward.js';
import { modelsFolder, Random, variants } from '../models/index.js';
import { loadForward, relativeError } from './forward-tests.js';
import { WholeGraph } from './whole-graph.js';

const modelFolder = modelsFolder();
const random = new Random(5);
const variant = variants.phi3;
let forward: OnnxForward;
let whole: WholeGraph;

beforeAll(async () => {
  const folder = modelFolder('phi3');
  forward = await loadForward(folder);
  whole = await WholeGraph.load(folder, variant);
});
afterAll(async () => {
  await forward.close();
  await whole.release();
});

test('long sequences take the other table, beside short ones in one step', async () => {
  expect(forward.info.longRopeFrom).toBe(64);
  const [short, long] = [random.integers(40, variant.vocab), random.integers(90, variant.vocab)];
  const one = forward.createSequence(short, { scope: 's', longRope: false });
  const other = forward.createSequence(long, { scope: 's', longRope: true });
  const got = await forward.run([
    { sequence: one, tokens: short, logitsOf: [...short.keys()] },
    { sequence: other, tokens: long, logitsOf: [...long.keys()] },
  ]);
  const expected = [...(await whole.logits(short)), ...(await whole.logits(long))];
  expect(relativeError(got, expected)).toBeLessThan(1e-4);
  one.dispose();
  other.dispose();
});

test('a prefix that was stored under one table is not found under the other', async () => {
  const tokens = random.integers(60, variant.vocab);
  const first = forward.createSequence(tokens, { scope: 's', longRope: false });
  await forward.run([{ sequence: first, tokens, logitsOf: [] }]);
  first.dispose();
  const same = forward.createSequence(tokens, { scope: 's', longRope: false });
  const other = forward.createSequence(tokens, { scope: 's', longRope: true });
  expect([same.length, other.length]).toEqual([48, 0]);
  expect(same.fork()).toMatchObject({ longRope: false });
  same.dispose();
  other.dispose();
});

test('a sequence that outgrows the short table is refused and stays as it was', async () => {
  const tokens = random.integers(65, variant.vocab);
  const sequence = forward.createSequence(tokens, { scope: 'out', longRope: false });
  const pass = forward.run([{ sequence, tokens, logitsOf: [] }]);
  await expect(pass).rejects.toThrow('65 tokens of a sequence, of 64 in its rotary table');
  expect(sequence.length).toBe(0);
  sequence.dispose();
});
