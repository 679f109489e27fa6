// Lets publint and arethetypeswrong judge a tarball: the one that is named, else one packed of the
// package as it is built.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureBuilt, npm, root, run } from './ensure-built.mjs';

/** Without scripts: what the package contains is checked here, not whether it can be rebuilt. */
function pack() {
  ensureBuilt();
  const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  npm('pack', '--ignore-scripts', '--silent', '--pack-destination', folder);
  return path.join(folder, readdirSync(folder)[0]);
}

const tarball = process.argv[2] ?? pack();
const bin = (name) => path.join(root, 'node_modules/.bin', name);
run(bin('publint'), ['--strict', tarball]);
run(bin('attw'), [tarball]);
