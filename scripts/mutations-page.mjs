// The table of docs/testing/mutations.md: what noticed each mutation, and what it was made from.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { mutations } from '../test/simt/mutations.mjs';
import { root } from './ensure-built.mjs';
import { closureOf, fingerprint } from './fingerprint.mjs';

const page = path.join(root, 'docs/testing/mutations.md');
const marks = ['<!-- mutations -->', '<!-- end of mutations -->'];

/** What mutants are compiled with. */
export const compilerFlags = [
  ...['-std=c++20', '-O1', '-w', '-Wno-psabi', '-pthread', '-ftrivial-auto-var-init=pattern'],
  '-DFA_SIMT=1',
];

const folders = ['csrc', 'csrc/simt/include', 'test/simt/attention'];
const families = new Map();

/** The executor, which has tests of its own, and how the host launches. */
const isNoKernel = (file) => /^csrc\/(simt|cuda\/base|core\/error[.]h)/.test(file);

/** The hash of a kernel of simt_attention, before any mistake. */
function familyOf(kernel) {
  if (!families.has(kernel)) {
    const files = closureOf([`test/simt/attention/${kernel}_kernels.cu`], {
      folders,
      leaveOut: isNoKernel,
    });
    families.set(kernel, fingerprint(files, ...compilerFlags));
  }
  return families.get(kernel);
}

/** The hash of a mutation: of its kernel, all that the kernel includes, and the mistake. */
export const madeFrom = ({ kernel, file, from, to }) =>
  fingerprint([], familyOf(kernel), file, from, to);

export const nameOf = ({ kernel, fault }) => `${kernel}: ${fault}`;

/** The rows of the table by name: their text and their hash. */
export function readRows() {
  const text = readFileSync(page, 'utf8');
  const table = text.slice(text.indexOf(marks[0]), text.indexOf(marks[1]));
  const rows = table.matchAll(/^\| (\w+) \| (.+?) \| .+ \| \d+ of \d+ \| `(\w+)` \|$/gm);
  return new Map(
    [...rows].map(([row, kernel, fault, hash]) => [`${kernel}: ${fault}`, { row, hash }]),
  );
}

/** Puts results into the table, where other mutations keep the rows that they have. */
export function writeRows(results, seeds) {
  const rows = new Map([...readRows()].map(([name, { row }]) => [name, row]));
  for (const result of results) {
    const { kernel, fault, as, noticed } = result;
    const cells = [
      kernel,
      fault,
      as.join(', '),
      `${noticed} of ${seeds}`,
      `\`${madeFrom(result)}\``,
    ];
    rows.set(nameOf(result), `| ${cells.join(' | ')} |`);
  }
  const inOrder = mutations.map((mutation) => rows.get(nameOf(mutation)));
  const head = [
    '| kernel | fault | reported as | by how many seeds | made from |',
    '|---|---|---|---|---|',
  ];
  const table = [...head, ...inOrder.filter((row) => row !== undefined)].join('\n');
  const text = readFileSync(page, 'utf8');
  const begin = text.indexOf(marks[0]) + marks[0].length;
  writeFileSync(page, `${text.slice(0, begin)}\n${table}\n${text.slice(text.indexOf(marks[1]))}`);
}
