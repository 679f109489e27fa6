// Packs the package as it is built and lets publint and arethetypeswrong judge the tarball.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureBuilt, npm, root, run } from './ensure-built.mjs';

ensureBuilt();
const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
// Without scripts: what the package contains is checked here, not whether it can be rebuilt.
npm('pack', '--ignore-scripts', '--silent', '--pack-destination', folder);
const tarball = path.join(folder, readdirSync(folder)[0]);
const bin = (name) => path.join(root, 'node_modules/.bin', name);
run(bin('publint'), ['--strict', tarball]);
run(bin('attw'), [tarball]);
