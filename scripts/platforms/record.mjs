// The table of docs/platforms.md: one row for each target, of which a run replaces those it tried.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../ensure-built.mjs';
import { targets } from './targets.mjs';

const page = path.join(root, 'docs/platforms.md');
const begin = '<!-- platforms:begin -->';
const end = '<!-- platforms:end -->';
const heading = ['| platform | compiled by | bytes | ran on an emulator |', '|---|---|---|---|'];

const compiler = ({ zig }) => (zig ? `zig, \`${zig}\`` : 'g++');
const row = ({ target, size, result }) =>
  `| ${target} | ${compiler(targets[target])} | ${size.toLocaleString('en')} | ${result} |`;

/** Puts the results of a run into the table. */
export function recordResults(results) {
  if (results.length === 0 || !existsSync(page)) return;
  const text = readFileSync(page, 'utf8');
  const [before, rest] = text.split(begin);
  const [table, after] = rest.split(end);
  const rows = new Map();
  for (const line of table.trim().split('\n').slice(2)) rows.set(line.split('|')[1].trim(), line);
  for (const result of results) rows.set(result.target, row(result));
  const lines = Object.keys(targets).map((target) => rows.get(target));
  const whole = [...heading, ...lines.filter(Boolean)].join('\n');
  writeFileSync(page, `${before}${begin}\n${whole}\n${end}${after}`);
}
