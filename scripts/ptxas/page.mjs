// docs/kernel-resources.md: for each source of kernels a table, and what it was made from.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../ensure-built.mjs';
import { blocksPerMultiprocessor, multiprocessors } from './parse.mjs';

const page = path.join(root, 'docs/kernel-resources.md');

const archs = Object.keys(multiprocessors);

/** The table of a source's kernels: [{ name, tile, targets: { sm_80: {...} } }]. */
export function tableOf(kernels) {
  const perTarget = (kernel, value) => {
    const own = archs.filter((arch) => arch in kernel.targets);
    const all = own.map((arch) => value(kernel.targets[arch], arch));
    return all.every((one) => one === all[0]) ? `${all[0]}` : all.join(' / ');
  };
  const blocks = ({ threads, ...target }, arch) => {
    if (!threads) return '';
    const count = blocksPerMultiprocessor(arch, { threads, ...target });
    const full = Math.round((100 * count * threads) / multiprocessors[arch].threads);
    return `${count} (${full} %)`;
  };
  const rows = kernels.map((kernel) => {
    const cells = [
      `\`${kernel.name}\``,
      archs.filter((arch) => arch in kernel.targets).join(', '),
      kernel.tile?.threads ?? '',
      perTarget(kernel, ({ registers }) => registers),
      perTarget(kernel, ({ shared }) => shared),
      perTarget(kernel, ({ stack }) => stack),
      perTarget(kernel, ({ spills }) => spills),
      perTarget(kernel, blocks),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const head = '| kernel | for | threads | registers | shared | stack | spills | blocks |';
  return [head, '|---|---|---|---|---|---|---|---|', ...rows].join('\n');
}

/** What the page says: the compiler, and of each source its hash and its table. */
export function readPage() {
  const text = existsSync(page) ? readFileSync(page, 'utf8') : '';
  const sources = new Map();
  const section = /^## (\S+)\n\nMade from `(\w+)`\.\n\n((?:\|.*\n)+|No kernels\.\n)/gm;
  for (const [, source, hash, table] of text.matchAll(section)) {
    sources.set(source, { hash, table: table.trimEnd() });
  }
  return { compiler: /^Compiler: (.*)\.$/m.exec(text)?.[1], sources };
}

export function writePage({ compiler, sources }) {
  const sections = [...sources].map(
    ([source, { hash, table }]) => `## ${source}\n\nMade from \`${hash}\`.\n\n${table}\n`,
  );
  writeFileSync(
    page,
    `# What the CUDA kernels use

Written by \`npm run report:ptxas -- --write\` from what ptxas says. A cell with several values has
those of the architectures that the kernel is compiled for, in this order; a cell with one has that of all. The hash of a source
covers what it includes, its list of kernels and the options of nvcc.

Compiler: ${compiler}.

- shared: bytes of a block, static and dynamic
- stack, spills: bytes of a thread; spills are stores and loads together
- blocks: how many one multiprocessor holds at a time, and how full of threads it is then. Known for
  the kernels whose tiles are data (csrc/cuda/sm80 and sm90, *_tiles.h). Computed from registers,
  threads and shared memory, not measured.

${sections.join('\n')}`,
  );
}
