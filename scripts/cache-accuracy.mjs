// How far attention over caches of fewer bits is from the truth: RMSE against float64 on normal
// inputs, on those of the FlashAttention-3 paper and on keys with outlying channels, beside the
// q8_0 format of llama.cpp. docs/serving.md has the table of the last run with --write.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt, root } from './ensure-built.mjs';

const page = path.join(root, 'docs/serving.md');
ensureBuilt();
const { empty, randn, tensor } = await import('../dist/index.js');
const { roundToFloat16, standardAttention } = await import('../dist/reference.js');
const { appendKv, flashAttentionRagged } = await import('../dist/serving.js');

const [queries, keys, heads, headDim, pageSize] = [256, 1024, 2, 128, 16];
const problemShape = { batch: 1, seqlenQ: queries, seqlenK: keys, heads, headDim };
const rmse = (out, truth) =>
  Math.sqrt(out.reduce((sum, x, i) => sum + (x - truth[i]) ** 2, 0) / truth.length);

// ---- inputs, [rows, heads, headDim] ----

const normal = (rows, seed) =>
  randn([rows, heads, headDim], { seed: BigInt(seed), device: 'cpu' }).toFloat32();

const oneInThousand = 3.0902323; // a standard normal number exceeds it with probability 0.001

/** N(0, 1) + N(0, 100) * Bernoulli(0.001): Shah et al. 2024, section 4.3. */
async function outliers(rows, seed) {
  const [body, tail, gate] = await Promise.all([0, 1, 2].map((n) => normal(rows, 10 * seed + n)));
  return body.map((x, i) => (gate[i] > oneInThousand ? x + 10 * tail[i] : x));
}

/** Keys of which every 32nd channel is ten times as large, as rotary models have them. */
async function channels(rows, seed) {
  const body = await normal(rows, seed);
  return seed === 2 ? body.map((x, i) => (i % 32 === 5 ? 10 * x : x)) : body;
}

// ---- formats ----

/** q8_0: 32 elements share a float16 scale, max|x| / 127; halves are rounded away from 0. */
function q8_0(rows) {
  const result = new Float64Array(rows.length);
  for (let at = 0; at < rows.length; at += 32) {
    const block = rows.subarray(at, at + 32);
    const scale = block.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 127;
    block.forEach((x, i) => {
      const quotient = scale === 0 ? 0 : x / scale;
      const code = Math.sign(quotient) * Math.floor(Math.abs(quotient) + 0.5);
      result[at + i] = code * roundToFloat16(scale);
    });
  }
  return result;
}

/** Through pages of this package, with float32 queries. */
function cached(dtype, inputs) {
  const device = 'cpu';
  const [q, k, v] = inputs.map((x) =>
    tensor(x, [x.length / (heads * headDim), heads, headDim], { device }),
  );
  const pages = (shape, dtype) => empty([keys / pageSize, pageSize, ...shape], { dtype, device });
  const [kPages, vPages] = [0, 1].map(() => pages([heads, headDim], dtype));
  const quantized = dtype === 'int8' || dtype === 'float8_e4m3';
  const scales = quantized && {
    kScales: pages([heads], 'float32'),
    vScales: pages([heads], 'float32'),
  };
  const slots = Array.from({ length: keys }, (_, n) => n);
  appendKv(k, v, kPages, vPages, { slots, ...scales });
  return flashAttentionRagged(q, kPages, vPages, {
    cuSeqlensQ: [0, queries],
    pageTable: [Array.from({ length: keys / pageSize }, (_, n) => n)],
    seqlensK: [keys],
    causal: true,
    ...scales,
  }).toFloat32();
}

const attention = ([q, k, v]) =>
  standardAttention({ shape: problemShape, q, k, v, causal: true }).out;

const bytes = (codes, scales) => (codes + scales).toFixed(2);
const formats = [
  ['float32', bytes(4, 0), (inputs) => cached('float32', inputs)],
  ['bfloat16', bytes(2, 0), (inputs) => cached('bfloat16', inputs)],
  ['int8, a scale per token and head', bytes(1, 4 / headDim), (inputs) => cached('int8', inputs)],
  [
    'float8_e4m3, a scale per token and head',
    bytes(1, 4 / headDim),
    (inputs) => cached('float8_e4m3', inputs),
  ],
  [
    'q8_0 (llama.cpp), a scale per 32 elements',
    bytes(1, 2 / 32),
    ([q, k, v]) => attention([q, q8_0(k), q8_0(v)]),
  ],
];

const kinds = { normal, outliers, 'outlying channels of k': channels };
const columns = await Promise.all(
  Object.values(kinds).map(async (make) => {
    const inputs = await Promise.all([make(queries, 1), make(keys, 2), make(keys, 3)]);
    const truth = attention(inputs);
    const errors = [];
    for (const [, , run] of formats) errors.push(rmse(await run(inputs), truth));
    return errors;
  }),
);

const table = [
  `| | bytes per element | ${Object.keys(kinds).join(' | ')} |`,
  `|---|---|${columns.map(() => '---|').join('')}`,
  ...formats.map(
    ([name, size], n) =>
      `| ${name} | ${size} | ${columns.map((errors) => errors[n].toExponential(1)).join(' | ')} |`,
  ),
].join('\n');
console.log(table);

if (process.argv.includes('--write')) {
  const marks = /(<!-- report:cache -->\n)[\s\S]*?(<!-- end -->)/;
  writeFileSync(page, readFileSync(page, 'utf8').replace(marks, `$1\n${table}\n\n$2`));
}
