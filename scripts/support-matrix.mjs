/**
 * What each device does with which dtype, as docs/support.md: asked of the code that decides, by
 * `explain` of a small call per feature. `node scripts/support-matrix.mjs` writes the file; it
 * needs `npm run build:ts` and `npm run build:simt`. test/support-matrix.test.ts compares
 * the table of the device that it runs on.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const dtypes = ['float32', 'float16', 'bfloat16', 'float8_e4m3'];

export const titles = {
  cpu: 'CPU',
  'simt:sm80': 'GPUs of compute capability 8.x, 10.x and 12.x',
  'simt:sm90': 'GPUs of compute capability 9.0',
};

/** The device whose table is that of another one. */
export const sameAs = {
  'simt:sm86': 'simt:sm80',
  'simt:sm100': 'simt:sm80',
  'simt:sm120': 'simt:sm80',
};

/** Name, what differs from a plain call, and options given the tensors' maker. */
const features = (fa, device) => {
  const ints = (values, shape = [values.length]) =>
    fa.tensor(Int32Array.from(values), shape, { device });
  const zeros = (shape, dtype = 'float32') => fa.zeros(shape, { dtype, device });
  const blockMask = () =>
    fa.BlockMask.slidingWindow({ seqlenQ: 128, seqlenK: 128, left: 9, right: 0 });
  const varlen = { cuSeqlensQ: ints([0, 60, 128]), cuSeqlensK: ints([0, 60, 128]) };
  const paged = { pageTable: ints([1, 0], [1, 2]), seqlensK: ints([100]) };
  const ragged = { ...paged, cuSeqlensQ: ints([0, 128]) };
  const scales = () => ({ kScales: zeros([2, 64, 2]), vScales: zeros([2, 64, 2]) });
  const over = (name, keys, more) => [
    `\`flashAttentionPaged\` over ${name}`,
    { pages: true, keys },
    () => ({ ...paged, ...more?.() }),
  ];
  return [
    ['no options', {}, () => ({})],
    ['`causal`', {}, () => ({ causal: true })],
    ['`window`', {}, () => ({ window: [16, 4] })],
    ['`window` with `sinkTokens`', {}, () => ({ window: [16, 4], sinkTokens: 2 })],
    ['`softcap`', {}, () => ({ softcap: 30 })],
    ['`alibiSlopes`', {}, () => ({ alibiSlopes: zeros([4]) })],
    ['`mask`, bool', {}, () => ({ mask: zeros([128, 128], 'bool') })],
    ['`mask`, floating', {}, () => ({ mask: zeros([128, 128]) })],
    ['`blockMask`', {}, () => ({ blockMask: blockMask() })],
    ['`sinks`', {}, () => ({ sinks: zeros([4]) })],
    ['`dropout`', {}, () => ({ dropout: { p: 0.1, seed: 1n } })],
    ['`seqlensK`', {}, () => ({ seqlensK: ints([100]) })],
    ['negative `scale`', {}, () => ({ scale: -1 })],
    ['`numSplits`', {}, () => ({ numSplits: 2 })],
    ['one query row', { seqlenQ: 1 }, () => ({})],
    ['head dim 256', { dim: 256 }, () => ({})],
    ['head dim 576', { dim: 576 }, () => ({})],
    ['latents: head dim 576, values in its first 512', { latents: true }, () => ({})],
    ['the same in pages, `KvCache` with `latents`', { latents: true, pages: true }, () => ragged],
    ['head dim 72', { dim: 72 }, () => ({})],
    ['head dim 20', { dim: 20 }, () => ({})],
    ['`flashAttentionVarlen`', { packed: true }, () => varlen],
    ['`flashAttentionPaged`', { pages: true }, () => paged],
    ['`flashAttentionRagged`', { packed: true, pages: true }, () => ragged],
    over('bfloat16', 'bfloat16'),
    over('int8, a scale per token', 'int8', scales),
    over('float8_e4m3, a scale per token', 'float8_e4m3', scales),
  ];
};

