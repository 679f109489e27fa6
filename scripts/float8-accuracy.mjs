// How far float8 attention is from the truth: RMSE against float64 on the inputs of the
// FlashAttention-3 paper, whose table stands beside. docs/float8.md has the table of the last run
// with --write. With a device that has the float8 kernel as an argument (`simt:sm90` after `npm run
// build:simt`, `cuda:0`) the kernel is measured as well.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt, root } from './ensure-built.mjs';

const [device] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const page = path.join(root, 'docs/float8.md');
ensureBuilt();
if (device?.startsWith('simt:')) {
  process.env.FLASH_ATTENTION_SIMT_CHECK = 'off'; // the tests run with the race checker
  process.env.FLASH_ATTENTION_SIMT_DEVICES = device.slice('simt:'.length);
  process.env.FLASH_ATTENTION_ADDON = path.join(root, 'build-simt/flash_attention_simt.node');
}
const { flashAttention, quantize, randn, tensor } = await import('../dist/index.js');
const { quantizedAttention, roundToBfloat16, roundToFloat16, standardAttention } = await import(
  '../dist/reference.js'
);

const shape = { batch: 1, seqlenQ: 256, seqlenK: 1024, heads: 2, headDim: 128 };
const axesOf = (seqlen) => [shape.batch, seqlen, shape.heads, shape.headDim];
const oneInThousand = 3.0902323; // a standard normal number exceeds it with probability 0.001

/** N(0, 1) + N(0, 100) * Bernoulli(0.001), rounded to float16. */
async function outliers(seqlen, seed) {
  const normal = (n) =>
    randn(axesOf(seqlen), { seed: BigInt(3 * seed + n), device: 'cpu' }).toFloat32();
  const [body, tail, gate] = await Promise.all([normal(0), normal(1), normal(2)]);
  return body.map((x, i) => roundToFloat16(gate[i] > oneInThousand ? x + 10 * tail[i] : x));
}

const lengths = [shape.seqlenQ, shape.seqlenK, shape.seqlenK];
const [q, k, v] = await Promise.all(lengths.map(outliers));
const problem = { shape, q, k, v };
const exact = standardAttention(problem).out;
const rmse = (out) =>
  Math.sqrt(out.reduce((sum, x, i) => sum + (x - exact[i]) ** 2, 0) / exact.length);

const tensors = (where, dtype) =>
  [q, k, v].map((x, i) => tensor(x, axesOf(lengths[i]), { device: where, dtype }));

async function float16() {
  return rmse(await flashAttention(...tensors('cpu', 'float16')).toFloat32());
}

/** What the device's kernel makes of it. */
async function kernel({ per, hadamard }) {
  if (!device) return undefined;
  const perV = per === 'tensor' ? per : 'head';
  const options = [{ per, hadamard }, { per, hadamard }, { per: perV }];
  const inputs = tensors(device, 'float32');
  const [q8, k8, v8] = inputs.map((x, i) => quantize(x, 'float8_e4m3', options[i]));
  const scales = { q: q8.scales, k: k8.scales, v: v8.scales };
  return rmse(await flashAttention(q8.values, k8.values, v8.values, { scales }).toFloat32());
}

async function float8(options) {
  const inputs = quantizedAttention(problem, { ...options, quantizeP: false }).out;
  const all = quantizedAttention(problem, options).out.map(roundToBfloat16);
  return [rmse(inputs), rmse(all), await kernel(options)];
}

const hadamard = { seed: 1n };
const rows = [
  [
    'float16, standard attention',
    '3.2e-4',
    [rmse(standardAttention(problem, { precision: 'float16' }).out)],
  ],
  ['float16, `flashAttention`', '1.9e-4', [await float16()]],
  ['float8, a scale per tensor', '2.4e-2', await float8({ per: 'tensor' })],
  ['float8, a scale per block', '2.4e-2', await float8({ per: 'block' })],
  ['float8, per tensor, rotated', '9.3e-3', await float8({ per: 'tensor', hadamard })],
  ['float8, per block, rotated', '9.1e-3', await float8({ per: 'block', hadamard })],
];

const show = (x) => (x === undefined ? '–' : x.toExponential(1));
const columns = [
  'rounded inputs',
  'rounded inputs and weights',
  ...(device ? [`kernel on ${device}`] : []),
];
const table = [
  `| | FA3 paper | ${columns.join(' | ')} |`,
  `|---|---|${columns.map(() => '---|').join('')}`,
  ...rows.map(([name, paper, found]) =>
    found.length === 1
      ? `| ${name} | ${paper} | ${show(found[0])} |${columns
          .slice(1)
          .map(() => ' |')
          .join('')}`
      : `| ${name} | ${paper} | ${columns.map((_, n) => show(found[n])).join(' | ')} |`,
  ),
].join('\n');
console.log(table);

if (process.argv.includes('--write')) {
  const marks = /(<!-- report:float8 -->\n)[\s\S]*?(<!-- end -->)/;
  writeFileSync(page, readFileSync(page, 'utf8').replace(marks, `$1\n${table}\n\n$2`));
}
