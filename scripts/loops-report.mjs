// Counts instructions and branches of kernels, and of the shortest way round their main loops that
// has all products and copies, in the machine code that nvcc makes for one target. Reads the code
// itself: no disassembler, no GPU.
//
//   node scripts/loops-report.mjs <source.cu> [--arch sm_90] [--only <text>]
//                                 [--with <names>] [--without <names>]
//
// --only: kernels whose line in the list of the source (*_kernels.def) contains the text.
// --without: ways that have none of these instructions; --with: that have as many as any. Names are
// those of scripts/ptxas/machine-code.mjs, with a comma between. Of decoding over int8 for 16 rows:
//   --without F2FP.E4M3,MUFU.RCP --with MUFU.EX2
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root, run, skipped } from './ensure-built.mjs';
import { kernelsIn } from './ptxas/cubin.mjs';
import { countKernel } from './ptxas/loops.mjs';
import { decode, instructions } from './ptxas/machine-code.mjs';
import { demangle, shortName } from './ptxas/parse.mjs';
import { nvcc } from './ptxas/wgmma.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arch: { type: 'string', default: 'sm_90' },
    only: { type: 'string', default: '' },
    with: { type: 'string', default: '' },
    without: { type: 'string', default: '' },
  },
});

const [source] = positionals;
const namesOf = (text) => text.split(',').filter((name) => name !== '');
const choice = { with: namesOf(options.with), without: namesOf(options.without) };
const unknown = [...choice.with, ...choice.without].filter((name) => !(name in instructions));
if (source === undefined || unknown.length > 0) {
  console.error(
    unknown.length > 0
      ? `loops: no such instruction: ${unknown}. There are ${Object.keys(instructions).join(', ')}`
      : 'loops: which source?',
  );
  process.exit(2);
}
if (nvcc === undefined) {
  console.error('loops: this takes nvcc');
  process.exit(skipped);
}

/** What compiles a source's kernels, as cmake/kernels.cmake does. */
function unitOf(file) {
  const table = path.join(root, file.replace(/\.cu$/, '_kernels.def'));
  const include = `#include "${path.join(root, file)}"\n`;
  if (!existsSync(table)) return include;
  const lines = readFileSync(table, 'utf8').matchAll(/^FA_KERNEL\([^,]*, (.*)\)$/gm);
  const chosen = [...lines]
    .map(([, kernel]) => kernel)
    .filter((each) => each.includes(options.only));
  const kernels = chosen.map((kernel) => `FA_KERNEL(${kernel})`).join(' ');
  return `#define FA_IMAGE KernelImage::kMachineCode\n#define FA_KERNELS ${kernels}\n${include}`;
}

const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-loops-'));
try {
  const cubin = path.join(folder, 'cubin');
  const unit = path.join(folder, 'unit.cu');
  writeFileSync(unit, unitOf(source));
  const gencode = `arch=${options.arch.replace('sm', 'compute')},code=${options.arch}`;
  run(nvcc, [
    ...['-std=c++20', '-O3', '-DNDEBUG', `-I${path.join(root, 'csrc')}`],
    ...['-gencode', gencode, '-cubin', '-o', cubin, unit],
  ]);
  const kernels = kernelsIn(readFileSync(cubin));
  const names = demangle(kernels.map(({ symbol }) => symbol)).map(shortName);
  console.log('| kernel | instructions, branches | with functions | loop | products, copies |');
  console.log('|---|---|---|---|---|');
  const rows = kernels.map(({ code, own }, i) => {
    const whole = countKernel(decode(code, options.arch), choice);
    const { instructions: count, branches, loop } = countKernel(decode(own, options.arch), choice);
    const round = loop
      ? [`${loop.instructions}, ${loop.branches}`, `${loop.products}, ${loop.copies}`]
      : ['', ''];
    return { name: names[i], cells: [`${count}, ${branches}`, whole.instructions, ...round] };
  });
  rows.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  for (const { name, cells } of rows) console.log(`| \`${name}\` | ${cells.join(' | ')} |`);
} finally {
  rmSync(folder, { recursive: true });
}
