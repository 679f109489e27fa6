// Compiles the library and test/native/*.cc for aarch64 and runs the programs under QEMU: the
// `neon` kernels on machines that have no such processor. With --install it first installs what is
// missing, where it may.
import path from 'node:path';
import { globFiles, root, run, skipped } from './ensure-built.mjs';
import { installHint, missingPackages } from './platforms/tools.mjs';

const compiler = 'aarch64-linux-gnu-g++';
const emulator = 'qemu-aarch64';
/** Where Debian's cross compiler keeps the libraries of the other architecture. */
const libraries = '/usr/aarch64-linux-gnu';
const missing = missingPackages({
  [compiler]: 'g++-aarch64-linux-gnu',
  [emulator]: 'qemu-user',
  cmake: 'cmake',
});
if (missing.length > 0) {
  console.error(`aarch64: tools are missing.\n  ${installHint(missing)}`);
  process.exit(skipped);
}

const out = path.join(root, 'build-cmake/aarch64');
run('cmake', [
  ...['-S', root, '-B', out, '-DCMAKE_BUILD_TYPE=Release', '-DFLASH_ATTENTION_NATIVE_TESTS=ON'],
  ...['-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=aarch64'],
  `-DCMAKE_CXX_COMPILER=${compiler}`,
]);
run('cmake', ['--build', out, '--parallel', '2']);

const programs = globFiles('test/native', /\.cc$/).map((file) => path.basename(file, '.cc'));
for (const program of programs) {
  console.log(`aarch64: ${program}`);
  run(emulator, ['-L', libraries, path.join(out, 'native-tests', program)]);
}
console.log(`aarch64: ${programs.length} passed`);
