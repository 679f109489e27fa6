// Runs the native code under AddressSanitizer, UndefinedBehaviorSanitizer and the leak check: an
// instrumented addon, driven from plain Node (jest leaks a little of its own) by test/native/*.cjs.
import { execFileSync, spawnSync } from 'node:child_process';
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
// V8 hides pointers to its own bookkeeping from the leak check, so some exits report "leaks" of
// Node's. Ours are those that the addon asked for, and not V8 on the way to what it was asked for.
const leakExit = 23;
const leaksOfOurs = (report) =>
  report.split(/^(?=(?:Direct|Indirect) leak of )/m).filter((leak) => {
    const addon = leak.indexOf('flash_attention.node');
    const isLeak = /^(?:Direct|Indirect) leak of /.test(leak);
    return isLeak && addon >= 0 && !leak.slice(0, addon).includes('v8::internal::');
  });

for (const harness of harnesses) {
  console.log(`asan: ${harness}`);
  const env = {
    ...process.env,
    FLASH_ATTENTION_ADDON: path.join(out, 'flash_attention.node'),
    // Node itself is not instrumented: the runtime has to be there before the addon.
    LD_PRELOAD: runtime,
    ASAN_OPTIONS: 'detect_leaks=1',
    LSAN_OPTIONS: `exitcode=${leakExit}`,
    UBSAN_OPTIONS: 'print_stacktrace=1',
  };
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', harness], {
    cwd: root,
    env,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  process.stdout.write(stdout);
  const leaks = status === leakExit ? leaksOfOurs(stderr) : [];
  // The leak check's exit status takes the place of any other: the last line says whether all ran.
  const ended = stdout.endsWith('every function: ok\n');
  const clean = status === 0 || (status === leakExit && leaks.length === 0);
  if (ended && clean) continue;
  process.stderr.write(leaks.length > 0 ? leaks.join('') : stderr);
  console.error(`asan: ${harness} failed with ${signal ?? `exit code ${status}`}`);
  process.exit(1);
}
console.log(`asan: ${harnesses.length} passed`);
