// Runtime, system and the native binary: everything up to the moment it is loaded.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { packageJson } from '../native/package.js';
import {
  type AddonFile,
  compareVersions,
  findAddon,
  prebuiltAddons,
  requiredGlibc,
  systemGlibc,
} from './addon-file.js';
import { type Check, note, ok, problem, warning } from './doctor-check.js';
import { showBytes } from './format.js';

const buildRemedy =
  'Run "npx flash-attention build" to compile it here (it says what is missing), or install the package again.';

const chosenRemedy = 'Correct FLASH_ATTENTION_ADDON or unset it.';

/** What to do about a binary that cannot be used. */
const remedyFor = (file: AddonFile | undefined): string =>
  file?.kind === 'FLASH_ATTENTION_ADDON' ? chosenRemedy : buildRemedy;

/** The Node-API version the addon is written against. */
const napiVersion = 8;

export function checkRuntime(versions: NodeJS.ProcessVersions = process.versions): Check {
  const { node, napi } = versions;
  const found = `${node}, Node-API ${napi}`;
  const floor = packageJson.engines.node.replace(/^>=/, '');
  const other = (['bun', 'deno', 'electron'] as const).find((name) => versions[name]);
  if (other) {
    return note('Node', `${found}, in ${other} ${versions[other]}: not tested there`);
  }
  if (compareVersions(node, floor) < 0 || Number(napi) < napiVersion) {
    return problem('Node', `${found}; ${floor} or later is needed`, 'Install a later Node.js.');
  }
  return ok('Node', found);
}

export function checkPlatform(): Check {
  const { platform, arch } = process;
  const libc = platform === 'linux' ? `, ${systemGlibc() ? `glibc ${systemGlibc()}` : 'musl'}` : '';
  const name = `${platform}-${arch}`;
  const found = `${name}${libc}`;
  if (arch !== 'x64' && arch !== 'arm64') {
    const remedy = 'Use a 64-bit Node.js on x86-64 or ARM64.';
    return problem('platform', `${found}: no kernels for this processor`, remedy);
  }
  const prebuilt = prebuiltAddons();
  const mine = prebuilt.filter((file) => file.startsWith(`${name}/`));
  const fits = systemGlibc() ? /\.glibc\.node$/ : /\.musl\.node$/;
  if (mine.some((file) => platform !== 'linux' || fits.test(file))) {
    return ok('platform', `${found}, with a prebuilt binary`);
  }
  const there = prebuilt.length > 0 ? prebuilt.join(', ') : 'none';
  return note('platform', `${found}; prebuilt binaries in this package: ${there}`);
}

/** The file, and whether this system's libc can load it. */
export function checkBinary(file: AddonFile | undefined = findAddon()): Check[] {
  if (!file) return [problem('binary', 'none found for this system', buildRemedy)];
  if (!existsSync(file.path)) {
    return [problem('binary', `${file.path} does not exist`, remedyFor(file))];
  }
  const stat = statSync(file.path);
  if (!stat.isFile()) {
    return [problem('binary', `${file.path} is no file`, remedyFor(file))];
  }
  const size = showBytes(stat.size);
  const checks = [ok('binary', `${file.path} (${file.kind}, ${size})`)];
  if (file.kind === 'local build' && prebuiltAddons().length > 0) {
    checks.push(
      note(
        'local build',
        'comes before the prebuilt binary of this package',
        'Delete the folder build if the prebuilt one is wanted.',
      ),
    );
  }
  if (process.platform === 'linux') checks.push(...checkFormat(file));
  return checks;
}

function checkFormat(file: AddonFile): Check[] {
  const remedy = remedyFor(file);
  const start = readFileSync(file.path).subarray(0, 64).toString('latin1');
  if (!start.startsWith('\x7fELF')) {
    const what = start.startsWith('version https://git-lfs') ? 'a Git LFS pointer' : 'no ELF file';
    const why = 'no native addon, or one that is truncated or of another system';
    return [problem('binary format', `${what}: ${why}`, remedy)];
  }
  const needed = requiredGlibc(file.path);
  const there = systemGlibc();
  if (!needed) return [];
  if (!there) {
    const found = `it is made for glibc, which this system lacks`;
    return [problem('glibc', found, remedy)];
  }
  if (compareVersions(there, needed) < 0) {
    const found = `the binary needs ${needed}, this system has ${there}`;
    return [problem('glibc', found, `${remedy} Or use a newer system.`)];
  }
  return [ok('glibc', `${there}; the binary needs ${needed} or later`)];
}

/** What the loader said, with advice for the causes people meet. */
export function loadProblem(error: string, file?: AddonFile): Check {
  const advice = loaderAdvice.find(({ pattern }) => pattern.test(error))?.advice;
  const remedy = remedyFor(file);
  return problem('loading', error, advice ? advice(remedy) : remedy);
}

const loaderAdvice: readonly { pattern: RegExp; advice: (remedy: string) => string }[] = [
  { pattern: /GLIBC_[\d.]+' not found/, advice: (remedy) => `${remedy} Or use a newer system.` },
  {
    pattern: /loading addons is disabled/i,
    advice: () => 'Node.js was told to load none: start it without --no-addons.',
  },
  {
    pattern: /failed to map segment|Operation not permitted/i,
    advice: () => 'The folder is on a file system mounted noexec: install elsewhere or remount it.',
  },
  {
    pattern: /invalid ELF header|file too short|wrong ELF class|not a valid Win32|mach-o/i,
    advice: (remedy) =>
      'The file is no addon, or truncated or of another system, as when node_modules was copied. ' +
      remedy,
  },
  {
    pattern: /libasan|libtsan|libubsan|__asan|__tsan|ASan runtime/i,
    advice: () => 'This is a sanitizer build: preload its runtime with LD_PRELOAD, or build again.',
  },
  {
    pattern: /SIGILL/,
    advice: (remedy) => `The processor lacks instructions the binary uses. ${remedy}`,
  },
  {
    pattern: /did not self-register|napi_register_module|is no addon of/,
    advice: (remedy) => `The file is no addon, or one of another package. ${remedy}`,
  },
];

/** The binary against the package: an old local build answers for code that is no longer there. */
export function checkVersion(nativeVersion: string, build: string): Check {
  const { version } = packageJson;
  if (nativeVersion !== version) {
    const found = `the binary is of version ${nativeVersion}, the package of ${version}`;
    return warning('version', found, buildRemedy);
  }
  if (build !== 'release') {
    const remedy = 'Run "npx flash-attention build" for full speed.';
    return warning('version', `${version}, but a ${build} build`, remedy);
  }
  return ok('version', `${version}, ${build} build`);
}
