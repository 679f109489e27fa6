// Asserts what a prebuilt binary promises to its users: no symbols but those Node calls, no
// libraries but the system's own, no newer system than Node's own floor, a bounded size; and that
// no function compiled for a newer instruction set can replace a shared one. One line per promise;
// exit status 1 if one fails. Looks at all of prebuilds/, that of other platforms too.
import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { readElf } from './binary/elf.mjs';
import { architectures, attentionKernelsOf, gpuSection, sizesOf } from './binary/gpu-code.mjs';
import { readMachO } from './binary/macho.mjs';
import { readPe } from './binary/pe.mjs';
import { globFiles, root } from './ensure-built.mjs';

const allowedExports = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];
/** MiB of a binary without CUDA: what one of today has, and half of it more. */
const maxMib = {
  'linux-x64': 3,
  'linux-arm64': 1.5,
  'win32-x64': 3,
  'darwin-x64': 3,
  'darwin-arm64': 1.5,
};
/** What may be in the one package that everybody installs. */
const maxMibWithCuda = 14;
// Node 20's own binaries need these systems: lower would help nobody.
const maxGlibc = [2, 28];
const maxMacos = [11, 0];
const allowedLibraries = {
  glibc: /^(libc|libm|libpthread|libdl)\.so\.\d+$|^ld-linux[\w-]*\.so\.\d+$/,
  musl: /^libc\.(musl-\w+\.so\.1|so)$/,
  win32: /^(kernel32|advapi32|ntdll|msvcrt|ucrtbase|api-ms-win-crt-[\w-]+)\.dll$/i,
  darwin: /^\/usr\/lib\/(libSystem\.B|libc\+\+\.1)\.dylib$/,
};

const tool = (name, ...args) => execFileSync(name, args, { cwd: root, encoding: 'utf8' });
const newer = (a, b) => a[0] - b[0] || a[1] - b[1];

