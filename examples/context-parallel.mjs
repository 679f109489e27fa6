// Prefill on one worker, decoding over three others: a prompt's keys and values move as pages, each
// to the part that they lie on, and none is computed again. Prints what a token costs to move.
//
//   node examples/context-parallel.mjs [float32 | bfloat16 | int8]
import { ContextParallel, ContextPart, inProcessTransport, KvCache } from 'flash-attention/serving';
import { generate } from './model/serve.mjs';
import * as model from './model/transformer.mjs';

const { layers, kvHeads, headDim, rotary } = model;
const dtype = process.argv[2] ?? 'float32';
const shape = { layers, kvHeads, headDim };
const cut = { parts: 3, tokensPerRun: 16 };
const prompt = model.encode('Long ago, when a context still fitted into one machine, there lived ');

// The worker that prefills. In a server each of these is a process of its own.
const prefill = new KvCache({ ...shape, numPages: 16, dtype });
const computed = prefill.createSequence();
const [first] = await generate(prefill, computed, prompt, 1);

const parts = Array.from({ length: cut.parts }, (_, part) => {
  return new ContextPart(new KvCache({ ...shape, numPages: 8, dtype }), { ...cut, part });
});
const context = new ContextParallel({ ...shape, cut, transport: inProcessTransport(parts) });

const sequence = context.createSequence();
let moved = 0;
for (let begin = 0; begin < computed.length; begin += cut.tokensPerRun) {
  const end = Math.min(computed.length, begin + cut.tokensPerRun);
  const bytes = await computed.save({ begin, end });
  await sequence.append(bytes);
  moved += bytes.length;
}
const held = parts.map((part) => part.sequences);
console.log(
  `${sequence.length} tokens on ${held.length} parts, each moved as ${(moved / sequence.length).toFixed(0)} bytes in ${dtype}`,
);

const said = [first];
while (said.length < 60) {
  const step = context.step([{ sequence, tokens: 1 }]);
  const logits = await model.forward(said.slice(-1), async (layer, ...rows) => {
    const [q, k, v] = await Promise.all(rows.map((each) => each.toFloat32()));
    return step.attention(layer, q, k, v, { rotary });
  });
  step.commit();
  said.push(model.likeliest(logits)[0]);
}
console.log(model.decode([...prompt, ...said]));

const expected = await generate(prefill, computed, [...prompt, first], 59);
const same = model.decode(said.slice(1)) === model.decode(expected);
console.log(same ? 'the same as on one machine' : `not ${model.decode(expected)}`);
await sequence.dispose();
