// A prompt, then token by token: keys and values stay in a cache, which is written to in place.
// Without one, every token would mean the whole text again.
//
//   node examples/decode-loop.mjs [dtype of the cache]
import { flashAttention } from 'flash-attention';
import { applyRotary, KvCache } from 'flash-attention/serving';
import * as model from './model/transformer.mjs';

const prompt = model.encode('Attention is a weighted mean. ');
const count = 64;

const { layers, kvHeads, headDim, rotary } = model;
const [dtype = 'float32'] = process.argv.slice(2);
const cache = new KvCache({ layers, numPages: 16, pageSize: 16, kvHeads, headDim, dtype });
const sequence = cache.createSequence();

const text = [...prompt];
let tokens = prompt; // what is new: first all of the prompt, then one token at a time
while (text.length < prompt.length + count) {
  const step = cache.step([{ sequence, tokens }]);
  const logits = await model.forward(tokens, (layer, q, k, v) =>
    step.attention(layer, q, k, v, { rotary }).take(),
  );
  step.commit();
  tokens = model.likeliest(logits).slice(-1);
  text.push(...tokens);
}

// The whole text for every token, for comparison.
const again = [...prompt];
while (again.length < text.length) {
  const logits = await model.forward(again, (_, q, k, v) => {
    const one = (t) => t.reshape([1, ...t.shape]);
    const [turnedQ, turnedK] = [q, k].map((t) => applyRotary(one(t), rotary));
    return flashAttention(turnedQ, turnedK, one(v), { causal: true }).take();
  });
  again.push(model.likeliest(logits).at(-1));
}

console.log(model.decode(text));
const { used, pages, bytes } = cache.stats();
console.log(`${sequence.length} tokens in ${used} of ${pages} pages, ${bytes / 1024} KiB in all`);
const same = model.decode(text) === model.decode(again);
console.log(same ? 'the same as without a cache' : `not ${model.decode(again)}`);
