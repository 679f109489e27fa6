// The table of docs/kernels.md: how many warps of each tiled kernel of sm_80 a multiprocessor
// holds, and what keeps it from holding more. Made from docs/kernel-resources.md.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../ensure-built.mjs';
import { blocksPerMultiprocessor } from './parse.mjs';

const page = path.join(root, 'docs/kernels.md');
const [begin, end] = ['<!-- report:ptxas -->\n\n', '\n<!-- end -->'];
const archs = ['sm_80', 'sm_86', 'sm_90'];

/** The kernels of a source's table: name, and of each architecture registers and shared memory. */
function* kernelsIn(table) {
  for (const line of table.split('\n').slice(2)) {
    const [name, own, threads, ...uses] = line
      .split('|')
      .slice(1)
      .map((cell) => cell.trim());
    const targets = own.split(', ').map((arch, i) => {
      const [registers, shared] = uses.map((cell) => cell.split(' / ')).map((x) => x[i] ?? x[0]);
      return [arch, { registers: +registers, shared: +shared, threads: +threads }];
    });
    yield { name: name.replaceAll('`', ''), targets: new Map(targets) };
  }
}

/** `2 x 4 warps`, with what would have to be less for one block more. */
function cellOf(arch, uses) {
  if (uses === undefined) return '';
  const blocks = blocksPerMultiprocessor(arch, uses);
  const bound = ['registers', 'shared'].find(
    (what) => blocksPerMultiprocessor(arch, { ...uses, [what]: 1 }) > blocks,
  );
  return `${blocks} x ${uses.threads / 32}: ${bound ?? 'both'}`;
}

const kib = (bytes) => (bytes / 1024).toFixed(0);

/** A row for each kernel; float16 and bfloat16, which hardly differ, share one. */
export function occupancyTable(sources, tiles) {
  const rows = new Map();
  for (const [source, { table }] of sources) {
    if (!source.startsWith('csrc/cuda/sm80/')) continue;
    for (const { name, targets } of kernelsIn(table)) {
      const each = [...targets.values()];
      const kernel = `\`${name.replace(/ptx::b?f16/, '16 bit').replaceAll('fa::cuda::', '')}\``;
      const cells = [kib(each[0].shared), ...archs.map((arch) => cellOf(arch, targets.get(arch)))];
      const key = [kernel, ...cells].join();
      const row = rows.get(key) ?? { kernel, tile: tiles.get(name)?.tile, registers: [], cells };
      row.registers.push(...each.map((uses) => uses.registers));
      rows.set(key, row);
    }
  }
  const lines = [...rows.values()].map(({ kernel, tile, registers, cells }) => {
    const all = [...new Set(registers)].join(' / ');
    return `| ${[kernel, tile, all, ...cells].join(' | ')} |`;
  });
  const head = `| kernel | tile | registers | KB | ${archs.join(' | ')} |`;
  return [head, '|---|---|---|---|---|---|---|', ...lines].join('\n');
}

/** What docs/kernels.md has, without `table`; with it, puts it there. */
export function occupancyOnPage(table) {
  const text = readFileSync(page, 'utf8');
  const [before, rest] = text.split(begin);
  const [old, after] = rest.split(end);
  if (table !== undefined) writeFileSync(page, `${before}${begin}${table}${end}${after}`);
  return old;
}
