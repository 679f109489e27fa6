// Recomputation: to keep less between the forward and the backward pass, and compute it again. That
// is how attention without the N x N matrix has gradients, and how a stack of layers has them with
// a few of its activations ("Training Deep Nets with Sublinear Memory Cost", Chen et al. 2016).
// Every number is counted.
//
//   node examples/checkpoint.mjs
import {
  flashAttention,
  flashAttentionBackward,
  memory,
  randn,
  synchronize,
  tensor,
} from 'flash-attention';
import {
  flashAttention2,
  flashAttentionBackward as referenceBackward,
  standardAttention,
  standardAttentionBackward,
} from 'flash-attention/reference';

const show = (count) => count.toLocaleString('en').padStart(11);
const most = (x, y) => x.reduce((max, value, n) => Math.max(max, Math.abs(value - y[n])), 0);

// 1. One head, by the reference. What does the forward pass write to memory? Standard attention
//    writes S and P; its backward pass needs P. FlashAttention writes O and one number a row, and
//    its backward pass computes each tile of P from them again.
const [seqlen, dim] = [256, 32];
const shape = { batch: 1, seqlenQ: seqlen, seqlenK: seqlen, heads: 1, headDim: dim };
const rows = async (seed) => {
  const made = randn([1, seqlen, 1, dim], { seed });
  const numbers = await made.toFloat32();
  made.dispose();
  return numbers;
};
const [q, k, v, dOut] = await Promise.all([1n, 2n, 3n, 4n].map(rows));
const problem = { shape, q, k, v };

/** What a run stores by name, and how many elements of tiles of P its compute steps have. */
function counted(run) {
  const count = { stored: {}, computed: 0 };
  const trace = (step) => {
    if (step.kind === 'store') {
      for (const [name, elements] of Object.entries(step.elements)) {
        count.stored[name] = (count.stored[name] ?? 0) + elements;
      }
    } else if (step.kind === 'compute') {
      for (const row of step.values.P ?? []) count.computed += row.length;
    }
  };
  const result = run({ trace });
  return { ...count, result };
}
const standard = counted((options) => standardAttention(problem, options));
const forward = counted((options) => flashAttention2(problem, options));
const backward = counted((options) =>
  referenceBackward(problem, { dOut, ...forward.result }, options),
);
const kept = {
  standard: standard.stored.P,
  flash: forward.stored.O + forward.stored.lse,
};
console.log(`one head, ${seqlen} tokens of ${dim}, kept for the backward pass:`);
console.log(`${show(kept.standard)} numbers  P, by standard attention`);
console.log(`${show(kept.flash)} numbers  O and lse, by FlashAttention`);
console.log(`${show(backward.computed)} elements of P computed again`);
const byChainRule = standardAttentionBackward(problem, dOut);
const apart = Math.max(
  ...['dq', 'dk', 'dv'].map((name) => most(byChainRule[name], backward.result[name])),
);
console.log(apart < 1e-12 ? 'the same gradients\n' : `gradients are off by ${apart}\n`);

// 2. Our kernels: bytes that tensors hold between the two passes, as the package counts them.
const heads = 8;
const wide = [1n, 2n, 3n, 4n].map((seed) => randn([1, 1024, heads, 64], { seed }));
const before = memory().bytes;
const between = flashAttention(...wide.slice(0, 3), { returnLse: true });
await synchronize();
const held = memory().bytes - before;
const gradients = flashAttentionBackward(wide[3], {
  q: wide[0],
  k: wide[1],
  v: wide[2],
  ...between,
});
const largest = (await gradients.dq.toFloat32()).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
if (!(largest > 0)) throw new Error('there are no gradients');
console.log(`${heads} heads, 1,024 tokens of 64, by the kernels:`);
console.log(`${show(held)} bytes held between the passes`);
console.log(`${show(4 * heads * 1024 ** 2)} bytes that P would be\n`);
for (const x of [...wide, between.out, between.lse, ...Object.values(gradients)]) x?.dispose();

// 3. A stack of layers x -> attention(x, x, x). All activations, or those of every fourth layer,
//    between which the forward pass runs again.
const layers = 16;
const input = randn([1, 512, 4, 64], { seed: 5n });
const dLast = randn(input.shape, { seed: 6n });
const attend = (x) => flashAttention(x, x, x, { causal: true, numSplits: 1, returnLse: true });

/** dx of a layer, the sum of its three gradients. */
async function layerBackward(dOutOfLayer, x, state) {
  const options = { causal: true, deterministic: true };
  const parts = flashAttentionBackward(dOutOfLayer, { q: x, k: x, v: x, ...state }, options);
  const [dq, dk, dv] = await Promise.all(
    [parts.dq, parts.dk, parts.dv].map(async (part) => {
      const numbers = await part.toFloat32();
      part.dispose();
      return numbers;
    }),
  );
  return tensor(
    dq.map((value, n) => value + dk[n] + dv[n]),
    input.shape,
  );
}

/** Gradients of the input; keeps what goes into every `every`th layer. */
async function train(every) {
  const start = memory().bytes;
  const count = { peak: 0, forward: 0 };
  const look = () => {
    count.peak = Math.max(count.peak, memory().bytes - start);
  };
  /** Runs layers from..to; gives the inputs of each and what its backward pass needs. */
  const segment = (x, from, to) => {
    const made = [{ x }];
    for (let layer = from; layer < to; layer++) {
      const last = made[made.length - 1];
      last.state = attend(last.x);
      count.forward++;
      made.push({ x: last.state.out });
      look();
    }
    return made;
  };
  const release = (made) => {
    for (const { state } of made) {
      state?.out.dispose();
      state?.lse.dispose();
    }
  };

  const checkpoints = [input];
  for (let layer = 0; layer + every < layers; layer += every) {
    const made = segment(checkpoints[checkpoints.length - 1], layer, layer + every);
    checkpoints.push(made[made.length - 1].x.contiguous());
    release(made);
  }
  let gradient = dLast;
  while (checkpoints.length > 0) {
    const from = (checkpoints.length - 1) * every;
    const made = segment(checkpoints.pop(), from, Math.min(layers, from + every));
    for (let at = made.length - 2; at >= 0; at--) {
      const next = await layerBackward(gradient, made[at].x, made[at].state);
      look();
      if (gradient !== dLast) gradient.dispose();
      gradient = next;
    }
    release(made);
    if (from > 0) made[0].x.dispose();
  }
  const result = await gradient.toFloat32();
  gradient.dispose();
  return { ...count, result };
}
const all = await train(layers);
const some = await train(4);
console.log(`a stack of ${layers} layers:`);
console.log(`${show(all.peak)} bytes at most, ${all.forward} layers forward, all kept`);
console.log(`${show(some.peak)} bytes at most, ${some.forward} layers forward, every fourth kept`);
const different = most(all.result, some.result);
console.log(different === 0 ? 'the same gradients, bit for bit' : `off by ${different}`);
