// Runtime, system and the native binary: everything up to the moment it is loaded.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { type AddonFile, findAddon } from '../native/binding.js';
import { adviceFor, remedyFor } from '../native/binary-error.js';
import { nodeFloor, version } from '../native/package.js';
import { compareVersions, prebuiltAddons, requiredGlibc, systemGlibc } from './addon-file.js';
import { type Check, note, ok, problem, warning } from './doctor-check.js';
import { showBytes } from './format.js';

/** The Node-API version the addon is written against. */
const napiVersion = 8;

export function checkRuntime(versions: NodeJS.ProcessVersions = process.versions): Check {
  const { node, napi } = versions;
  const other = (['bun', 'deno', 'electron'] as const).find((name) => versions[name]);
  const place = other ? `, in ${other} ${versions[other]}` : '';
  const found = `${node}, Node-API ${napi}${place}`;
  // docs/compatibility.md has what is tested.
  if (other === 'electron') return note('Node', `${found}: not tested there`);
  if (compareVersions(node, nodeFloor) < 0 || Number(napi) < napiVersion) {
    return problem('Node', `${found}; ${nodeFloor} or later is needed`, 'Install a later Node.js.');
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
export function checkBinary(file = findAddon()): Check[] {
  if (!file) return [problem('binary', 'none found for this system', remedyFor(undefined))];
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
  return problem('loading', error, adviceFor(error, file));
}

/** The binary against the package: an old local build answers for code that is no longer there. */
export function checkVersion(nativeVersion: string, build: string): Check {
  if (nativeVersion !== version) {
    const found = `the binary is of version ${nativeVersion}, the package of ${version}`;
    return warning('version', found, remedyFor(undefined));
  }
  if (build !== 'release') {
    const remedy = 'Run "npx flash-attention build" for full speed.';
    return warning('version', `${version}, but a ${build} build`, remedy);
  }
  return ok('version', `${version}, ${build} build`);
}