/** q, k and v of a small call. */
function tensors(fa, device, dtype, features) {
  const { seqlenQ = 128, dim = 64, packed = false, pages = false, keys = dtype } = features;
  const zeros = (shape, dtype) => fa.zeros(shape, { dtype, device });
  if (features.latents) {
    const latents = zeros([pages ? 2 : 1, pages ? 64 : 128, 1, 576], dtype);
    const queries = pages ? [128, 4, 576] : [1, 128, 4, 576];
    return [zeros(queries, dtype), latents, latents.slice(null, null, null, [0, 512])];
  }
  const keyShape = pages ? [2, 64, 2, dim] : packed ? [128, 2, dim] : [1, 128, 2, dim];
  const queries = packed ? [128, 4, dim] : [1, seqlenQ, 4, dim];
  return [zeros(queries, dtype), zeros(keyShape, keys), zeros(keyShape, keys)];
}

/** Kernels of the forward and the backward pass, or the code of the error. */
function cell(fa, device, dtype, [, shape, options]) {
  const one = () => fa.tensor([1], [1], { device });
  const scales = dtype === 'float8_e4m3' && !shape.keys;
  const given = { ...options(), ...(scales ? { scales: { q: one(), k: one(), v: one() } } : {}) };
  try {
    const plan = fa.explain(...tensors(fa, device, dtype, shape), given);
    const backward = plan.backwardKernel;
    return backward ? `${plan.kernel}, ${backward}` : plan.kernel;
  } catch (error) {
    if (!(error instanceof fa.FlashAttentionError)) throw error;
    return `\`${error.code}\``;
  }
}

/** The kernel of a dynamic convolution, or the code of the error. */
function convolutionCell(fa, device, dtype) {
  const zeros = (shape) => fa.zeros(shape, { dtype, device });
  try {
    fa.dynamicConv(zeros([1, 128, 4, 64]), zeros([4, 7]));
    return 'cpu.convolve';
  } catch (error) {
    if (!(error instanceof fa.FlashAttentionError)) throw error;
    return `\`${error.code}\``;
  }
}

/** The lines of one device's table. */
export function supportTable(fa, device) {
  const row = (cells) => `| ${cells.join(' | ')} |`;
  return [
    row(['', ...dtypes]),
    row(['---', ...dtypes.map(() => '---')]),
    ...features(fa, device).map((feature) =>
      row([feature[0], ...dtypes.map((dtype) => cell(fa, device, dtype, feature))]),
    ),
    row(['`dynamicConv`', ...dtypes.map((dtype) => convolutionCell(fa, device, dtype))]),
  ];
}

const intro = `# Support matrix

What runs where, as the code decides it: \`csrc/core/validate_attention.cpp\` for every device,
\`csrc/cuda/runtime/supported.cpp\` for what GPUs leave out, \`forward_plan.cpp\` and
\`backward_plan.cpp\` for the choice of a kernel. Generated by \`scripts/support-matrix.mjs\`; a test
compares it on each device.

A cell has the kernel of the forward pass, then that of the backward pass where there is one, or the
code of the error that such a call gets. The calls have 128 queries and keys, 4 heads over 2 and head
dim 64 unless the row says otherwise. What a device cannot do is an error of what was asked of it:
\`ERR_DTYPE\`, \`ERR_SHAPE\` or \`ERR_OPTION\`. \`ERR_DEVICE\` has the one operation that only another
device has, \`dynamicConv\`.
`;

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** In a process of its own: one addon serves one set of devices. */
function tableOf(device) {
  const env = {
    ...process.env,
    FLASH_ATTENTION_ADDON: path.join(root, 'build-simt/flash_attention_simt.node'),
    FLASH_ATTENTION_SIMT_DEVICES: device.startsWith('simt:') ? device.slice(5) : 'sm80',
  };
  const args = [fileURLToPath(import.meta.url), '--device', device];
  return execFileSync(process.execPath, args, { env, encoding: 'utf8' }).trim();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [flag, device] = process.argv.slice(2);
  if (flag === '--device') {
    const fa = createRequire(import.meta.url)(path.join(root, 'dist/index.cjs'));
    console.log(supportTable(fa, device).join('\n'));
  } else {
    const sections = Object.entries(titles).map(
      ([name, title]) => `## ${title}\n\n${tableOf(name)}\n`,
    );
    writeFileSync(path.join(root, 'docs/support.md'), [intro, ...sections].join('\n'));
  }
}
