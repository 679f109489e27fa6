// Runs the native code under AddressSanitizer, UndefinedBehaviorSanitizer and the leak check: an
// instrumented addon, driven from plain Node (jest leaks a little of its own) by test/native/*.cjs.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { ensureBuilt, globFiles, root, run } from './ensure-built.mjs';

const harnesses = globFiles('test/native', /\.cjs$/);
if (harnesses.length === 0) {
  console.error('asan: nothing to run, test/native has no .cjs file');
  process.exit(1);
}
ensureBuilt();

const out = path.join(root, 'build-cmake/asan');
const options = [
  '-DFLASH_ATTENTION_SANITIZE=address,undefined',
  `-DFLASH_ATTENTION_OUTPUT_DIR=${out}`,
];
run(process.execPath, ['scripts/cmake-build.cjs', 'Release', '--out', out, ...options]);

const compiler = process.env.CXX ?? 'c++';
const runtime = execFileSync(compiler, ['-print-file-name=libasan.so'], {
  encoding: 'utf8',
}).trim();
for (const harness of harnesses) {
  console.log(`asan: ${harness}`);
  const env = {
    ...process.env,
    FLASH_ATTENTION_ADDON: path.join(out, 'flash_attention.node'),
    // Node itself is not instrumented: the runtime has to be there before the addon.
    LD_PRELOAD: runtime,
    ASAN_OPTIONS: 'detect_leaks=1',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  };
  run(process.execPath, ['--expose-gc', harness], { env });
}
console.log(`asan: ${harnesses.length} passed`);
