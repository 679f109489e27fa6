// Runs test/native/*.cc, plain C++ programs over csrc/core and csrc/cpu, under ThreadSanitizer.
// (Node itself is not instrumented, so the addon as a whole cannot be.)
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { ensureInstalled, globFiles, root, run } from './ensure-built.mjs';

const programs = globFiles('test/native', /\.cc$/).map((file) => path.basename(file, '.cc'));
if (programs.length === 0) {
  console.error('tsan: nothing to run, test/native has no .cc file');
  process.exit(1);
}
ensureInstalled();

const out = path.join(root, 'build-cmake/tsan');
const options = ['-DFLASH_ATTENTION_SANITIZE=thread', '-DFLASH_ATTENTION_NATIVE_TESTS=ON'];
// Kernels of every vector width: `wide` stands in for v4, which not every machine can run.
if (process.arch === 'x64') options.push('-DFLASH_ATTENTION_ISAS=v2;v3;wide');
run(process.execPath, ['scripts/cmake-build.cjs', 'Release', '--out', out, ...options]);

// The sanitizer wants its shadow memory at fixed addresses, which address randomisation may occupy.
const fixed = spawnSync('setarch', ['-R', 'true'], { stdio: 'ignore' }).status === 0;
for (const program of programs) {
  console.log(`tsan: ${program}`);
  const file = path.join(out, 'native-tests', program);
  const env = { ...process.env, TSAN_OPTIONS: 'halt_on_error=1 second_deadlock_stack=1' };
  if (fixed) run('setarch', ['-R', file], { env });
  else run(file, [], { env });
}
console.log(`tsan: ${programs.length} passed`);
