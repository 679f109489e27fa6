// A session that survives its process: the keys and values of a chat as a file, and a cache that
// goes on from there without computing any of it again.
//
//   node examples/save-session.mjs
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { KvCache } from 'flash-attention/serving';
import { generate } from './model/serve.mjs';
import * as model from './model/transformer.mjs';

const prompt = model.encode('Remember this, however long it takes: ');
const { layers, kvHeads, headDim } = model;

const cache = new KvCache({ layers, numPages: 16, pageSize: 16, kvHeads, headDim });
const sequence = cache.createSequence();
const before = await generate(cache, sequence, prompt, 20);

const folder = await mkdtemp(path.join(tmpdir(), 'session-'));
const file = path.join(folder, 'chat.safetensors');
try {
  await writeFile(file, await sequence.save());

  // Another process, another day. The pages may be of another size, or on another device.
  const later = new KvCache({ layers, numPages: 32, pageSize: 8, kvHeads, headDim });
  const bytes = await readFile(file);
  const loaded = later.load(bytes);
  console.log(`${loaded.length} tokens in ${bytes.length} bytes, none of them computed again`);

  const text = [...prompt, ...before];
  const after = await generate(later, loaded, text, 20);
  const expected = await generate(cache, sequence, text, 20);
  console.log(model.decode([...text, ...after]));
  const same = model.decode(after) === model.decode(expected);
  console.log(same ? 'the same as if it had gone on' : `not ${model.decode(expected)}`);
} finally {
  await rm(folder, { recursive: true });
}
