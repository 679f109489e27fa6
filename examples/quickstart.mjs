// One attention layer of Llama-3-8B: read a prompt of 4,096 tokens, then generate 32 more.
//
//   npm run quickstart                        made-up q, k, v
//   npm run quickstart -- q.npy k.npy v.npy   your own (or one .safetensors file), as `run` takes
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { devices, explain, flashAttention, memory, randn, synchronize } from 'flash-attention';
import { standardAttention } from 'flash-attention/reference';

if (process.argv.length > 2) {
  const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
  const args = [cli, 'run', '--check', ...process.argv.slice(2)];
  process.exit(spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1);
}

const [heads, kvHeads, headDim, dtype] = [32, 8, 128, 'bfloat16'];
const [prompt, generated] = [4096, 32];

console.log(
  `A Llama-3-8B attention layer: ${heads} query heads, ${kvHeads} kv heads, headDim ${headDim}, ${dtype}\n`,
);

// What a model would compute from its tokens. Keys and values have room for the tokens to come.
const q = randn([1, prompt + generated, heads, headDim], { seed: 1n, dtype });
const k = randn([1, prompt + generated, kvHeads, headDim], { seed: 2n, dtype });
const v = randn([1, prompt + generated, kvHeads, headDim], { seed: 3n, dtype });
const tokens = (tensor, start, end) => tensor.slice(null, [start, end]); // a view: nothing is copied
await synchronize();

const { model, capability, threads } = devices().find(({ name }) => name === q.device);
show('device', `${q.device}: ${model}, ${capability}, ${threads} threads`);

// Prefill: every token of the prompt attends to itself and to those before it.
const prefill = [tokens(q, 0, prompt), tokens(k, 0, prompt), tokens(v, 0, prompt)];
const plan = explain(...prefill, { causal: true });
const { out, seconds } = await timed(() => flashAttention(...prefill, { causal: true }));

show('prefill', `${count(prompt)} tokens, causal`);
show('  plan', `${plan.kernel}, ${plan.tileQ} x ${plan.tileK} tiles: ${tileCounts(plan)}`);
show('  time', `${seconds.toFixed(2)} s, ${(plan.flops / seconds / 1e9).toFixed(0)} GFLOP/s`);
show(
  '  memory',
  `${mebibytes(memory().bytes)} of tensors, ${mebibytes(plan.scratchBytes)} scratch`,
);
show('', `standard attention would need ${mebibytes(plan.standardMemory)} more, and move`);
show('', `${mebibytes(plan.standardBytes)} where this moves ${mebibytes(plan.bytes)}`);
show('  error', await error(prefill, out, [0, 1365, 2730, 4095]));

// Decode: one query at a time, over keys and values that grow by one token per step.
const step = (t) => [tokens(q, t, t + 1), tokens(k, 0, t + 1), tokens(v, 0, t + 1)];
const last = step(prompt + generated - 1);
const decode = explain(...last);
const decoded = await timed(() => {
  let token;
  for (let t = prompt; t < prompt + generated; t++) token = flashAttention(...step(t));
  return token;
});
const perToken = decoded.seconds / generated;

show(
  'decode',
  `${generated} tokens, one by one, over ${count(prompt + 1)} to ${count(prompt + generated)} keys`,
);
show('  plan', `${decode.kernel}, keys ${splitting(decode)}`);
show(
  '  time',
  `${(perToken * 1e3).toFixed(2)} ms per token, ${(decode.bytes / perToken / 1e9).toFixed(1)} GB/s`,
);
show('  error', await error(last, decoded.out, [0]));

console.log(`
Your own q, k, v:  npm run quickstart -- q.npy k.npy v.npy --causal
What is installed: npx flash-attention info | doctor`);

/** Runs and waits. The call itself returns at once: its work is only enqueued. */
async function timed(call) {
  const started = performance.now();
  const out = call();
  await synchronize();
  return { out, seconds: (performance.now() - started) / 1000 };
}

/**
 * The largest error in some rows of every head, and that of standard attention in the same dtype.
 */
async function error([q, k, v], out, rows) {
  const problem = {
    shape: { batch: 1, seqlenQ: q.shape[1], seqlenK: k.shape[1], heads, kvHeads, headDim },
    q: await q.toFloat32(),
    k: await k.toFloat32(),
    v: await v.toFloat32(),
    causal: true,
    queryRows: rows,
  };
  const exact = standardAttention(problem).out; // in float64
  const standard = standardAttention(problem, { precision: dtype }).out;
  const all = await out.toFloat32();
  const rowLength = heads * headDim;
  const ours = exact.map(
    (_, i) => all[rows[Math.floor(i / rowLength)] * rowLength + (i % rowLength)],
  );
  const largest = (values) =>
    values.reduce((most, x, i) => Math.max(most, Math.abs(x - exact[i])), 0).toExponential(1);
  const where = rows.length > 1 ? `rows ${rows.join(', ')}` : 'the last token';
  return `${largest(ours)} against float64 (standard attention: ${largest(standard)}), ${where}`;
}

function tileCounts({ tilesFull, tilesPartial, tilesSkipped }) {
  return `${count(tilesFull)} full, ${count(tilesPartial)} partial, ${count(tilesSkipped)} skipped`;
}

function splitting({ numSplits }) {
  return numSplits === 1 ? 'not split' : `in ${numSplits} splits, merged exactly`;
}

function count(n) {
  return n.toLocaleString('en-US');
}

function mebibytes(bytes) {
  return `${count(Math.round(bytes / 2 ** 20))} MiB`;
}

function show(label, text) {
  console.log(`${label.padEnd(9)} ${text}`);
}
