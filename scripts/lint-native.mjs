// clang-tidy over the native code that has no intrinsics: csrc/core, csrc/cpu, csrc/binding and
// csrc/simt, by the commands of their build. With --install it first installs what is missing,
// where it may. Arguments that are no options: sources to look at, instead of all.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { ensureInstalled, globFiles, root, run, skipped } from './ensure-built.mjs';
import { installHint, missingPackages } from './platforms/tools.mjs';

const given = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const missing = missingPackages({ 'clang-tidy': 'clang-tidy' });
if (missing.length > 0) {
  console.error(`lint:native: clang-tidy not found.\n  ${installHint(missing)}`);
  process.exit(skipped);
}

ensureInstalled();
const out = path.join(root, 'build-cmake/lint');
run('cmake', [
  ...['-S', root, '-B', out, '-DCMAKE_BUILD_TYPE=Release', '-DFLASH_ATTENTION_SIMT=ON'],
  ...[
    '-DCMAKE_EXPORT_COMPILE_COMMANDS=ON',
    '-DCMAKE_CXX_COMPILER_LAUNCHER=',
    '--log-level=WARNING',
  ],
]);

const folders = ['csrc/core', 'csrc/cpu', 'csrc/binding', 'csrc/simt'];
const sources = folders
  .flatMap((folder) => globFiles(folder, /^csrc\/\w+\/[^/]+\.cpp$/))
  .filter((file) => given.length === 0 || given.includes(file));

/** Looks at one source; whether it is clean. */
function lint(source) {
  return new Promise((resolve) => {
    const child = spawn('clang-tidy', ['--quiet', '-p', out, source], { cwd: root });
    let text = '';
    child.stdout.on('data', (data) => (text += data));
    // Of the compiler's own warnings and their number it speaks on standard error.
    child.stderr.resume();
    child.on('close', (status) => {
      if (status !== 0) console.error(`${source}\n${text}`);
      resolve(status === 0);
    });
  });
}

const waiting = [...sources];
let failed = 0;
const worker = async () => {
  for (let source = waiting.shift(); source; source = waiting.shift()) {
    if (!(await lint(source))) failed += 1;
  }
};
await Promise.all(Array.from({ length: availableParallelism() }, worker));
console.log(`lint:native: ${sources.length - failed} of ${sources.length} sources are clean`);
process.exitCode = failed > 0 ? 1 : 0;
