import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Machine } from './machine.js';
import type { Row } from './row.js';

/** What a run leaves behind. */
export interface Result<R = Row> {
  readonly format: 1;
  /** Of the start, ISO 8601. */
  readonly date: string;
  readonly seconds: number;
  /** The command line after `npm run bench --`, or after that of another benchmark. */
  readonly command: string;
  readonly machine: Machine;
  /** What all threads together did of what one does times their number; 1: each has a core. */
  readonly scaling?: number;
  /** What was wrong with the machine's peaks, in sentences. */
  readonly doubts?: readonly string[];
  readonly rows: readonly R[];
}

/** `2026-11-21-amd-epyc` */
export function resultName({ date, machine }: Pick<Result, 'date' | 'machine'>): string {
  const cpu = machine.cpu.toLowerCase().replace(/\([^)]*\)|\d+-core|processor|cpu|@.*/g, '');
  return `${date.slice(0, 10)}-${cpu.trim().replace(/[^a-z0-9]+/g, '-')}`;
}

/**
 * The command line without the files of this run and without the installation: nothing that
 * repeating it needs.
 */
export const commandOf = (args: readonly string[]): string =>
  args
    .filter((arg, at) => {
      const isValue = /^--(json|html)$/.test(args[at - 1] ?? '') && !arg.startsWith('-');
      return !isValue && !/^--(json|html|install-peers)\b/.test(arg);
    })
    .join(' ');

/** Six significant digits are more than any of them deserves. */
const rounded = (_: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;

/** A row a line, so that two results can be compared by eye, too. */
export function writeResult<R>(file: string, result: Result<R>): void {
  const { rows, ...rest } = result;
  const head = JSON.stringify(rest, rounded, 2).replace(/\n\}$/, '');
  const lines = rows.map((row) => `    ${JSON.stringify(row, rounded)}`);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${head},\n  "rows": [\n${lines.join(',\n')}\n  ]\n}\n`);
}

export function readResult<T extends Result<unknown> = Result>(file: string): T {
  const result = JSON.parse(readFileSync(file, 'utf8')) as T;
  if (result.format !== 1 || !Array.isArray(result.rows)) {
    throw new Error(`${file} is no result of this benchmark`);
  }
  return result;
}