let failed = 0;
function check(promise, ok, found) {
  if (!ok) failed += 1;
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${promise}: ${found}`);
}

function checkLibraries(system, libraries) {
  const strange = libraries.filter((name) => !allowedLibraries[system].test(name));
  check(
    `needs libraries of ${system} only`,
    libraries.length > 0 && strange.length === 0,
    libraries.join(' '),
  );
}

function checkExports(exports) {
  const same = [...exports].sort().join() === allowedExports.join();
  const shown = exports.length > 9 ? `${exports.length} symbols` : exports.join(' ');
  check('exports the Node-API entry points only', same, shown);
}

function checkLinux(file) {
  const libc = file.endsWith('.musl.node') ? 'musl' : 'glibc';
  const { machine, libraries, exports, imports, runPath, staysLoaded } = readElf(file);
  const processor = file.includes('linux-arm64') ? /AArch64/ : /X86-64/;
  check('is for its processor', processor.test(machine), machine);
  checkLibraries(libc, libraries);
  checkExports(exports);
  check('looks for libraries nowhere else', !runPath, 'run path');
  check('stays loaded when a worker ends', staysLoaded, 'NODELETE');
  const versions = imports
    .map((symbol) =>
      symbol
        .match(/@GLIBC_(\d+)\.(\d+)/)
        ?.slice(1)
        .map(Number),
    )
    .filter(Boolean)
    .sort(newer);
  const highest = versions.at(-1);
  if (libc === 'musl') {
    check('needs nothing of glibc', highest === undefined, highest?.join('.') ?? 'none');
  } else {
    const named = imports.filter((symbol) => symbol.endsWith(`@GLIBC_${highest.join('.')}`));
    const found = `${highest.join('.')} for ${named.map((s) => s.split('@')[0]).join(' ')}`;
    check(`runs on glibc ${maxGlibc.join('.')}`, newer(highest, maxGlibc) <= 0, found);
  }
  return checkGpuCode(file);
}

/** Whether there is any. A release has to have all of it, as scripts/release/dry.mjs makes sure. */
function checkGpuCode(file) {
  const bytes = gpuSection(file);
  const sizes = sizesOf(bytes);
  if (sizes.size === 0) return false;
  const numberOf = (name) => name.split('_')[1];
  const known = architectures().map(numberOf);
  const strange = [...sizes.keys()].filter((name) => !known.includes(numberOf(name)));
  const mib = (bytes) => (bytes / 2 ** 20).toFixed(2);
  const found = [...sizes]
    .map(([name, { packed, unpacked }]) => `${name} ${mib(packed)} (${mib(unpacked)})`)
    .join(', ');
  check('has code for known GPUs, in MiB, and unpacked', strange.length === 0, found);
  const kernels = attentionKernelsOf(bytes).filter(({ length }) => length > 0);
  const crowded = kernels.filter(({ length }) => length > 1);
  check(
    'a module of PTX, which the driver compiles as a whole, has one attention kernel at most',
    kernels.length > 0 && crowded.length === 0,
    crowded.length > 0 ? crowded[0].join(' ') : `${kernels.length} modules`,
  );
  return true;
}

function checkWindows(file) {
  const { machine, libraries, exports } = readPe(file);
  check('is for x64', machine === 0x8664, `machine 0x${machine.toString(16)}`);
  checkLibraries('win32', libraries);
  // zig's library for unwinding exports itself. On Windows that replaces nobody's functions.
  checkExports(exports.filter((name) => !/^(_Unwind_|unw_|_GCC_specific_handler$)/.test(name)));
}

function checkMacos(file) {
  const { cpu, libraries, exports, signed, needs, runPath } = readMachO(file);
  const arm = file.includes('-arm64');
  check('is for its processor', cpu === (arm ? 0x100000c : 0x1000007), `cpu 0x${cpu.toString(16)}`);
  checkLibraries('darwin', libraries);
  checkExports(exports);
  check('looks for libraries nowhere else', !runPath, 'run path');
  check(`runs on macOS ${maxMacos.join('.')}`, newer(needs, maxMacos) <= 0, needs.join('.'));
  if (arm) check('is signed, if by nobody', signed, signed ? 'signed' : 'no signature');
}

const checks = { linux: checkLinux, win32: checkWindows, darwin: checkMacos };

function checkAddon(file) {
  console.log(file);
  const platform = path.basename(path.dirname(file));
  const [system] = platform.split('-');
  const cuda = checks[system](path.join(root, file)) === true;
  const mib = statSync(path.join(root, file)).size / 2 ** 20;
  const most = cuda ? maxMibWithCuda : maxMib[platform];
  check(`at most ${most} MiB${cuda ? ' with CUDA' : ''}`, mib <= most, mib.toFixed(2));
}

/**
 * A function that others can see may replace theirs, or be merged with it by the linker, which
 * keeps any one of the copies: of each instruction set there is the table of its kernels alone.
 */
function checkKernels(folder) {
  const objects = globFiles(folder, /fa_kernels_\w+\.dir.*\.o(bj)?$/);
  const visible = objects.flatMap((object) =>
    tool('nm', '--demangle', '--defined-only', '--extern-only', object)
      .split('\n')
      .filter((line) => line !== '' && !/ fa::cpu::kKernels\w+$/.test(line))
      .map((line) => `\n         ${object}: ${line.slice(17)}`),
  );
  check('kernel objects are there', objects.length > 0, `${objects.length} in ${folder}`);
  check(
    'kernels share no function with other code',
    visible.length === 0,
    visible.join('') || 'none',
  );
  // Initialisers run when the addon is loaded, on whatever CPU.
  const early = objects.filter((object) =>
    /\.(init_array|ctors)/.test(tool('objdump', '--section-headers', object)),
  );
  check('kernels run no code when loaded', early.length === 0, early.join(' ') || 'none');
}

const own = `prebuilds/${process.platform}-${process.arch}`;
check('a binary for this platform', globFiles(own, /\.node$/).length > 0, own);
for (const addon of globFiles('prebuilds', /\.node$/)) checkAddon(addon);
// Of those whose processors differ in their instruction sets, and that binutils can read.
const builds = ['prebuild', 'cross/linux-x64-musl', 'cross/win32-x64'].map(
  (x) => `build-cmake/${x}`,
);
for (const build of process.platform === 'linux' ? builds : []) {
  if (existsSync(path.join(root, build))) checkKernels(build);
}
process.exitCode = failed > 0 ? 1 : 0;
