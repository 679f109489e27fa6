// Speculative decoding: several tokens are guessed, one pass of the model judges them all, and the
// cache keeps those that were right. Here the guess is what came after the last two tokens before.
//
//   node examples/speculative.mjs
import { KvCache } from 'flash-attention/serving';
import { feed, generate } from './model/serve.mjs';
import * as model from './model/transformer.mjs';

const prompt = model.encode('To be, or not to be, that is the question: to be, or ');
const count = 96;
const most = 6; // tokens of a guess

/** What followed the last two tokens where they were seen before; nothing if they were not. */
function guess(text) {
  const [a, b] = text.slice(-2);
  for (let i = text.length - 3; i > 0; i--) {
    if (text[i - 1] === a && text[i] === b) return text.slice(i + 1, i + 1 + most);
  }
  return [];
}

/** How many tokens are right: those that are no guess, and each guess that the model agrees to. */
function right(next, tokens, begin) {
  let kept = begin;
  while (kept < tokens.length && next[kept - 1] === tokens[kept]) kept++;
  return kept;
}

const { layers, kvHeads, headDim } = model;
const newCache = () => new KvCache({ layers, numPages: 32, pageSize: 16, kvHeads, headDim });

const cache = newCache();
const sequence = cache.createSequence();
const text = [...prompt];
let tokens = prompt;
let begin = prompt.length; // tokens that are no guess
let passes = 0;
while (text.length < prompt.length + count) {
  const accept = (next, all) => right(next, all, begin);
  const [next] = await feed(cache, [{ sequence, tokens }], accept);
  const kept = right(next, tokens, begin);
  text.push(...tokens.slice(begin, kept), next[kept - 1]);
  tokens = [next[kept - 1], ...guess(text)];
  begin = 1;
  passes++;
}
const said = text.slice(prompt.length, prompt.length + count);

// One token a pass, for comparison.
const slow = newCache();
const expected = await generate(slow, slow.createSequence(), prompt, count);

console.log(model.decode(said));
console.log(`${count} tokens in ${passes} passes of the model`);
const same = model.decode(said) === model.decode(expected);
console.log(same ? 'the same as one token a pass' : `not ${model.decode(expected)}`);
