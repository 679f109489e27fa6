// Decode steps as CUDA graphs: `npm run test:serve -- --device simt:sm80`.
import { jest } from '@jest/globals';
import { type DecodeGraphOptions, KvCache } from 'flash-attention/serving';
import type { OnnxForward } from '../../src/forward/onnx-forward.js';
import { modelsFolder, Random, type VariantName, variants } from '../models/index.js';
import { loadForward } from './forward-tests.js';

const device = process.env.FLASH_ATTENTION_DEVICE ?? 'cpu';
const onDevice = device === 'cpu' ? test.skip : test;
const why = device === 'cpu' ? ' (left out: the CPU launches nothing)' : '';

const modelFolder = modelsFolder();
const captured = jest.spyOn(KvCache.prototype, 'captureDecode');
afterEach(() => captured.mockClear());
afterAll(() => captured.mockRestore());

interface Text {
  readonly prompt: Int32Array;
  readonly longRope: boolean;
}

/** Logits of all rows of some steps: prompts, then one token each of the first texts, as told. */
async function logits(
  forward: OnnxForward,
  texts: readonly Text[],
  steps: readonly number[],
): Promise<Float32Array[]> {
  const sequences = texts.map(({ prompt, longRope }) =>
    forward.createSequence(prompt, { scope: 'test', longRope }),
  );
  const random = new Random(9);
  const rows: Float32Array[] = [];
  const feed = async (tokens: readonly Int32Array[]) => {
    const entries = tokens.map((each, i) => ({
      sequence: sequences[i],
      tokens: each,
      logitsOf: [each.length - 1],
    }));
    for (const row of await forward.run(entries)) rows.push(row.slice());
  };
  await feed(texts.map(({ prompt }) => prompt));
  for (const count of steps) {
    await feed(Array.from({ length: count }, () => random.integers(1, 256)));
  }
  for (const sequence of sequences) sequence.dispose();
  return rows;
}

/** What comes of a model with graphs and without; which batches were captured. */
async function both(name: VariantName, texts: readonly Text[], steps: readonly number[]) {
  const folder = modelFolder(name);
  const with_ = await loadForward(folder);
  const graphs = await logits(with_, texts, steps);
  await with_.close();
  const batches = captured.mock.calls.map(([{ batch }]: [DecodeGraphOptions]) => batch);
  captured.mockClear();
  const without = await loadForward(folder, { decodeGraphs: false });
  const calls = await logits(without, texts, steps);
  await without.close();
  expect(captured).not.toHaveBeenCalled();
  return { graphs, calls, batches };
}

function texts(vocab: number, lengths: readonly number[], longRope = false): Text[] {
  const random = new Random(4);
  return lengths.map((length) => ({ prompt: random.integers(length, vocab), longRope }));
}

onDevice.each<[VariantName, number]>([
  ['llama', 1],
  ['gemma2', 2], // every other layer has a window
  ['qwen3', 1],
])(`%s: the bits of steps that are launched kernel by kernel${why}`, async (name, kinds) => {
  const given = texts(variants[name].vocab, [30, 5, 17, 40, 2]);
  const { graphs, calls, batches } = await both(name, given, [1, 5, 3, 1, 5]);
  expect(graphs).toEqual(calls);
  const each = (batch: number) => Array.from({ length: kinds }, () => batch);
  expect(batches).toEqual([1, 8, 4].flatMap(each));
});

onDevice(`a text of the long rotary table is beside no graph${why}`, async () => {
  const { vocab } = variants.phi3;
  const [long] = texts(vocab, [90], true);
  const given = [...texts(vocab, [30, 20]), long];
  const { graphs, calls, batches } = await both('phi3', given, [3, 2, 3]);
  expect(graphs).toEqual(calls);
  expect(batches).toEqual([1, 2]);
});

onDevice(`where a kernel is in no graph all is launched by itself${why}`, async () => {
  const folder = modelFolder('llama');
  const refused = Object.assign(new Error('heads'), { code: 'ERR_SHAPE' });
  captured.mockImplementationOnce(() => {
    throw refused;
  });
  const forward = await loadForward(folder);
  const rows = await logits(forward, texts(384, [9]), [1, 1]);
  expect(captured).toHaveBeenCalledTimes(1);
  expect(rows).toHaveLength(3);
  await forward.close();
});
