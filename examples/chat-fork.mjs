// Many chats behind one system prompt: its keys and values are computed once and kept once. Each
// chat is a fork; all of them decode in one step.
//
//   node examples/chat-fork.mjs
import { KvCache } from 'flash-attention/serving';
import { feed, generate } from './model/serve.mjs';
import * as model from './model/transformer.mjs';

const system = model.encode(
  'You are a model of two layers. Answer at random, at any length you like. ',
);
const questions = ['Who are you?', 'What is a page?', 'Why?', 'Is attention all you need?'];
const count = 24;

const { layers, kvHeads, headDim } = model;
const newCache = () => new KvCache({ layers, numPages: 64, pageSize: 16, kvHeads, headDim });

const cache = newCache();
const root = cache.createSequence();
await feed(cache, [{ sequence: root, tokens: system }]);

const chats = questions.map((question) => ({
  sequence: root.fork(),
  tokens: model.encode(question),
  said: [],
}));
for (let n = 0; n < count; n++) {
  const next = await feed(cache, chats);
  chats.forEach((chat, i) => {
    chat.tokens = next[i].slice(-1);
    chat.said.push(...chat.tokens);
  });
}
const { used, shared } = cache.stats();
const apart = chats.reduce((sum, { sequence }) => sum + sequence.pages, root.pages);
console.log(`${chats.length} chats in ${used} pages, ${shared} of them shared; apart: ${apart}`);

// Who comes later with the same beginning finds it, too: a prompt is enough.
const later = cache.createSequence({ tokens: [...system, ...model.encode('Hello?')] });
console.log(`a new chat has ${later.length} of ${system.length} tokens of the system prompt`);

// Each by itself, for comparison.
let same = true;
for (const [i, question] of questions.entries()) {
  const alone = newCache();
  const prompt = [...system, ...model.encode(question)];
  const said = await generate(alone, alone.createSequence(), prompt, count);
  console.log(`${question} ${model.decode(chats[i].said)}`);
  same &&= model.decode(said) === model.decode(chats[i].said);
}
console.log(same ? 'the same as each alone' : 'not what each says alone');
