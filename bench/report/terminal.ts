import type { Machine } from '../machine.js';
import { isOurs, type Row } from '../row.js';
import type { Suite } from '../suite.js';
import { distinct, groupsOf } from './figures.js';
import { tableOf } from './table.js';
import { showBytes } from './units.js';

const colored = process.stdout.hasColors?.() === true && !process.env.NO_COLOR;
const paint = (code: number, text: string): string =>
  colored ? `\u001b[${code}m${text}\u001b[0m` : text;
const bold = (text: string): string => paint(1, text);
const dim = (text: string): string => paint(2, text);

/** One line per fact. */
export function machineFacts(machine: Machine): [label: string, text: string][] {
  const { cpu, cores, threads, isa, caches, memory, hugePages, system, node } = machine;
  const facts: [string, string][] = [
    ['CPU', `${cpu}, ${cores} cores, ${threads} threads used, ${isa}`],
    ['memory', `${showBytes(memory)}; ${caches}; huge pages: ${hugePages}`],
    ['system', `${system}, Node ${node}`],
    ['package', [machine.package, machine.commit].filter(Boolean).join(', commit ')],
    ['load', `${machine.load} when the run began`],
  ];
  if (machine.onnxRuntime) facts.push(['peer', `onnxruntime-node ${machine.onnxRuntime}`]);
  return facts;
}

export function showMachine(machine: Machine): string {
  return machineFacts(machine)
    .map(([label, text]) => `${dim(label.padEnd(10))}${text}`)
    .join('\n');
}

/** A table per group; our lines stand out. */
export function showSuite(suite: Suite, rows: readonly Row[]): string {
  const tables = groupsOf(rows).map(([name, group]) => {
    const { titles, lines } = tableOf(group, rows);
    const widths = titles.map((title, at) =>
      Math.max(title.length, ...lines.map((line) => line[at].length)),
    );
    const text = (cells: readonly string[]) =>
      cells
        .map((cell, at) =>
          titles[at] === 'who' ? cell.padEnd(widths[at]) : cell.padStart(widths[at]),
        )
        .join('  ');
    const body = group.map((row, at) => {
      const line = text(lines[at]);
      return isOurs(row) ? bold(line) : line;
    });
    // Where several contestants meet at several points, a blank line between the points.
    const points = distinct(group.map(({ x }) => x));
    const spaced = body.map((line, at) =>
      points.length > 1 && group.length > points.length && at > 0 && group[at].x !== group[at - 1].x
        ? `\n${line}`
        : line,
    );
    return `${bold(name)}\n${dim(text(titles))}\n${spaced.join('\n')}`;
  });
  return `\n${bold(suite.name.toUpperCase())}: ${suite.summary}\n\n${tables.join('\n\n')}\n`;
}
