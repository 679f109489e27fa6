// Asserts what a prebuilt binary promises to its users, on Linux: two exported symbols, no
// libraries but glibc, no glibc newer than Node's own floor, a bounded size; and that no function
// compiled for a newer instruction set can replace a shared one. One line per promise; exit status
// 1 if one fails.
import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { globFiles, root } from './ensure-built.mjs';

// Node 20's own binaries need glibc 2.28: lower would help nobody.
const maxGlibc = [2, 28];
const maxBytes = 4 * 1024 * 1024;
/** GPU code for four architectures and PTX, and the static CUDA runtime. */
const maxBytesWithCuda = 64 * 1024 * 1024;
const allowedLibraries = /^(libc|libm|libpthread|libdl)\.so\.\d+$|^ld-linux[\w-]*\.so\.\d+$/;
const allowedExports = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];

const tool = (name, ...args) => execFileSync(name, args, { cwd: root, encoding: 'utf8' });
const newer = (a, b) => a[0] - b[0] || a[1] - b[1];

let failed = 0;
function check(promise, ok, found) {
  if (!ok) failed += 1;
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${promise}: ${found}`);
}

function checkAddon(file) {
  console.log(file);
  const dynamic = tool('readelf', '--wide', '--dynamic', file);
  const libraries = [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name]) => name);
  const strange = libraries.filter((name) => !allowedLibraries.test(name));
  check('needs glibc only', strange.length === 0, libraries.join(' '));
  check('looks for libraries nowhere else', !/\((RPATH|RUNPATH)\)/.test(dynamic), 'run path');
  check('stays loaded when a worker ends', /\(FLAGS_1\).*NODELETE/.test(dynamic), 'NODELETE');

  const exported = tool('nm', '--dynamic', '--defined-only', file)
    .split('\n')
    .map((line) => line.split(' ').pop())
    .filter(Boolean)
    .sort();
  const same = exported.join() === allowedExports.join();
  check('exports the Node-API entry points only', same, exported.join(' '));

  const symbols = tool('nm', '--dynamic', '--undefined-only', '--with-symbol-versions', file);
  const versions = [...symbols.matchAll(/(\S+)@GLIBC_(\d+)\.(\d+)/g)]
    .map(([, name, major, minor]) => ({ name, version: [Number(major), Number(minor)] }))
    .sort((a, b) => newer(b.version, a.version));
  const highest = versions[0];
  const newest = versions.filter(({ version }) => newer(version, highest.version) === 0);
  check(
    `runs on glibc ${maxGlibc.join('.')}`,
    newer(highest.version, maxGlibc) <= 0,
    `${highest.version.join('.')} for ${newest.map(({ name }) => name).join(' ')}`,
  );

  const { size } = statSync(path.join(root, file));
  const cuda = /\s\.nv_fatbin\s/.test(tool('readelf', '--wide', '--sections', file));
  const most = cuda ? maxBytesWithCuda : maxBytes;
  check(`at most ${most} bytes${cuda ? ' with CUDA' : ''}`, size <= most, size);
}

/** Weak and unique symbols are merged by the linker, which keeps any one of the copies. */
function checkKernels(folder) {
  const objects = globFiles(folder, /fa_kernels_\w+\.dir.*\.o$/);
  const merged = objects.flatMap((object) =>
    tool('nm', '--demangle', '--defined-only', object)
      .split('\n')
      .filter((line) => /^\S* [WVuwv] /.test(line))
      .map((line) => `\n         ${path.basename(object)}: ${line.slice(17)}`),
  );
  check('kernel objects are there', objects.length > 0, `${objects.length} in ${folder}`);
  check(
    'kernels share no function with other code',
    merged.length === 0,
    merged.join('') || 'none',
  );
  // Initialisers run when the addon is loaded, on whatever CPU.
  const early = objects.filter((object) =>
    /\.(init_array|ctors)/.test(tool('readelf', '-SW', object)),
  );
  check('kernels run no code when loaded', early.length === 0, early.join(' ') || 'none');
}

if (process.platform === 'linux') {
  const folder = `prebuilds/linux-${process.arch}`;
  const addons = globFiles(folder, /\.node$/);
  check('one prebuilt binary', addons.length === 1, addons.join(' ') || `none in ${folder}`);
  for (const addon of addons) checkAddon(addon);
  if (existsSync(path.join(root, 'build-cmake/Release'))) checkKernels('build-cmake/Release');
  process.exitCode = failed > 0 ? 1 : 0;
} else {
  console.log(`check-binary: nothing is known about binaries of ${process.platform}`);
  process.exitCode = 1;
}
