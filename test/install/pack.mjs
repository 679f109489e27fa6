// Packs the package once for all tests of installs; jest runs this before them. A tarball that is
// there already, such as a release's, is tested instead: FLASH_ATTENTION_TARBALL names it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from '../../scripts/ensure-built.mjs';

let folder;

export default function pack() {
  if (process.env.FLASH_ATTENTION_TARBALL) return;
  folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-tarball-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  // Builds the TypeScript and the prebuilt binary first (prepack).
  const args = ['pack', '--silent', '--pack-destination', folder];
  const { status, stderr } = spawnSync('npm', args, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(`npm pack: status ${status}\n${stderr}`);
  const name = readdirSync(folder).find((file) => file.endsWith('.tgz'));
  process.env.FLASH_ATTENTION_TARBALL = path.join(folder, name);
}
