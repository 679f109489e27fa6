import { forward, likeliest, rotary } from './transformer.mjs';

/**
 * One pass of the model over new tokens of several sequences: the likeliest successor of every
 * token, a list per sequence. `accept` says how many of its tokens each sequence keeps: all, or
 * those of a draft that turned out right.
 */
export async function feed(cache, entries, accept = (_, tokens) => tokens.length) {
  const step = cache.step(entries.map(({ sequence, tokens }) => ({ sequence, tokens })));
  try {
    const ids = entries.flatMap(({ tokens }) => tokens);
    const logits = await forward(ids, async (layer, q, k, v) => {
      const out = step.attention(layer, q, k, v, { rotary });
      return out.take();
    });
    const all = likeliest(logits);
    const next = entries.map(({ tokens }) => all.splice(0, tokens.length));
    step.commit({ accept: entries.map(({ tokens }, i) => accept(next[i], tokens)) });
    return next;
  } finally {
    step.dispose(); // without a commit before it, nothing has happened
  }
}

/** Feeds a prompt, as far as the cache does not know it, then what the model says to it. */
export async function generate(cache, sequence, prompt, count) {
  const said = [];
  let tokens = prompt.slice(sequence.length);
  while (said.length < count) {
    const [next] = await feed(cache, [{ sequence, tokens }]);
    said.push(next.at(-1));
    tokens = said.slice(-1);
  }
  return said;
}
