import { cpSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { loadDecoder } from '../../src/model/decoder-model.js';
import { inspect } from '../../src/model/inspect.js';
import { loadModelText } from '../../src/model/model-text.js';
import { decodeModel, encodeModel } from '../../src/onnx/format.js';
import { modelsFolder, variants } from '../models/index.js';

const modelFolder = modelsFolder();
const hub = { layout: 'transformers.js', dataFiles: 2 } as const;

/** A folder of its own to be broken. */
let copies = 0;
function copyOf(folder: string): string {
  const copy = `${folder}-${copies++}`;
  cpSync(folder, copy, { recursive: true });
  return copy;
}
const genai = () => copyOf(modelFolder('llama'));

function change(folder: string, file: string, edit: (json: Record<string, unknown>) => void): void {
  const name = path.join(folder, file);
  const json = JSON.parse(readFileSync(name, 'utf8'));
  edit(json);
  writeFileSync(name, JSON.stringify(json));
}

test('both layouts say the same of the same model', () => {
  const one = loadDecoder(modelFolder('llama'), { name: 'a' });
  const other = loadDecoder(modelFolder('llama', hub, 'hub'), { name: 'a' });
  expect(other.info).toEqual(one.info);
  expect(one.info).toEqual({
    name: 'a',
    vocabSize: 384,
    contextLength: 512,
    layers: 3,
    heads: 4,
    kvHeads: 2,
    headDim: 16,
    eosTokenIds: [2, 0],
    embeddings: true,
  });
  expect([one.settings.layout, other.settings.layout]).toEqual(['genai', 'transformers.js']);
  expect([one.settings.graphFile, other.settings.graphFile]).toEqual([
    'model.onnx',
    path.join('onnx', 'model_q4.onnx'),
  ]);
  const defaults = { temperature: 0.7, topK: 50, topP: 0.95, repetitionPenalty: 1.1 };
  expect([one.settings.defaults, other.settings.defaults]).toEqual([defaults, defaults]);
});

test('a model is called as its folder is', () => {
  expect(loadDecoder(modelFolder('llama', {}, 'My-Model')).info.name).toBe('My-Model');
});

test('another graph of the folder is taken when it is named', () => {
  const folder = copyOf(modelFolder('llama', hub, 'hub'));
  const onnx = path.join(folder, 'onnx');
  cpSync(path.join(onnx, 'model_q4.onnx'), path.join(onnx, 'model_other.onnx'));
  const { settings } = loadDecoder(folder, { graph: 'onnx/model_other.onnx' });
  expect(settings.graphFile).toBe('onnx/model_other.onnx');
  expect(() => loadDecoder(folder, { graph: 'onnx/none.onnx' })).toThrow(
    'onnx/none.onnx is missing',
  );
});

test('ends of an answer come from all files, the tokenizer among them', () => {
  const folder = copyOf(modelFolder('llama', hub, 'hub'));
  change(folder, 'config.json', (json) => {
    json.eos_token_id = 3;
  });
  change(folder, 'generation_config.json', (json) => {
    json.eos_token_id = [0];
  });
  expect(loadDecoder(folder).info.eosTokenIds).toEqual([0, 3, 2]);
});

test('the context is no longer than the rotary table', () => {
  const folder = genai();
  change(folder, 'genai_config.json', (json) => {
    (json.model as Record<string, unknown>).context_length = 100_000;
  });
  expect(loadDecoder(folder).info.contextLength).toBe(variants.llama.context);
});

const broken: [string, (folder: string) => void, string][] = [
  [
    'without settings',
    (folder) => rmSync(path.join(folder, 'genai_config.json')),
    'there is neither genai_config.json nor config.json in the folder',
  ],
  [
    'whose settings are no JSON',
    (folder) => writeFileSync(path.join(folder, 'genai_config.json'), '{ "model"'),
    'genai_config.json is no JSON: ',
  ],
  [
    'whose settings are no object',
    (folder) => writeFileSync(path.join(folder, 'genai_config.json'), '[]'),
    'genai_config.json is no JSON object',
  ],
  [
    'that says nothing of its context',
    (folder) => writeFileSync(path.join(folder, 'genai_config.json'), '{}'),
    "genai_config.json does not say how many tokens the model's context has",
  ],
  [
    'without its graph',
    (folder) => rmSync(path.join(folder, 'model.onnx')),
    'model.onnx is missing',
  ],
  [
    'whose graph is cut short',
    (folder) => truncateSync(path.join(folder, 'model.onnx'), 1000),
    'model.onnx is no ONNX model: ',
  ],
  [
    'whose graph is something else',
    (folder) => writeFileSync(path.join(folder, 'model.onnx'), 'version https://git-lfs'),
    'model.onnx is no ONNX model: ',
  ],
  [
    'without its data',
    (folder) => rmSync(path.join(folder, 'model.onnx.data')),
    'model.onnx: the data file model.onnx.data is missing',
  ],
  [
    'whose data are cut short',
    (folder) => {
      const data = path.join(folder, 'model.onnx.data');
      truncateSync(data, statSync(data).size - 1);
    },
    'model.onnx: the data file model.onnx.data has ',
  ],
  [
    'whose data lie elsewhere',
    (folder) => {
      const file = path.join(folder, 'model.onnx');
      const model = decodeModel(readFileSync(file));
      for (const tensor of model.graph.initializer) {
        for (const entry of tensor.externalData ?? []) {
          if (entry.key === 'location') entry.value = '../secrets';
        }
      }
      writeFileSync(file, encodeModel(model));
    },
    "names data outside of the model's folder",
  ],
  [
    'without its tokenizer',
    (folder) => rmSync(path.join(folder, 'tokenizer.json')),
    'tokenizer.json is missing',
  ],
  [
    'with the tokenizer of a larger model',
    (folder) =>
      change(folder, 'tokenizer.json', (json) => {
        (json.added_tokens as unknown[]).push({ id: 400, content: '<|more|>', special: true });
      }),
    'tokenizer.json has a token of id 400, but the model has logits for 384 tokens',
  ],
  [
    'with a tokenizer that lacks what ends an answer',
    (folder) =>
      change(folder, 'genai_config.json', (json) => {
        (json.model as Record<string, unknown>).eos_token_id = [2, 500];
      }),
    'tokenizer.json has no token of id 500, which ends an answer',
  ],
  [
    'with a tokenizer of an unknown kind',
    (folder) =>
      change(folder, 'tokenizer.json', (json) => {
        json.pre_tokenizer = { type: 'Abacus' };
      }),
    "tokenizer.json can't be used: ",
  ],
  [
    'with a chat template that is cut short',
    (folder) => writeFileSync(path.join(folder, 'chat_template.jinja'), '{% for message in'),
    "the chat template can't be read: ",
  ],
];

test.each(broken)('a folder %s is refused by what is wrong with it', async (_, harm, message) => {
  const folder = genai();
  harm(folder);
  const found = await inspect(folder);
  expect(found).toMatchObject({ served: false, reason: expect.stringContaining(message) });
  // A path tells the server's user names and disks.
  expect(JSON.stringify(found)).not.toContain(path.dirname(folder));
});

test('a folder that does not exist is refused', async () => {
  const found = await inspect(path.join(modelFolder('llama'), 'none'));
  expect(found).toEqual({ served: false, reason: 'the folder of the model does not exist' });
});

test('inspect tells layers, parts and memory of a model that can be served', async () => {
  const found = await inspect(modelFolder('gemma2'));
  if (!found.served) throw new Error(found.reason);
  const { layers, parts, memory, info, chatTemplate } = found;
  expect(layers[0]).toEqual({
    node: '/model/layers.0/attn/GroupQueryAttention',
    heads: 4,
    kvHeads: 2,
    headDim: 16,
    scale: expect.closeTo(0.2),
    softcap: 5,
    window: 24,
    sinks: false,
    rotaryDim: 16,
  });
  expect([layers.length, parts.length, chatTemplate]).toEqual([4, 5, true]);
  // The tied embedding is in two parts.
  const embedding = 384 * 64 * 4;
  const sum = parts.reduce((bytes, { weightBytes }) => bytes + weightBytes, 0);
  expect(sum - memory.weightBytes).toBeGreaterThanOrEqual(embedding);
  expect(memory.bytesPerToken).toEqual({ float32: 1024, float16: 512, bfloat16: 512, int8: 320 });
  expect(info.layers).toBe(4);
});

test('inspect names the node that keeps a model from being served', async () => {
  const folder = genai();
  const file = path.join(folder, 'model.onnx');
  const model = decodeModel(readFileSync(file));
  const node = model.graph.node.find(({ name }) => name === '/model/layers.1/mlp/act_fn/Sigmoid');
  if (node) node.opType = 'LinearAttention';
  writeFileSync(file, encodeModel(model));
  expect(await inspect(folder)).toEqual({
    served: false,
    reason:
      'node /model/layers.1/mlp/act_fn/Sigmoid (LinearAttention) keeps a state of the tokens before',
  });
});

test('a tokenizer without a template gives text alone', async () => {
  const folder = genai();
  rmSync(path.join(folder, 'chat_template.jinja'));
  const text = await loadModelText(folder);
  expect(text.chatTemplate).toBeUndefined();
  expect(() => text.encodeChat({ messages: [] })).toThrow('The model has no chat template.');
});
