// clang-format over the C++ sources: rewrites them, or with --check only reports what it would
// change.
import { spawnSync } from 'node:child_process';
import { globFiles, root } from './ensure-built.mjs';

const files = ['csrc', 'test/native', 'test/simt', 'bench/native', 'scripts'].flatMap((folder) =>
  globFiles(folder, /\.(h|cpp|cc|cu)$/),
);
const mode = process.argv.includes('--check') ? ['--dry-run', '-Werror'] : ['-i'];
const cli = `${root}/node_modules/clang-format/index.js`;
const { status } = spawnSync(process.execPath, [cli, '--style=file', ...mode, ...files], {
  cwd: root,
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
